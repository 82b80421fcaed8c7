"""A run that was killed, interrupted or stopped by a fault ends as if it never had been."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from benchmarks.crashes import CONTEXT, TIMES, differences, tensors
from limner import workbench
from limner.cli import main
from limner.errors import LimnerError
from limner.models import families, family
from limner.runs import read_config
from limner.training.journal import read_metrics

# Many checkpoints and evaluations; one of the settings does not go into a whole number of steps.
OFTEN = ("checkpoint_seconds=0.05", "evaluations=17", "epochs=1.7", "batch_size=32", "augment=flip,shift,elastic=0.5")


# What is written when is the loop's affair: every way to stop is tried with these, one of AdamW, one of Muon, and two
# players. Of the other models, what is in their state: each is stopped once.
FULL = ("vae", "patch-pixelcnn", "gan")


def metrics(folder):
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_metrics(folder)]


def assert_same_end(folder, reference):
    assert differences(folder, reference) == []
    for kind in ("train", "validation"):
        steps = [line["step"] for line in metrics(folder) if kind in line]
        assert steps == sorted(set(steps))
        assert len(steps) > 10


@pytest.fixture(scope="module")
def references(tmp_path_factory, tiny):
    """Runs that nothing ever stopped: gives the folder of a model's, trained when it is asked for first."""
    runs, known = tmp_path_factory.mktemp("reference"), {}

    def of(model):
        if model not in known:
            torch.manual_seed(random.randrange(1 << 30))  # whatever the process did before must not matter
            known[model] = workbench.train(model, name=model, runs=runs, settings=[*tiny[model], *OFTEN]).folder
        return known[model]

    return of


@pytest.fixture(params=FULL)
def reference(request, references):
    """The run of a model that nothing ever stopped."""
    return references(request.param)


@pytest.fixture
def words(reference, tiny):
    """The command that trains the reference's twin, called ``twin``."""
    model = reference.name
    return ["train", model, "--name", "twin", "--quiet", "--set", *tiny[model], *OFTEN]


@pytest.fixture
def objective(reference):
    """The class of what makes the reference's steps."""
    from limner.training.adversarial import Adversarial
    from limner.training.objectives import SingleLoss

    return Adversarial if reference.name == "gan" else SingleLoss


@pytest.fixture
def twin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_RUNS", raising=False)
    return Path("runs/twin")


@pytest.fixture(scope="module")
def start():
    """Start the command line in a process of its own, forked from one that has torch imported already."""
    started = []

    def call(words):
        started.append(CONTEXT.Process(target=main, args=(words,)))
        started[-1].start()
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.join()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def step_of(folder):
    path = folder / "state.json"
    return json.loads(path.read_text())["step"] if path.is_file() else -1


posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def test_the_models_tried_in_full_are_of_each_kind_of_optimizer():
    recipes = [family(name).recipe("default", (1, 8, 8)).training for name in FULL]
    assert [(r.OBJECTIVE, r.optimizer) for r in recipes] == [
        ("single loss", "adamw"), ("single loss", "muon"), ("two players", "adamw")
    ]  # fmt: skip


@posix
def test_killed_at_random_moments(reference, words, twin, start, limner):
    chance = random.Random(reference.name)
    kills = 0
    process = start(words)
    wait_for((twin / "config.toml").is_file)
    while not (twin / "report.html").is_file():
        process.join(chance.uniform(0, 0.25))
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
        process = start(["resume", str(twin), "--quiet"])
        if kills < 5:
            wait_for(lambda: step_of(twin) >= 0)
        else:
            process.join()
    process.join()
    assert kills  # how many depends on the machine; every single moment has a test of its own below
    assert_same_end(twin, reference)


class Killed(BaseException):
    """Stands for SIGKILL where a real one cannot be aimed: nothing cleans up behind it."""


