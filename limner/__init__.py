"""limner: the classic deep generative models of images, measured by the same yardstick.

>>> import limner
>>> run = limner.train("pixelcnn", "digits", epochs=5)   # doctest: +SKIP
>>> run.evaluate()["bits_per_dim"]                       # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

# Name → module; imported when first used, so that `limner --help` does not wait for torch.
_FACES = {
    "LimnerError": "limner.errors",
    "Images": "limner.data",
    "Run": "limner.workbench",
    "advise": "limner.workbench",
    "compare": "limner.workbench",
    "demo": "limner.workbench.demo",
    "from_arrays": "limner.data",
    "grid": "limner.reports.draw",
    "load_data": "limner.workbench",
    "open_run": "limner.workbench",
    "register": "limner.models",
    "resume": "limner.workbench",
    "save_png": "limner.reports.draw",
    "train": "limner.workbench",
    "use_device": "limner.devices",
}

__all__ = sorted(_FACES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from limner.version import version

        return version()
    if name not in _FACES:
        raise AttributeError(f"module 'limner' has no attribute {name!r}")
    return getattr(importlib.import_module(_FACES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
