"""How many small faults in the code the tests notice: mutation testing of a random sample.

    python -m benchmarks.mutants [--json] [--mutants 400] [--seed 0] [--minutes M] [--skip N] [--again LINE ...]
                                 [--map FILE]

A mutant is the source with one change: another comparison, operator, constant, ``and`` for ``or``, a condition turned
round, a minimum for a maximum, a call left out. They are drawn at random from ``ROOMS``, and each runs the tests of its
room in a copy of the repository until one fails (killed) or all pass (survived): those that come by the line, as one
run of all under coverage has found. Where none does in this process, or the line is no function's, they are the tests
of the file and the first of the room: a few more may count as survivors than all tests would leave. What takes four
times as long as the room's tests without it hangs, which counts as killed. Messages, docstrings, annotations and names
are left alone, and so is ``limner/fast``.

mutmut 3 and cosmic-ray draw no sample, and mutmut passes over what is decorated: every property and classmethod. The
tests run in a fork of this process, in which torch is imported already, so that most mutants take a second or two.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = [
    "tests/test_files.py",
    "tests/training/test_checkpoints.py",
    "tests/training/test_state.py",
    "tests/test_runs.py",
    "tests/training/test_objectives.py",
    "tests/training/test_doctor.py",
    "tests/test_bad_input.py",
    "tests/test_damaged_runs.py",
    "tests/test_streams.py",
    "tests/test_resume.py",
    "tests/test_fuzz.py",
    "tests/test_nothing_lost.py",
    "-k=not (nothing_is_lost or nothing_but_a_limner_error or random_moments or ctrl_c)",  # which take minutes
]
ROOMS = {  # what is mutated, and the tests of its room, the quickest first
    "limner/distributions": ["tests/distributions", "tests/models/test_sums.py", "tests/models/test_pixelcnnpp.py"],
    "limner/sampling": ["tests/sampling", "tests/models/test_multiscale.py", "tests/models/test_conditional.py"],
    "limner/training/checkpoints.py": RUNS,
    "limner/training/state.py": RUNS,
    "limner/files.py": RUNS,
}
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "zeros": "ones", "argmax": "argmin", "floor": "ceil"}


@dataclass(frozen=True)
class Mutant:
    """A change of one file: its whole new source, and the change in words."""

    path: str
    line: int
    before: str
    after: str
    source: str


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of ``node``, itself changed."""
    new: Any = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            new.ops = [SWAPS[type(op)]()]
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            new.op = SWAPS[type(op)]()
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            new = operand
        case ast.Constant(value=bool(value)):
            new = ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            new = ast.Constant(value + 1)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            new.test = ast.UnaryOp(ast.Not(), test)
        case ast.Expr(value=ast.Call()):
            new = ast.Pass()
        case ast.Attribute(attr=name) if name in NAMES:
            new.attr = NAMES[name]
        case ast.Name(id=name) if name in NAMES:
            new.id = NAMES[name]
        case _:
            return
    yield new


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Each node below ``tree`` that is computed with, as parent, field and place in the field."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue
            yield tree, field, i if isinstance(value, list) else None
            yield from places(child)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All of one file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for parent, field, i in list(places(tree)):
        here: Any = getattr(parent, field)
        node = here if i is None else here[i]
        for new in changes(node):
            if i is None:
                setattr(parent, field, new)
            else:
                here[i] = new
            source = ast.unparse(ast.fix_missing_locations(tree))
            before, after = (ast.unparse(x).split("\n")[0][:100] for x in (node, new))
            yield Mutant(str(path.relative_to(ROOT)), getattr(node, "lineno", 0), before, after, source)
            if i is None:
                setattr(parent, field, node)
            else:
                here[i] = node


class Contexts:
    """Tells coverage, as a plugin of pytest, which test is at work."""

    def __init__(self, cov: Any) -> None:
        self.cov = cov

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Before each test."""
        self.cov.switch_context(nodeid)


def run_tests(tests: list[str], found: Path | None) -> int:
    """Run them; ``found`` takes the tests that come by each line of limner, ``{file: {line: [test]}}``, as JSON."""
    pytest = importlib.import_module("pytest")
    if found is None:
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    cov = importlib.import_module("coverage").Coverage(data_file=None, source=["limner"], config_file=False)
    cov.start()
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", *tests], plugins=[Contexts(cov)]))
    cov.stop()
    data = cov.get_data()
    lines = {str(Path(f).relative_to(Path.cwd())): data.contexts_by_lineno(f) for f in data.measured_files()}
    found.write_text(json.dumps(lines), encoding="utf-8")
    return code


def chosen(lines: dict[str, dict[str, list[str]]], mutant: Mutant, tests: list[str]) -> list[str]:
    """The tests of a room that come by the line of ``mutant``, in the room's order of files; else the nearest."""
    own = (ROOT / "tests").rglob(f"test_{Path(mutant.path).stem}.py")
    nearest = [*(str(test.relative_to(ROOT)) for test in own), *tests[:2]]
    tree = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    if not any(f.body[0].lineno <= mutant.line <= (f.end_lineno or 0) for f in functions):
        return nearest  # it runs at the import
    here = lines.get(mutant.path, {})
    for line in range(mutant.line, max(0, mutant.line - 4), -1):  # a statement may begin some lines above
        if found := set(here.get(str(line), [])):
            break
    else:
        return nearest
    if "" in found:  # outside of all tests
        return nearest
    order = {str(place): i for i, place in enumerate(t for t in tests if not t.startswith("-"))}

    def place(test: str) -> tuple[int, str]:
        file = test.split("::")[0]
        return min((i for t, i in order.items() if file.startswith(t)), default=len(order)), test

    return sorted(found, key=place)