@pytest.mark.parametrize("write", [1, 2, 3, 4, 5, 6, 29])
@pytest.mark.parametrize("moment", ["before the rename", "after the rename"])
def test_killed_in_a_write(reference, words, twin, monkeypatch, limner, write, moment):
    """Weights, state, its copy for people, images: a kill between any two leaves what a run can go on from."""
    replace, count = os.replace, 0

    def killing(*paths):
        nonlocal count
        count += 1
        if count == write + 1:  # the first is config.toml: without it, there is no run yet
            if moment == "after the rename":
                replace(*paths)
            raise Killed
        replace(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killing)
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            main(words)
    assert bool(list(twin.rglob(".*.tmp-*"))) == (moment == "before the rename")
    said = limner("resume", "twin", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert_same_end(twin, reference)


@posix
@pytest.mark.parametrize("reference", FULL[:1], indirect=True)
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_saves_and_resume_goes_on(reference, words, twin, start, limner, how):
    if signal.getsignal(getattr(signal, how)) is signal.SIG_IGN:
        pytest.skip(f"{how} is ignored here, as by nohup")
    process = start(words)
    wait_for(lambda: step_of(twin) > 2)
    os.kill(process.pid, getattr(signal, how))
    process.join()
    assert process.exitcode == 130
    state = json.loads((twin / "state.json").read_text())
    assert state["step"] > 2
    assert state["finished"] is False
    assert limner("resume", "twin", "--quiet").code == 0
    assert_same_end(twin, reference)


@pytest.mark.parametrize("reference", families(), indirect=True)
def test_ctrl_c_says_how_to_go_on(reference, objective, words, twin, monkeypatch, limner):
    step = objective.step

    def interrupted(self, batch, factor, number):
        if number == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, factor, number)

    with monkeypatch.context() as patched:
        patched.setattr(objective, "step", interrupted)
        said = limner(*words)
    assert (said.code, said.out) == (130, "")
    assert said.err == "limner: stopped and saved; go on with `limner resume twin`\n"
    assert json.loads((twin / "state.json").read_text())["step"] == 11  # the step was not cut in half
    assert {row["run"]: row["status"] for row in limner("runs", "--json").record} == {"twin": "unfinished"}
    assert limner("resume", "twin", "--quiet").code == 0
    assert_same_end(twin, reference)


@posix
@pytest.mark.parametrize("ignored", [True, False])
def test_a_closed_terminal_sends_two_signals_and_none_under_nohup(tmp_path, tiny, monkeypatch, ignored):
    from limner.training.objectives import SingleLoss

    step = SingleLoss.step

    def hung_up(self, batch, factor, number):
        if number == 7:
            for _ in range(2):  # the shell's, and the system's
                os.kill(os.getpid(), signal.SIGHUP)
        return step(self, batch, factor, number)

    monkeypatch.setattr(SingleLoss, "step", hung_up)
    died = []
    handler = signal.SIG_IGN if ignored else lambda *_: died.append(True)
    before = signal.signal(signal.SIGHUP, handler)
    try:
        run = workbench.train("vae", name="x", runs=tmp_path, settings=[*tiny["vae"], "epochs=1"])
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)
    assert died == []
    assert run.outcome.interrupted != ignored
    assert json.loads((run.folder / "state.json").read_text())["step"] == (20 if ignored else 8)


def test_a_stop_between_two_lines_of_the_journal(tmp_path, tiny, monkeypatch):
    """A line holds the mean of all steps since the line before, those before the stop included."""
    from limner.training.objectives import SingleLoss

    step = SingleLoss.step

    def interrupted(self, batch, factor, number):
        if number in (301, 306):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, factor, number)

    settings = [*tiny["vae"], "batch_size=2", "epochs=1.1", "sample_images=0"]
    whole = workbench.train("vae", name="whole", runs=tmp_path, settings=settings).folder
    with monkeypatch.context() as patched:
        patched.setattr(SingleLoss, "step", interrupted)
        stopped = workbench.train("vae", name="stopped", runs=tmp_path, settings=settings)
        stopped = workbench.resume(stopped.folder)
    assert stopped.outcome.interrupted
    assert json.loads((stopped.folder / "state.json").read_text())["log"]
    workbench.resume(stopped.folder)
    lines = metrics(stopped.folder)
    assert lines == metrics(whole)
    assert 75 < sum("train" in line for line in lines) < 125  # a hundredth of the run between two lines


