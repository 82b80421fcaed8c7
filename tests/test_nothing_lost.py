"""Runs that are read while they are written, wanted by two at once, on disks that are full, read-only or moved."""

import argparse
import os
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks import faults
from benchmarks.crashes import differences
from limner import files, workbench
from limner.errors import LimnerError
from limner.runs import find_run, list_runs, locked_run, new_run, read_evaluations, record_evaluation, remove_run
from limner.training.checkpoints import read_tensors, write_tensors

FIXTURES = Path(__file__).parent / "fixtures"


# The experiments of benchmarks/faults.py, small


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    counts = {"kills": 3, "saves": 25, "loads": 50, "pairs": 3, "evaluations": 4, "repeats": 1, "minutes": 1}
    asked = counts | {"families": ["made"], "seed": 0}
    return faults.Faults(tmp_path_factory.mktemp("faults"), argparse.Namespace(**asked))


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["kills", "readers", "writers", "evaluations", "full disk", "moved"])
def test_nothing_is_lost(small, name):
    count = faults.EXPERIMENTS[name](small)
    assert count.told == []
    assert count.failed == 0
    assert count.tries


# Weights are read once, and carry a digest


@pytest.mark.parametrize("part", ["header", "entries", "tensors"])
def test_a_changed_byte_is_noticed(tmp_path, part):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.zeros(5)}, {"step": 7})
    whole = path.read_bytes()
    place = {"header": whole.index(b"7"), "entries": whole.index(b'"x"') + 1, "tensors": len(whole) - 1}[part]
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(LimnerError, match="is damaged"):
        read_tensors(path)
    path.write_bytes(whole)
    assert read_tensors(path)[1] == {"step": 7}


def test_the_same_state_is_the_same_file(tmp_path):
    for name in "ab":
        write_tensors(tmp_path / name, {"x": torch.arange(5), "y": torch.ones(2)}, {"step": 7})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("version", [p.name for p in FIXTURES.glob("run-*")])
def test_a_run_of_an_older_version_opens_and_goes_on(tmp_path, version):
    folder = shutil.copytree(FIXTURES / version, tmp_path / "old")
    (kept,) = read_evaluations(folder)
    found = workbench.open_run(folder).evaluate(limit=kept["n"])
    assert found["nats_per_image"] == pytest.approx(kept["nats_per_image"], rel=1e-4)
    run = workbench.resume(folder, epochs=1.2)
    assert (run.outcome.step, run.outcome.interrupted) == (24, False)


def test_a_finished_runs_configuration_trains_the_same_weights(home):
    again = home / "runs" / "again"
    again.mkdir()
    shutil.copy(home / "runs" / "made" / "config.toml", again)
    workbench.resume("again")
    assert differences(again, home / "runs" / "made") == []


# One process trains a run


def test_a_run_in_use_is_refused_and_read(home, refused, limner, snapshot):
    before = snapshot(home / "runs" / "made")
    with locked_run(home / "runs" / "made"):
        for words in (["resume", "made", "--epochs", "2"], ["delete", "made", "--yes"]):
            assert "run 'made' is in use: another process trains or deletes it" in refused(*words)
        assert limner("sample", "made", "--out", "a.png", "--quiet").code == 0
        assert limner("evaluate", "made", "--limit", "5").code == 0
        assert limner("runs").code == 0
    after = snapshot(home / "runs" / "made")
    assert {name: after[name] for name in before} == before


def test_a_demo_that_is_being_made_is_left_alone(tmp_path, home, refused, snapshot):
    (home / "demo").mkdir()
    (home / "demo" / ".limner-demo").touch()
    shutil.move(home / "runs" / "vae", home / "demo" / "vae")
    before = snapshot(home / "demo")
    with files.locked("demo/.lock", "taken"):
        assert "demo/ is in use" in refused("demo")
    with locked_run(home / "demo" / "vae"):
        assert "run 'vae' is in use" in refused("demo")
    after = snapshot(home / "demo")
    assert {name: after[name] for name in before} == before


