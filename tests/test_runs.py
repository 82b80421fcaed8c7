import json

import pytest

from limner.errors import LimnerError
from limner.runs import find_run, list_runs, new_run, read_config, read_evaluations, record_evaluation, write_config


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_RUNS", raising=False)
    return tmp_path / "runs"


def a_run(folder, **more):
    folder.mkdir(parents=True)
    write_config(folder, {"model": "vae", "data": {"source": "digits"}, **more})
    return folder


def test_names_are_counted_up(here):
    assert [new_run(None, "vae-digits", here).name for _ in range(3)] == [f"vae-digits-{i}" for i in (1, 2, 3)]


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".", "..", ".hidden", "a b", "a\n", "-a", "a\0", "/etc"])
def test_a_name_stays_within_the_folder(here, name):
    with pytest.raises(LimnerError, match="run name"):
        new_run(name, "x", here)
    assert not here.exists()


@pytest.mark.parametrize("name", ["a", "A1", "x.y_z+q=2-3", "éclair", "实验"])
def test_plain_names_are_taken(here, name):
    assert new_run(name, "x", here) == here / name


def test_a_name_is_taken_once(here):
    a_run(here / "a")
    with pytest.raises(LimnerError, match=r"run 'a' exists in runs/: go on with `limner.resume\('a'\)`"):
        new_run("a", "x", here.relative_to(here.parent))


def test_an_empty_folder_left_by_a_kill_is_free(here):
    (here / "a").mkdir(parents=True)
    assert new_run("a", "x", here) == here / "a"


@pytest.mark.parametrize("parent", ["file", "file/runs"])
def test_a_file_in_the_way(here, tmp_path, parent):
    (tmp_path / "file").touch()
    with pytest.raises(LimnerError, match="cannot make a run folder in"):
        new_run("a", "x", tmp_path / parent)


def test_find_by_name_and_by_folder(here, tmp_path):
    a = a_run(here / "a")
    b = a_run(tmp_path / "elsewhere" / "b")
    assert find_run("a").resolve() == a
    assert find_run(b) == b
    assert find_run("elsewhere/b").resolve() == b


def test_unknown_runs_are_told_with_the_known(here):
    with pytest.raises(LimnerError, match=r"no run 'x' in runs/ \(there are none yet\)"):
        find_run("x")
    for i in range(9):
        a_run(here / f"r{i}")
    (here / "no-run").mkdir()
    with pytest.raises(LimnerError, match=r"no run 'x' in runs/ \(runs here: r0, r1, .*r7 …\)"):
        find_run("x")


def test_limner_runs_points_elsewhere(here, tmp_path, monkeypatch):
    a_run(tmp_path / "other" / "a")
    monkeypatch.setenv("LIMNER_RUNS", str(tmp_path / "other"))
    assert find_run("a") == tmp_path / "other" / "a"
    assert [row["run"] for row in list_runs()] == ["a"]


def test_config_comes_back_without_nothings(here):
    folder = a_run(here / "a", network={"x": 1, "y": None}, training={"z": [1.5, 2.0]})
    assert read_config(folder)["network"] == {"x": 1}
    assert read_config(folder)["training"] == {"z": [1.5, 2.0]}


def test_evaluations_are_appended(here):
    folder = a_run(here / "a")
    assert read_evaluations(folder) == []
    for i in range(3):
        record_evaluation(folder, {"n": i})
    (folder / "evaluations.jsonl").write_bytes(
        (folder / "evaluations.jsonl").read_bytes() + b'{"n": \xff\n5\n[]\n{"cut'
    )
    assert read_evaluations(folder) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_rows_hold_what_there_is(here):
    assert list_runs() == []
    a_run(here / "young")
    (row,) = list_runs()
    assert row == {"run": "young", "model": "vae", "data": "digits", "status": "no checkpoint", "step": 0}

    folder = a_run(here / "old")
    (folder / "state.json").write_text('{"step": 7, "finished": true}')
    lines = [{"step": s, "validation": {"nats": n}, "kept": s < 6} for s, n in ((3, 9.0), (5, 4.0), (7, 5.0))]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = {"step": 5, "n": 9, "nats_per_image": 4.5, "bits_per_dim": 0.1, "bound": "lower"}
    for split, data, shift in (("test", "digits", 0), ("test", "other", -1), ("validation", "digits", -1)):
        record_evaluation(folder, {"split": split, "data": data, **figures, "nats_per_image": 4.5 + shift})
    for other in ({"step": 3}, {"n": 2}):  # of older weights; of few images
        record_evaluation(folder, {"split": "test", "data": "digits", **figures, "nats_per_image": 1.0, **other})
    row = next(row for row in list_runs() if row["run"] == "old")
    assert (row["status"], row["step"], row["validation_nats"]) == ("finished", 7, 4.0)
    assert (row["test_nats"], row["bits_per_dim"], row["bound"]) == (4.5, 0.1, "lower")


def test_a_row_without_likelihood_has_what_its_samples_reach(here):
    folder = a_run(here / "game")
    (folder / "state.json").write_text('{"step": 7, "finished": true}')
    seen = ((3, 0.3, True), (5, 0.4, True), (7, 0.6, False))  # within the noise of a smaller distance, and beyond it
    lines = [{"step": s, "validation": {"distance": d, "accuracy": 0.5}, "kept": kept} for s, d, kept in seen]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step, samples, ratio in ((5, 900, 2.0), (5, 100, 1.5), (3, 900, 1.0)):  # of few samples; of older weights
        record = {"split": "test", "data": "digits", "step": step, "samples": samples, "frechet_ratio": ratio}
        record["feature_version"] = 2
        record_evaluation(folder, record)
    (row,) = list_runs()
    assert (row["validation_distance"], row["frechet_ratio"]) == (0.4, 2.0)
    assert not {"validation_nats", "test_nats"} & set(row)
    (folder / "metrics.jsonl").unlink()  # keep=last: the last weights
    assert "frechet_ratio" not in list_runs()[0]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.toml", b"\xff\xfe"),
        ("config.toml", b"= 3"),
        ("config.toml", b"model = 3"),
        ("config.toml", b'model = "vae"\ndata = "digits"'),
        ("state.json", b"{"),
        ("state.json", b"[]"),
        ("state.json", b"\xff"),
        ("state.json", b'{"step": "x"}'),
        ("metrics.jsonl", b'{"step": 1, "validation": 3, "kept": true}\n'),
    ],
)
def test_one_damaged_run_does_not_hide_the_others(here, file, content):
    a_run(here / "good")
    (a_run(here / "bad") / file).write_bytes(content)
    rows = {row["run"]: row["status"] for row in list_runs()}
    assert rows == {"good": "no checkpoint", "bad": "unreadable"}
