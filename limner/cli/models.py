"""`limner models`."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from limner.cli.arguments import Flag
from limner.cli.printing import print_json

if TYPE_CHECKING:
    from limner.models import Family

__all__ = ["models"]

LIKELIHOOD = {"exact": "exact", "lower": "lower bound", "none": "no likelihood"}


def models(
    model: Annotated[Positional[str], arg(metavar="[MODEL]", help_behavior_hint="")] = "", json: Flag = False
) -> None:
    """List the families of models, or one family's recipes and settings.

    Args:
        model: A family, whose settings are explained; without it all families are listed.
        json: Print one JSON value.
    """
    from limner.config.settings import described
    from limner.models import families, family

    if not model:
        facts = [_facts(f) for f in families().values()]
        if json:
            print_json(facts)
            return
        for f in facts:
            print(f"{f['name']:22}{LIKELIHOOD[f['likelihood']]}{'' if f['samples'] else ', draws no samples'}")
            for line in (f["summary"], f"images: {f['images']}", f"recipes: {', '.join(f['recipes'])}", f["paper"]):
                print(f"    {line}")
        print("`limner models MODEL` explains a family's settings")
        return
    chosen = family(model)
    parts = {"network": described(chosen.config), "training": described(chosen.training)}
    if json:
        settings = {part: [asdict(s) for s in found] for part, found in parts.items()}
        print_json(_facts(chosen) | {"settings": settings})
        return
    print(f"{chosen.name}: {chosen.summary}\n{LIKELIHOOD[chosen.likelihood]}; images: {chosen.images}; {chosen.paper}")
    print("\nrecipes (--recipe NAME)")
    for name in chosen.recipes:
        print(f"  {name:12}{chosen.about(name)}")
    for part, found in parts.items():
        print(f"\n{part} (--set KEY=VALUE; the default recipe may choose other values than these)")
        for s in found:
            print(f"  {s.name} = {s.default}    {s.allowed.removeprefix('must be ')}")
            print(textwrap.fill(s.meaning, 100, initial_indent="      ", subsequent_indent="      "))


def _facts(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "summary": family.summary,
        "likelihood": family.likelihood,
        "samples": family.draws,
        "images": family.images,
        "conditional": family.conditional,
        "recipes": {name: family.about(name) for name in family.recipes},
        "paper": family.paper,
    }
