"""`limner models`."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from limner.cli.arguments import Json
from limner.cli.printing import answer

if TYPE_CHECKING:
    from limner.models import Family

__all__ = ["models"]

LIKELIHOOD = {"exact": "exact", "lower": "lower bound", "none": "no likelihood"}


def models(
    model: Annotated[Positional[str], arg(metavar="[MODEL]", help_behavior_hint="")] = "", json: Json = False
) -> None:
    """List the families of models, or one family's recipes and settings.

    Args:
        model: A family, whose settings are explained; without it all families are listed.
    """
    from limner.models import families, family

    if model:
        _explain(family(model), json)
        return
    facts = [_facts(f) for f in families().values()]
    lines = []
    for f in facts:
        lines.append(f"{f['name']:22}{LIKELIHOOD[f['likelihood']]}{'' if f['samples'] else ', draws no samples'}")
        more = (f["summary"], f"images: {f['images']}", f"recipes: {', '.join(f['recipes'])}", f["paper"])
        lines += [f"    {line}" for line in more]
    answer(json, facts, *lines, "`limner models MODEL` explains a family's settings")


def _explain(family: Family, json: bool) -> None:
    from limner.config.settings import described

    parts = {"network": described(family.config), "training": described(family.training)}
    lines = [f"{family.name}: {family.summary}"]
    lines += [
        f"{LIKELIHOOD[family.likelihood]}; images: {family.images}; {family.paper}",
        "",
        "recipes (--recipe NAME)",
    ]
    lines += [f"  {name:12}{family.about(name)}" for name in family.recipes]
    for part, found in parts.items():
        lines += ["", f"{part} (--set KEY=VALUE; the default recipe may choose other values than these)"]
        for s in found:
            lines.append(f"  {s.name} = {s.default}    {s.allowed.removeprefix('must be ')}")
            lines.append(textwrap.fill(s.meaning, 100, initial_indent="      ", subsequent_indent="      "))
    settings = {part: [asdict(s) for s in found] for part, found in parts.items()}
    answer(json, _facts(family) | {"settings": settings}, *lines)


def _facts(family: Family) -> dict[str, Any]:
    names = ("name", "summary", "likelihood", "images", "conditional", "paper")
    recipes = {name: family.about(name) for name in family.recipes}
    return {name: getattr(family, name) for name in names} | {"samples": family.draws, "recipes": recipes}
