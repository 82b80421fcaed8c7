"""What every request's body has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Body", "Label", "Seed"]


class Body(BaseModel):
    """Fields that are not known are refused; the texts below the fields are their descriptions."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


Seed = Annotated[int, Field(ge=0, le=2**53)]
Label = Annotated[str, Field(max_length=200)] | int | None
