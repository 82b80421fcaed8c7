"""Configurations as text: ``--set key=value``, and the tables of ``config.toml``. Unknown keys are errors."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

import msgspec

from limner.errors import LimnerError
from limner.recipes import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["from_table", "with_settings"]

T = TypeVar("T")


def from_table(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A configuration dataclass of the values in ``table``; types and ranges are checked.

    Args:
        kind: The dataclass.
        table: Its fields by name; those left out keep their defaults.
        where: Where the table stands, for the message.

    Raises:
        LimnerError: An unknown key, or a value of the wrong type or out of range.
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise LimnerError(f"{where}: unknown key {key!r}; {_suggest(key, known)}")
    try:
        return msgspec.convert(dict(table), kind)
    except msgspec.ValidationError as error:
        text = str(error).replace("`$.", "`")
        raise LimnerError(f"{where}: {text}") from error


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """``recipe`` with each ``key=value`` applied to the network's or the training's field of that name.

    Raises:
        LimnerError: No ``=``, an unknown key (the nearest is suggested), or a value that does not fit.
    """
    tables = {"network": asdict(recipe.network), "training": asdict(recipe.training)}
    known = [*tables["network"], *tables["training"]]
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals:
            raise LimnerError(f"--set {setting}: write key=value, as in --set learning_rate=0.001")
        part = next((name for name, table in tables.items() if key in table), None)
        if part is None:
            raise LimnerError(f"--set {setting}: unknown key {key!r}; {_suggest(key, known)}")
        tables[part][key] = _value(text.strip())
    return Recipe(
        from_table(type(recipe.network), tables["network"], "--set"),
        from_table(type(recipe.training), tables["training"], "--set"),
    )


def _value(text: str) -> Any:
    """A TOML value, or the text itself where it is none: ``head=softmax`` needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _suggest(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(known)}"
