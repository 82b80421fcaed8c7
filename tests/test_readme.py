"""The README keeps its word: its Python runs, its commands and files exist."""

import os
import re
from pathlib import Path

import pytest

from limner.cli.commands import COMMANDS
from limner.models import families

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "samples.png").is_file()
    assert (tmp_path / "reconstructions.png").is_file()
    assert (tmp_path / "comparison.html").is_file()
    assert "(1, 8, 8) 17" in capsys.readouterr().out


def test_every_command_in_the_docs_exists():
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for command in re.findall(r"^(?:LIMNER\S+ )?limner ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert command in COMMANDS, f"{path.name}: limner {command}"


def families_table():
    """The README's table, from the registry."""
    likelihood = {"exact": "exact", "lower": "lower bound", "none": "none"}
    rows = ["| `MODEL` | what for | likelihood | samples | published |", "|---|---|---|---|---|"]
    for f in families().values():
        paper = re.sub(r"arXiv (\d+\.\d+)", r"[\1](https://arxiv.org/abs/\1)", f.paper)
        rows.append(
            f"| `{f.name}` | {f.summary} | {likelihood[f.likelihood]} | {'yes' if f.draws else '–'} | {paper} |"
        )
    return "\n".join(rows)


def test_the_readmes_table_is_that_of_the_registry():
    begin = "<!-- families: written by LIMNER_WRITE_README=1 pytest tests/test_readme.py -->\n"
    before, rest = README.split(begin)
    there, after = rest.split("<!-- end of families -->")
    wanted = f"\n{families_table()}\n\n"
    if os.environ.get("LIMNER_WRITE_README"):
        (ROOT / "README.md").write_text(f"{before}{begin}{wanted}<!-- end of families -->{after}", encoding="utf-8")
        return
    assert there == wanted, "write it anew with LIMNER_WRITE_README=1"


@pytest.mark.parametrize("name", list(families()))
def test_every_family_has_a_page(name):
    """That names its file or trains it."""
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").glob("*.md"))
    file = families()[name].model.__module__.rpartition(".")[2]
    assert f"limner/models/{file}.py" in pages or f"limner train {name}" in pages


def test_every_link_leads_somewhere():
    pages = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"]
    for path in (*(ROOT / page for page in pages), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_name_in_the_docs_exists():
    """Functions and classes that a docs page names by file are there."""
    for page in ("pixelcnn", "pixelrnn", "made", "autoencoder", "vae", "ladder_vae", "probe"):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        source = "\n".join(p.read_text(encoding="utf-8") for p in ROOT.glob("[lt]*/**/*.py"))
        for name in re.findall(r"`(?:[A-Za-z]+\.)?([A-Za-z_]\w+)`(?: in `| \()?", text):
            assert re.search(rf"\b{name}\b", source), f"{page}.md names {name}"


def test_the_readme_is_short_and_its_images_are_small():
    assert len(README.splitlines()) <= 130
    for image in (ROOT / "docs" / "figures").glob("*.png"):
        assert image.stat().st_size < 150_000, image.name
