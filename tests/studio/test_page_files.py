"""The page's files: what is vendored is unchanged, nothing is loaded from elsewhere, nothing breaks the policy."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "limner" / "studio" / "static"
VENDOR = STATIC / "vendor"
FOR_TESTS = Path(__file__).resolve().parent / "vendor"
OWN = [p for p in sorted(STATIC.rglob("*")) if p.suffix in {".js", ".css", ".html", ".svg"} and VENDOR not in p.parents]


def wrong_sums(folder: Path) -> list[str]:
    """Files of a folder that are not as its SHA256SUMS says, or that it does not name."""
    named = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.[jc]s*")}
    return sorted(name for name in named.keys() | there.keys() if named.get(name) != there.get(name))


@pytest.mark.parametrize("folder", [VENDOR, FOR_TESTS], ids=["page", "tests"])
def test_vendored_files_are_unchanged(folder):
    assert wrong_sums(folder) == []
    assert list(folder.glob("LICENSE.*"))


def test_changes_are_found(tmp_path):
    for path in VENDOR.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "uplot.js").write_bytes((VENDOR / "uplot.js").read_bytes() + b" ")
    (tmp_path / "other.js").write_text("1")
    assert wrong_sums(tmp_path) == ["other.js", "uplot.js"]


def test_vendored_files_are_few():
    """At most 200 kB of others' code, each file with its licence beside it."""
    assert sum(path.stat().st_size for path in VENDOR.glob("*.[jc]s*")) <= 200_000
    assert {path.name for path in VENDOR.glob("LICENSE.*")} == {f"LICENSE.{n}.txt" for n in ("htm", "preact", "uplot")}


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.relative_to(STATIC).as_posix())
def test_nothing_comes_from_elsewhere(path):
    """No address of another host, no eval, no inline script or style that the policy forbids."""
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?://[\w.]+", text)
    assert not re.search(r"\beval\(|\bnew Function\(|\bon[a-z]+=[\"']|javascript:", text)
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=", text)
    assert len(text.splitlines()) <= 300
    assert max(len(line) for line in text.splitlines()) <= 120 or path.suffix == ".svg"


def imports(path: Path) -> set[Path]:
    names = re.findall(r"from \"(\.[^\"]+)\"", path.read_text(encoding="utf-8"))
    return {(path.parent / name).resolve() for name in names}


def test_imports_form_no_circle():
    arrows = {path.resolve(): imports(path) for path in OWN if path.suffix == ".js"}
    assert all(target.is_file() for targets in arrows.values() for target in targets)
    while leaves := {path for path, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {path: targets for path, targets in arrows.items() if path not in leaves}
    assert arrows == {}