def tested(folder: Path, tests: list[str], seconds: float, found: Path | None) -> str:
    """How the tests end in ``folder``, in a fork of this process: ``killed``, ``survived``, ``hangs``."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(folder)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        sys.path[:] = [str(folder), *(p for p in sys.path if p not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"] = str(folder)
        code = 1
        try:
            code = run_tests(tests, found)
        finally:
            os._exit(int(code))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hangs"


def main() -> None:
    """Print each survivor as it is found and the share that was killed, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--mutants", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no new mutant after so long")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first so many of the sample")
    parser.add_argument("--again", nargs="+", metavar="LINE", help="only those at FILE:LINE, as survivors are listed")
    parser.add_argument("--map", type=Path, help="keep in this file which tests come by which line, or read it there")
    arguments = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    start = time.monotonic()
    everything = []
    for room in ROOMS:
        files = sorted((ROOT / room).rglob("*.py")) if (ROOT / room).is_dir() else [ROOT / room]
        everything += [(room, mutant) for file in files for mutant in mutants_of(file)]
    sample = random.Random(arguments.seed).sample(everything, min(arguments.mutants, len(everything)))
    for name in (
        "coverage",
        "torch",
        "torchmetrics",
        "lightning_fabric",
        "hypothesis",
        "pytest",
        "sklearn.metrics",
        "PIL.Image",
    ):
        importlib.import_module(name)  # for all forks; nothing of limner
    counts: Counter[str] = Counter()
    survivors = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "limner"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "runs"))
        seconds: dict[str, float] = {}
        lines: dict[str, dict[str, dict[str, list[str]]]] = {}
        if arguments.map and arguments.map.is_file():
            seconds, lines = json.loads(arguments.map.read_text(encoding="utf-8"))
        for room, tests in ROOMS.items():
            if room in seconds:
                continue
            same = next((other for other in seconds if ROOMS[other] == tests), None)
            if same is not None:
                seconds[room], lines[room] = seconds[same], lines[same]
                continue
            begun, found = time.monotonic(), Path(temporary) / "lines.json"
            if tested(folder, tests, float("inf"), found) != "survived":
                raise SystemExit(f"the tests of {room} fail without a mutant: {' '.join(tests)}")
            seconds[room] = 60 + 4 * (time.monotonic() - begun)
            lines[room] = json.loads(found.read_text(encoding="utf-8"))
        if arguments.map:
            arguments.map.write_text(json.dumps([seconds, lines]), encoding="utf-8")
        for number, (room, mutant) in enumerate(sample):
            if number < arguments.skip or (arguments.again and f"{mutant.path}:{mutant.line}" not in arguments.again):
                continue
            if time.monotonic() - start > 60 * arguments.minutes:
                break
            file = folder / mutant.path
            original, stamp = file.read_text(encoding="utf-8"), file.stat()
            for stale in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
                stale.unlink()
            file.write_text(mutant.source, encoding="utf-8")
            result = tested(folder, chosen(lines[room], mutant, ROOMS[room]), seconds[room], None)
            file.write_text(original, encoding="utf-8")
            os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            counts[result] += 1
            if result == "survived":
                change = {"line": f"{mutant.path}:{mutant.line}", "before": mutant.before, "after": mutant.after}
                survivors.append(change)
            if not arguments.json:
                words = list(change.values()) if result == "survived" else [f"{mutant.path}:{mutant.line}"]
                print(number, result, *words, sep="  ", flush=True)
    share = 1 - counts["survived"] / max(1, counts.total())
    summary = {"possible": len(everything), "tried": counts.total(), **counts, "share_killed": round(share, 4)}
    print(json.dumps(summary | {"survivors": survivors}) if arguments.json else summary)


if __name__ == "__main__":
    main()
