"""The floors of the house, and what no file of limner may do, read from the syntax trees."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "limner"

# From the ground up. A file imports from its own package and from the floors below it.
FLOORS = (
    {"errors"},
    {"version"},
    {"accelerate", "devices", "files", "memory", "noise", "ranges", "records"},
    {"data", "distributions", "nn"},
    {"models"},
    {"sampling", "training", "codec", "evaluation"},
    {"display", "fast", "runs"},
    {"config"},
    {"reports"},
    {"workbench"},
    {"cli", "studio"},
    {"__init__", "__main__"},
)
# Neighbours on one floor that may look at each other: who, whom, and why.
ALLOWED = {
    ("cli", "studio"): "the command that serves it",
    ("accelerate", "fast"): "by name, when something asks for it first",
    ("evaluation", "training"): "a feature network is kept as checkpoints are",
}
# Files that may be longer than LONGEST lines, with the reason.
LONG: dict[str, str] = {}
LONGEST = 300

HEIGHT = {unit: height for height, floor in enumerate(FLOORS) for unit in floor}


def parsed(root: Path) -> Iterator[tuple[tuple[str, ...], ast.Module]]:
    """Each file below ``root`` as the parts of its path, last part without suffix, and its tree."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield parts, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def shown(parts: tuple[str, ...], node: ast.AST) -> str:
    return f"{'/'.join(parts)}.py:{getattr(node, 'lineno', 1)}"