def test_killed_before_the_first_checkpoint(reference, words, twin, monkeypatch, limner):
    from limner.training.loop import _Run

    def killed(self):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(_Run, "_checkpoint", killed)
        with pytest.raises(Killed):
            main(words)
    assert not (twin / "state.safetensors").exists()
    assert limner("resume", "twin", "--quiet").code == 0
    assert_same_end(twin, reference)


@pytest.mark.parametrize("number", [0, 30])
def test_a_nan_stops_and_keeps_the_last_good_state(
    reference, objective, words, twin, monkeypatch, refused, limner, number
):
    game = reference.name == "gan"
    owner, name = (objective, "_logits") if game else (family(reference.name).model, "loss_terms")
    terms, calls = getattr(owner, name), 0

    def poisoned(self, *words):
        nonlocal calls
        result = terms(self, *words)
        if words[0].is_meta:  # a rehearsal, of which the memory is counted
            return result
        if game:
            calls += 1
            return result * float("nan") if calls == 4 * number + 1 else result  # four passes of D in a step
        result = dict(result)
        if self.training:
            calls += 1
            if calls == number + 1:
                result[next(reversed(result))] *= float("nan")
        return result

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, poisoned)
        patched.setattr("limner.workbench.planning.time_step", lambda *words: 1.0)  # whose steps are none of the run
        line = refused(*words)
    assert f"step {number}:" in line
    term = {"vae": "kl", "patch-pixelcnn": "nll", "gan": "discriminator"}[reference.name]
    assert f"the term '{term}' became nan" in line
    if number:
        _ = workbench.open_run(twin).model  # the weights load
    assert limner("resume", "twin", "--quiet").code == 0
    assert_same_end(twin, reference)


def test_a_rate_beyond_reason_is_one_line(twin, tiny, refused):
    words = ["train", "vae", "--name", "twin", "--quiet", "--set", *tiny["vae"]]
    line = refused(*words, "learning_rate=1e9", "clip_norm=0", "warmup_steps=0")
    assert "became" in line
    assert "learning_rate" in line
    for file in ("model.safetensors", "state.safetensors"):
        if (twin / file).exists():
            assert all(bool(t.isfinite().all()) for t in tensors(twin / file)[0].values() if t.is_floating_point())


def test_weights_that_are_not_finite_are_not_saved(reference, objective, words, twin, monkeypatch, refused):
    step = objective.step

    def spoiling(self, batch, factor, number):
        result = step(self, batch, factor, number)
        if number == 20:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("inf"))
        return result

    monkeypatch.setattr(objective, "step", spoiling)
    assert "at step 21: the weight " in refused(*words, "checkpoint_seconds=0")
    saved, header = tensors(twin / "state.safetensors")
    assert header["step"] == 20
    assert all(bool(t.isfinite().all()) for t in saved.values() if t.is_floating_point())


# A finished run


def test_a_finished_run_says_so(home, refused, snapshot):
    before = snapshot(home)
    for more in ([], ["--set", "learning_rate=0.5"], ["--epochs", "0.5"], ["--epochs", "1"], ["--minutes", "0.0001"]):
        line = refused("resume", "vae", *more)
        assert line.startswith("limner: run 'vae' is finished (20 steps, 1 epochs, ")
        assert "`limner resume vae --epochs 2`, or --minutes" in line
    assert snapshot(home) == before


def test_a_finished_run_without_report_gets_it(home, limner):
    (home / "runs" / "vae" / "report.html").unlink()
    state = (home / "runs" / "vae" / "state.safetensors").read_bytes()
    assert limner("resume", "vae").out == "runs/vae/report.html\n"
    assert (home / "runs" / "vae" / "report.html").is_file()
    assert tensors(home / "runs" / "vae" / "state.safetensors")[0].keys() == tensors_of(state).keys()


