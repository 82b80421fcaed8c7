"""The README keeps its word: its Python runs, its commands and files exist."""

import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from limner.cli.commands import COMMANDS
from limner.config.settings import described
from limner.models import families
from limner.models.recipes import AdversarialConfig, TrainingConfig

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


def settings_table(settings, chosen=None):
    """Key, default, range and meaning; and what a recipe chooses instead."""
    column = [] if chosen is None else ["`default` recipe"]
    head = ["setting", "default", *column, "may be", "meaning"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for s in settings:
        allowed = s.allowed.removeprefix("must be ").removeprefix("choose one of ")
        allowed = re.sub(r" and at most 1,000,000(,000)?$", "", allowed)  # a typing error's bound, no choice
        own = "" if chosen is None or s.default == chosen[s.name] else f"`{chosen[s.name]}`"
        cells = [f"`{s.name}`", f"`{s.default}`", *([own] if column else []), allowed, s.meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def settings_page():
    """docs/settings.md, from the dataclasses."""
    shared = {s.name: s for s in described(TrainingConfig)}
    parts = [
        "# Settings",
        "Each is a `--set KEY=VALUE` of `limner train` and a line of a run's `config.toml`.\n"
        "`limner models MODEL` says the same on the command line.\n"
        "This page is written by `LIMNER_WRITE_README=1 pytest tests/test_readme.py`.",
        "A recipe (`--recipe`) chooses other values than the defaults. The column `default` recipe has those\n"
        "of the recipe `default` for binary images of 28×28, where they differ.",
        "## Training",
        settings_table(shared.values()),
        "### Training of two players (GAN)",
        "As above, and with these instead:",
        settings_table([s for s in described(AdversarialConfig) if s != shared.get(s.name)]),
    ]
    for f in families().values():
        recipe = f.recipe("default", (1, 28, 28))
        written = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in asdict(recipe.network).items()}
        own, usual = asdict(recipe.training), asdict(f.training())
        trained = ", ".join(f"`{key}={value}`" for key, value in own.items() if value != usual[key])
        parts += [
            f"## {f.name}",
            f"{f.summary} {f.paper}. Images: {f.images}.",
            settings_table(described(f.config), written),
            f"Its `default` recipe trains with {trained or 'the defaults'}.",
        ]
    return "\n\n".join(parts) + "\n"


def test_the_page_of_settings_is_that_of_the_dataclasses():
    path = ROOT / "docs" / "settings.md"
    if os.environ.get("LIMNER_WRITE_README"):
        path.write_text(settings_page(), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == settings_page(), "write it anew with LIMNER_WRITE_README=1"


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
    for page in ("pixelcnn", "pixelrnn", "multiscale", "made", "autoencoder", "vae", "ladder_vae", "probe"):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        source = "\n".join(p.read_text(encoding="utf-8") for p in ROOT.glob("[lt]*/**/*.py"))
        for name in re.findall(r"`(?:[A-Za-z]+\.)?([A-Za-z_]\w+)`(?: in `| \()?", text):
            assert re.search(rf"\b{name}\b", source), f"{page}.md names {name}"


def test_the_readme_is_short_and_its_images_are_small():
    assert len(README.splitlines()) <= 130
    for image in (ROOT / "docs" / "figures").glob("*.png"):
        assert image.stat().st_size < 150_000, image.name
