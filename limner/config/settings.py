"""Configurations as text: ``--set key=value``, and the tables of ``config.toml``. Unknown keys are errors."""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from limner.errors import LimnerError, option, setting, suggestion
from limner.models.recipes import Recipe

__all__ = ["Setting", "Settings", "described", "from_table", "values_of", "with_settings"]

T = TypeVar("T")
Settings: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Changes to a recipe: values by key, or texts ``key=value``."""


def from_table(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A configuration dataclass of the values in ``table``; types and ranges are checked.

    Args:
        kind: The dataclass.
        table: Its fields by name; those left out keep their defaults. Those of the dataclass's ``GONE``, which an
            older run may have, are ignored at their old default.
        where: Where the table stands, for the message.

    Raises:
        LimnerError: An unknown key, or a value of the wrong type or out of range.
    """
    if not isinstance(table, Mapping):
        raise LimnerError(f"{where}: must be a table of key = value lines, not {table!r}")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    gone: Mapping[str, Any] = getattr(kind, "GONE", {})
    for key in [key for key in table if key in gone and key not in known]:
        if table[key] != gone[key]:
            raise LimnerError(
                f"{where} {key}={_written(table[key])}: this setting is gone, and limner knows only its default, "
                f"{_written(gone[key])}: open the run with the version that trained it, or train a new one"
            )
    table = {key: value for key, value in table.items() if key not in gone or key in known}
    for key, value in table.items():
        if key not in known:
            raise LimnerError(f"{where}: unknown key {key!r}; {suggestion(key, known)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise LimnerError(f"{where} {key}={value}: {_allowed(kind, key) or 'must be finite'}")
    try:
        return msgspec.convert(dict(table), kind)
    except msgspec.ValidationError as error:
        raise LimnerError(_explain(error, kind, table, where)) from error
    except LimnerError as error:  # of a check that reaches over several keys, or is no range
        raise LimnerError(f"{where} {error}") from error


@dataclass(frozen=True)
class Setting:
    """A key of a configuration: its default as a person writes it, what it may be, and what it means."""

    name: str
    default: str
    allowed: str
    meaning: str


def described(kind: type[Any]) -> list[Setting]:
    """The settings of a configuration dataclass, from its fields and the texts below them."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            body = cast("ast.ClassDef", ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]).body
            for field, text in pairwise(body):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                        texts[name] = " ".join(said.split())
    return [
        Setting(f.name, _written(f.default), _allowed(kind, f.name) or "true or false", texts.get(f.name, ""))
        for f in fields(kind)
    ]


def with_settings(recipe: Recipe, settings: Settings, model: str | None = None) -> Recipe:
    """``recipe`` with each setting applied to the network's or the training's field of that name.

    Raises:
        LimnerError: No ``=``, an unknown key (the nearest is suggested), or a value that does not fit.
    """
    tables = {"network": asdict(recipe.network), "training": asdict(recipe.training)}
    known = [*tables["network"], *tables["training"]]
    given, where = values_of(settings), option("settings")
    for key, value in given.items():
        part = next((name for name, table in tables.items() if key in table), None)
        if part is None:
            more = f"; `limner models {model}` explains all" if model else ""
            text = f"{key}={_written(value)}"
            raise LimnerError(f"{where} {text}: unknown key {key!r}; {suggestion(key, known)}{more}")
        tables[part][key] = value
    if "epochs" in given and "minutes" not in given:
        tables["training"]["minutes"] = 0.0  # a time budget would leave the epochs without effect
    return Recipe(
        from_table(type(recipe.network), tables["network"], where),
        from_table(type(recipe.training), tables["training"], where),
    )


def values_of(settings: Settings) -> dict[str, Any]:
    """Values by key, of a mapping or of texts ``key=value``; the last of a key counts.

    Raises:
        LimnerError: A text has no ``=``, or there are no texts.
    """
    if isinstance(settings, Mapping):
        return {str(key): value for key, value in settings.items()}
    values: dict[str, Any] = {}
    for text in [settings] if isinstance(settings, str) else settings:
        key, equals, value = str(text).partition("=")
        if not (key.strip() and equals):
            example = setting("learning_rate", "0.001")
            raise LimnerError(f"{option('settings')} {text}: write key=value, as in {example}")
        values[key.strip()] = _value(value.strip())
    return values


def _value(text: str) -> Any:
    """A TOML value, or the text itself where it is none: ``head=softmax`` needs no quotes."""
    try:
        tables = msgspec.toml.decode(f"value = {text}")
    except (msgspec.DecodeError, ValueError, RecursionError):  # no TOML, or a number of thousands of digits
        return text
    return tables["value"] if len(tables) == 1 else text


def _explain(error: msgspec.ValidationError, kind: type, table: Mapping[str, Any], where: str) -> str:
    """Which key, what it was, and what it may be; msgspec's own words where that is not known."""
    found = re.search(r" - at `\$\.(\w+)`$", str(error))
    if found is None:
        return f"{where}: {str(error).replace('`$.', '`')}"
    key, what = found[1], str(error)[: found.start()].replace("`", "")
    return f"{where} {key}={_written(table[key])}: {_allowed(kind, key) or what[0].lower() + what[1:]}"


def _allowed(kind: type, key: str) -> str:
    """What the field ``key`` of a configuration may be, in words."""
    hint = get_type_hints(kind, include_extras=True)[key]
    if get_origin(hint) is Literal:
        return f"choose one of {', '.join(get_args(hint))}"
    words = {int: "a whole number", float: "a number", str: "a text"}
    name = words.get(get_args(hint)[0] if get_origin(hint) is Annotated else hint)
    if name is None:
        return ""
    signs = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{sign} {getattr(meta, bound):,.16g}"
        for meta in getattr(hint, "__metadata__", ())
        for bound, sign in signs.items()
        if getattr(meta, bound) is not None
    ]
    return f"must be {', '.join([name, ' and '.join(bounds)]) if bounds else name}"


def _written(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) and value else str(value) if value != "" else "''"