def tensors_of(data):
    from safetensors.torch import load

    return load(data)


@pytest.mark.parametrize("words", [["--epochs", "2"], ["--set", "epochs=2"]])
def test_a_finished_run_is_trained_longer(home, limner, words):
    folder = home / "runs" / "vae"
    before = metrics(folder)
    assert limner("resume", "vae", "--quiet", *words).code == 0
    state = json.loads((folder / "state.json").read_text())
    assert (state["step"], state["finished"]) == (40, True)
    assert read_config(folder)["training"]["epochs"] == 2
    lines = metrics(folder)
    assert lines[: len(before)] == before
    later = [line for line in lines[len(before) :] if "validation" in line]
    assert [line["step"] for line in later] == [30, 40]  # the second half of four evaluations
    assert sum("train" in line for line in lines[len(before) :]) == 20
    best = tensors(folder / "model.safetensors")[1]
    assert best["validation_nats"] == min(line["validation"]["nats"] for line in lines if "validation" in line)


def test_a_finished_run_is_trained_longer_by_the_clock(home, limner):
    folder = home / "runs" / "vae"
    before = json.loads((folder / "state.json").read_text())["seconds"]
    minutes = (before + 0.6) / 60
    assert limner("resume", "vae", "--quiet", "--minutes", minutes).code == 0
    state = json.loads((folder / "state.json").read_text())
    assert state["step"] > 20
    assert state["finished"] is True
    assert before + 0.3 < state["seconds"] < before + 2
    assert read_config(folder)["training"]["minutes"] == minutes


@pytest.mark.parametrize("reference", ["vae"], indirect=True)
def test_a_run_can_change_its_clock(reference, words, twin, limner, refused):
    """An epochs' plan is not taken for a time budget's, nor the other way round."""
    words = [w for w in words if not w.startswith("epochs=")]
    assert limner(*words, "minutes=0.005").code == 0
    steps = json.loads((twin / "state.json").read_text())["step"]
    assert "is finished" in refused("resume", "twin")
    assert limner("resume", "twin", "--quiet", "--epochs", str((steps + 5) / 40)).code == 0
    state = json.loads((twin / "state.json").read_text())
    assert (state["step"], state["finished"], state["budget"]) == (steps + 5, True, 0)


@posix
def test_a_time_budget_holds_over_a_kill(twin, start, tiny, limner):
    minutes = 0.05
    process = start(["train", "vae", "--name", "twin", "--quiet", "--minutes", str(minutes),
                     "--set", *tiny["vae"], "checkpoint_seconds=0.02"])  # fmt: skip
    wait_for(lambda: step_of(twin) > 0)
    time.sleep(1.8)
    process.kill()
    process.join()
    state = json.loads((twin / "state.json").read_text())
    assert state["finished"] is False
    assert 1 < state["seconds"] < minutes * 60
    assert limner("resume", "twin", "--quiet").code == 0
    state = json.loads((twin / "state.json").read_text())
    assert state["finished"] is True
    assert 0.8 * minutes * 60 < state["seconds"] < 1.4 * minutes * 60  # the rest of the budget, not the whole again
    steps = [line["step"] for line in read_metrics(twin) if "train" in line]
    assert steps == sorted(set(steps))


def test_resume_chooses_a_precision_again(home, limner):
    assert limner("resume", "vae", "--quiet", "--set", "precision=auto", "epochs=1.2").code == 0
    assert read_config(home / "runs" / "vae")["training"]["precision"] in ("float32", "bf16")


def test_resume_leaves_the_global_generator_alone(home):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    workbench.resume("vae", epochs=1.2)
    assert torch.equal(torch.rand(3), expected)


def test_training_from_a_program_is_refused_alike(home):
    with pytest.raises(LimnerError, match="is finished"):
        workbench.resume("vae")