def test_a_run_that_was_killed_before_it_began_is_a_free_name(tmp_path, refused, limner, monkeypatch, tiny):
    monkeypatch.chdir(tmp_path)
    for name in (".lock", ".config.toml.tmp-0123456789ab"):
        (tmp_path / "runs" / "vae").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / "vae" / name).touch()
    assert "no run 'vae'" in refused("resume", "vae")
    assert limner("train", "vae", "--name", "vae", "--epochs", "0.1", "--quiet", "--set", *tiny["vae"]).code == 0
    assert not list((tmp_path / "runs" / "vae").glob("*.tmp-*"))
    assert "exists" in refused("train", "vae", "--name", "vae")


@pytest.mark.parametrize("page", ["README.md", "report.html"])
def test_a_page_that_is_missing_is_written_anew(home, limner, page):
    (home / "runs" / "vae" / page).unlink()
    assert limner("resume", "vae", "--quiet").code == 0
    assert (home / "runs" / "vae" / page).is_file()


def test_the_card_is_there_before_the_report(home, monkeypatch):
    folder, run = home / "runs" / "vae", workbench.open_run("vae")
    for page in ("README.md", "report.html"):
        (folder / page).unlink()
    replaced = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (replace(a, b), replaced.append(Path(b).name)))
    run.report()
    assert replaced == ["README.md", "report.html"]


# Evaluations


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path):
    record_evaluation(tmp_path, {"n": 1})
    path = tmp_path / "evaluations.jsonl"
    path.write_bytes(path.read_bytes() + b'{"n": 2, "cu')
    record_evaluation(tmp_path, {"n": 3})
    assert read_evaluations(tmp_path) == [{"n": 1}, {"n": 3}]
    assert path.read_bytes().startswith(b'{"n": 1}\n{"n": 2, "cu\n')


PROBE = ("probe", "made", "--out", "p.png", "--methods", "pixels", "--labels-per-class", "1")


@pytest.mark.parametrize("words", [("evaluate", "made", "--limit", "5"), PROBE])
def test_what_cannot_be_kept_is_said_before_and_printed(home, limner, monkeypatch, snapshot, words):
    before, real = snapshot(home / "runs"), os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "made" not in str(path) and real(path, mode))
    said = limner(*words, "--json")
    assert said.code == 0
    assert said.record["run"] == "made"
    assert said.err == "limner: runs/made/ cannot be written to: what is measured is shown, but not kept there\n"
    assert snapshot(home / "runs") == before


def test_what_fails_to_be_kept_is_printed_all_the_same(home, limner):
    (home / "runs" / "made" / "evaluations.jsonl").mkdir()
    said = limner("evaluate", "made", "--limit", "5", "--json")
    assert (said.code, said.record["n"]) == (0, 5)
    assert "evaluations.jsonl: it is a folder" in said.err
    assert "shown, but not kept" in said.err


def test_a_place_that_cannot_be_written_is_said_before_the_work(home, refused, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    line = refused("sample", "made")
    assert "cannot write runs/made/samples-0.png: Permission denied; give another place with --out" in line


# limner delete


def test_delete(home, limner, refused):
    assert "give --yes" in refused("delete", "vae")
    assert find_run("vae")
    (home / "runs" / ".gone.deleted-012345").mkdir()
    said = limner("delete", "vae", "--yes")
    assert (said.code, said.out) == (0, "deleted runs/vae/\n")
    assert not [p for p in (home / "runs").iterdir() if p.name == "vae" or "deleted" in p.name]
    assert "no run 'vae'" in refused("delete", "vae", "--yes")
    assert new_run("vae", "x", home / "runs").is_dir()


def test_delete_leaves_what_is_no_run(home, refused):
    (home / "site").mkdir()
    (home / "site" / "config.toml").write_text('title = "mine"')
    assert "site/config.toml is not that of a run" in refused("delete", "site", "--yes")
    assert (home / "site" / "config.toml").is_file()


def test_a_kill_while_a_run_is_deleted_leaves_no_half_of_it(home, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_run(home / "runs" / "vae")
    assert not (home / "runs" / "vae").exists()
    assert not [row["run"] for row in list_runs() if "vae" in row["run"] and row["run"].startswith(".")]