def imported(parts: tuple[str, ...], tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Dotted names of everything that is imported anywhere in a file, relative ones resolved.

    ``from a import b`` yields ``a.b``: whether b is a module is decided by whoever looks at it.
    """
    package = ("limner", *parts[:-1])
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node, alias.name
            case ast.ImportFrom(module=module, names=names, level=level):
                base = [*package[: len(package) - level + 1]] if level else []
                base += [module] if module else []
                for alias in names:
                    yield node, ".".join([*base, alias.name])
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if ast.unparse(func).rpartition(".")[
                2
            ] in ("import_module", "__import__"):
                yield node, name


def floor_violations(root: Path) -> list[str]:
    found = []
    for parts, tree in parsed(root):
        unit = parts[0]
        if unit not in HEIGHT:
            found.append(f"{'/'.join(parts)}.py: {unit} stands on no floor; give it one in FLOORS")
            continue
        for node, name in imported(parts, tree):
            top, *rest = name.split(".")
            if top != "limner":
                continue
            # `from limner import something` is a unit, or a name that limner/__init__.py offers
            other = rest[0] if rest and (rest[0] in HEIGHT or _is_module(root, rest[0])) else "__init__"
            if other not in HEIGHT:
                found.append(f"{shown(parts, node)}: {other} stands on no floor")
            elif other != unit and (unit, other) not in ALLOWED and HEIGHT[other] >= HEIGHT[unit]:
                found.append(f"{shown(parts, node)}: {unit} imports {name}, which is not below it")
    return found


def _is_module(root: Path, name: str) -> bool:
    return (root / name).is_dir() or (root / f"{name}.py").is_file()


FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "torchvision"}
FORBIDDEN_IMPORTS = {"torch.load", "torch.save"}


def habit_violations(root: Path) -> list[str]:
    found = []
    for parts, tree in parsed(root):
        handlers = [node.type for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type]
        caught = {name for handler in handlers for name in ast.walk(handler)}  # libraries raise what they like
        for node, name in imported(parts, tree):
            if name.split(".")[0] in FORBIDDEN_MODULES or name in FORBIDDEN_IMPORTS:
                found.append(f"{shown(parts, node)}: imports {name}")
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save"):
                    found.append(f"{shown(parts, node)}: torch.{node.attr} reads and writes pickles")
                case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                    found.append(f"{shown(parts, node)}: allow_pickle")
                case ast.Name(id="hasattr"):
                    found.append(f"{shown(parts, node)}: hasattr; ask isinstance of a capability")
                case ast.Name(id="NotImplementedError") if node not in caught:
                    found.append(f"{shown(parts, node)}: NotImplementedError; leave the method out")
                case ast.Call(func=ast.Name(id="print")) if parts[0] != "cli":
                    found.append(f"{shown(parts, node)}: print; only the command line speaks")
    return found


def accelerators_in_the_living_room(root: Path) -> list[str]:
    """Who imports the compiled loops, numba or ctypes, though only ``fast`` may (and ``accelerate``, by name)."""
    may = {"ctypes": {("training", "memory")}, "limner.fast": {("accelerate",)}}
    found = []
    for parts, tree in parsed(root):
        if parts[0] == "fast":
            continue
        for node, name in imported(parts, tree):
            banned = [w for w in ("numba", "llvmlite", "ctypes", "limner.fast") if f"{name}.".startswith(f"{w}.")]
            found += [f"{shown(parts, node)}: imports {name}" for w in banned if parts not in may.get(w, ())]
    return found


def import_circles(root: Path) -> list[str]:
    """Files that import each other, in a loop of any length, for types too; a package's face counts as a file."""
    files = {parts[:-1] if parts[-1] == "__init__" else parts for parts, _ in parsed(root)}
    arrows: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for parts, tree in parsed(root):
        own = parts[:-1] if parts[-1] == "__init__" else parts
        for node, name in imported(parts, tree):
            if isinstance(node, ast.Call):  # by name, when it is needed
                continue
            names = tuple(name.split("."))[1:] if name.startswith("limner.") else ()
            target = next((names[:n] for n in range(len(names), 0, -1) if names[:n] in files), None)
            if target is not None and target != own:
                arrows.setdefault(own, set()).add(target)
    found, done = [], set()

    def walk(file: tuple[str, ...], way: list[tuple[str, ...]]) -> None:
        if file in way:
            found.append(" -> ".join("/".join(f) for f in [*way[way.index(file) :], file]))
        elif file not in done:
            for other in sorted(arrows.get(file, ())):
                walk(other, [*way, file])
            done.add(file)

    for file in sorted(arrows):
        walk(file, [])
    return found


def long_files(root: Path) -> list[str]:
    found = []
    for path in sorted(root.rglob("*.py")):
        name, lines = path.relative_to(root).as_posix(), len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST and name not in LONG:
            found.append(f"{name}: {lines} lines")
    return found


@pytest.mark.parametrize(
    "check", [floor_violations, habit_violations, accelerators_in_the_living_room, import_circles, long_files]
)
def test_house(check):
    assert PACKAGE.is_dir()
    assert list(PACKAGE.rglob("*.py"))
    assert check(PACKAGE) == []


def test_exceptions_are_needed():
    """An exception that nothing uses any more must go."""
    assert all(PACKAGE.joinpath(name).is_file() for name in LONG)
    used = {
        (parts[0], name.split(".")[1])
        for parts, tree in parsed(PACKAGE)
        for _, name in imported(parts, tree)
        if name.startswith("limner.")
    }
    assert set(ALLOWED) <= used


@pytest.mark.parametrize("module", ["limner", "limner.errors", "limner.files", "limner.reports.plots"])
def test_import_is_light(module):
    """``limner --help`` must answer at once: torch and matplotlib wait until they are needed."""
    heavy = ["matplotlib", "sklearn", "lightning_fabric", "torchmetrics"]
    heavy += [] if module.startswith("limner.reports") else ["torch", "numpy", "PIL"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


# The checkers themselves, on made-up houses.


def house(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "files",
    [
        {"models__in__vae": "from limner.workbench import train"},
        {"models__in__vae": "import limner.training.loop"},
        {"models__in__vae": "from limner import sampling"},
        {"models__in__vae": "from .. import cli"},
        {"models__in__vae": "from ..evaluation import likelihood"},
        {"models__in__deep__in__vae": "from ...evaluation import likelihood"},
        {"models__in__vae": "def f():\n    from limner.codec import bits"},
        {"models__in__vae": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import limner.studio"},
        {"models__in__vae": "import importlib\nimportlib.import_module('limner.cli')"},
        {"models__in__vae": "from limner import __version__"},
        {"data__in__digits": "from limner.nn import masks"},  # neighbours
        {"models__in__vae": "from limner.accelerate import hooks\nfrom limner.fast import tile"},
        {"errors": "import limner.files"},
        {"cellar": ""},
        {"cellar__in__wine": "", "cli": "import limner.cellar"},
        {"workbench": "import limner"},
    ],
    ids=lambda files: " | ".join(f"{name}: {text.splitlines()[-1] if text else ''}" for name, text in files.items()),
)
def test_floor_checker_finds(tmp_path, files):
    assert floor_violations(house(tmp_path, **files))


def test_floor_checker_accepts(tmp_path):
    root = house(
        tmp_path,
        __init__="from limner.workbench import train",
        workbench="from limner.errors import LimnerError\nfrom . import config, reports",
        reports__in__html="from limner.reports.draw import grid",
        models__in__vae="from .contracts import Scores\nimport torch\nfrom .. import nn",
        nn__in____init__="from limner.nn.blocks import Block",
    )
    assert floor_violations(root) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from torchvision import ops",
        "def f():\n    import torchvision.ops",
        "import torch\ntorch.load('weights')",
        "from torch import load",
        "import torch\ntorch.save({}, 'weights')",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "hasattr(object, 'sample')",
        "raise NotImplementedError",
        "raise NotImplementedError('later')",
        "print('here')",
    ],
)
def test_habit_checker_finds(tmp_path, text):
    assert len(habit_violations(house(tmp_path, training__in__loop=text))) >= 1


def test_habit_checker_accepts(tmp_path):
    text = '"""No pickle, no torch.load( and no hasattr( here."""\nimport numpy\nconsole.print(1)\n'
    text += "numpy.load('x', allow_pickle=False)\nmodel.load('x')\n"
    text += "try:\n    zip.open()\nexcept (OSError, NotImplementedError):\n    pass\n"
    assert habit_violations(house(tmp_path, training__in__loop=text, cli="print(1)", cli__in__runs="print(1)")) == []


@pytest.mark.parametrize(
    "text", ["import numba", "from ctypes import CDLL", "from limner.fast.tile import tile", "import llvmlite.ir"]
)
def test_accelerators_are_found(tmp_path, text):
    assert accelerators_in_the_living_room(house(tmp_path, models__in__vae=text))
    assert accelerators_in_the_living_room(house(tmp_path, fast__in__loops=text, models__in__vae="import torch")) == []


def test_circles_are_found(tmp_path):
    root = house(tmp_path, a="from limner.b import x", b="def f():\n    from limner import c", c="import torch")
    assert import_circles(root) == []
    house(tmp_path, c="from limner.a import y")
    assert import_circles(root) == ["a -> b -> c -> a"]


def test_long_files_are_found(tmp_path):
    house(tmp_path, data__in__short="x = 1\n" * LONGEST, data__in__long="x = 1\n" * (LONGEST + 1))
    assert long_files(tmp_path) == ["data/long.py: 301 lines"]
