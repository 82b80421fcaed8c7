"""What a family of models is, and the registry of all of them.

A family describes itself once, at the end of its model's file: ``FAMILIES = (Family(...),)``. Command line, help, demo,
README table and conformance tests read it here. Another package adds its own by an entry point of the group
``limner.families`` that leads to a ``Family``, or by ``limner.register``; see docs/adding_a_family.md.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from limner.errors import LimnerError, option, suggestion
from limner.models.contracts import ConditionalConfig, Model, Samples
from limner.models.recipes import Recipe, RecipeOf, TrainingConfig

__all__ = ["Family", "families", "family", "register", "with_article"]


@dataclass(frozen=True)
class Family:
    """A model by name, and all that limner needs to know of it.

    Attributes:
        name: As in ``limner train NAME``.
        model: Its class, built as ``model(network, shape, levels)``.
        config: The dataclass of its sizes.
        paper: Where it was published, with the arXiv number.
        summary: What it is for, in one sentence.
        recipes: By name; ``default`` is among them.
        demo: Its recipe for the 8×8 digits of `limner demo`.
        training: The dataclass of its training; ``OBJECTIVE`` in it names what trains it.
        images: Which images it is for.
        tiny: ``--set`` values of a network that trains an epoch of the digits in a blink, for the tests.
        in_demo: Whether `limner demo` shows it.
    """

    name: str
    model: type[Model]
    config: type[Any]
    paper: str
    summary: str
    recipes: Mapping[str, RecipeOf]
    demo: RecipeOf
    training: type[TrainingConfig] = TrainingConfig
    images: str = "any size, 2 to 256 levels, grey or colour"
    tiny: tuple[str, ...] = ()
    in_demo: bool = False

    @property
    def likelihood(self) -> Literal["exact", "lower", "none"]:
        """Whether ln p(x) is exact, bounded from below, or not there."""
        return getattr(self.model, "bound", "none")

    @property
    def conditional(self) -> bool:
        """Whether it can be a model of p(x|y)."""
        return issubclass(self.config, ConditionalConfig)

    @property
    def draws(self) -> bool:
        """Whether it draws samples."""
        return issubclass(self.model, Samples)

    def recipe(self, name: str, shape: tuple[int, int, int]) -> Recipe:
        """The recipe ``name`` for images of ``shape`` (C, H, W).

        Raises:
            LimnerError: There is none of that name.
        """
        if name not in self.recipes:
            raise LimnerError(f"{option('recipe', name)}: {self.name} has {', '.join(self.recipes)}")
        return self.recipes[name](shape)

    def about(self, recipe: str) -> str:
        """What a recipe is for: the first sentence of its docstring."""
        return (inspect.getdoc(self.recipes[recipe]) or "").partition("\n\n")[0].replace("\n", " ")


_registered: dict[str, Family] = {}


def register(family: Family) -> Family:
    """Add a family to those that limner knows; gives it back.

    Raises:
        LimnerError: Another one has its name, or it lacks a recipe ``default``.
    """
    if "default" not in family.recipes:
        raise LimnerError(f"the family {family.name!r} needs a recipe 'default'")
    if _registered.setdefault(family.name, family) is not family:
        raise LimnerError(f"there is a family {family.name!r} already: choose another name")
    return family


def families() -> dict[str, Family]:
    """All families by name: those of exact likelihood first, then those of a bound, then the others."""
    _collect()
    ranked = sorted(_registered.values(), key=lambda f: (("exact", "lower", "none").index(f.likelihood), f.name))
    return {f.name: f for f in ranked}


def family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        LimnerError: There is none; the nearest name is suggested.
    """
    known = families()
    if name not in known:
        raise LimnerError(f"unknown model {name!r}: {suggestion(name, known)}")
    return known[name]


def with_article(name: str) -> str:
    """A family's name in a sentence: "a vae", "an autoencoder"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


@functools.cache
def _collect() -> None:
    """Read ``FAMILIES`` of every file of this package, and the plug-ins. A broken plug-in is one warning line."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        for found in vars(importlib.import_module(f"{package}.{module.name}")).get("FAMILIES", ()):
            register(found)
    for entry in metadata.entry_points(group="limner.families"):
        try:
            found = entry.load()
            if not isinstance(found, Family):
                raise TypeError(f"{entry.value} is no limner.models.Family")
            register(found)
        except Exception as error:  # noqa: BLE001, PERF203 - whatever is wrong with somebody else's package
            text = " ".join(f"{type(error).__name__}: {error}".split())
            logging.getLogger("limner").warning("limner: the family %r is left out: %s", entry.name, text)
