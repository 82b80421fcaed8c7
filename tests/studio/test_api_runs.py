"""Runs, families and jobs of the studio: listed, trained, stopped, gone on with, measured, deleted."""

import io
import json
import sys
import time

import pytest
from safetensors.torch import load_file

from limner import workbench
from limner.errors import LimnerError
from limner.models import families
from limner.studio import jobs
from limner.studio.limits import Limits
from limner.studio.worker import Teller, do

TINY = {"network": "dense", "hidden": 16, "latent": 2, "precision": "float32", "evaluations": 2, "sample_images": 4}
TRAINING = {"model": "vae", "source": "digits", "epochs": 2, "settings": TINY}


@pytest.fixture
def worker(monkeypatch):
    """Let a few lines of Python do the studio's jobs."""

    def replace(code):
        monkeypatch.setattr(jobs, "WORKER", (sys.executable, "-c", f"import sys, json, time\n{code}"))

    return replace


def test_the_studio_says_what_it_is(client):
    said = client.get("/api/studio").json()
    assert said["token"] is False
    assert said["limits"]["upload_files"] == Limits().upload_files
    assert said["runs_folder"] == "runs"


def test_families_say_what_they_can(client):
    found = {f["name"]: f for f in client.get("/api/families").json()}
    assert found.keys() == families().keys()
    vae, pixelcnn, gan = found["vae"], found["pixelcnn"], found["gan"]
    assert vae["likelihood"] == "lower"
    assert vae["can"] == {
        "sample": True, "stream": False, "complete": False, "walk": True, "encode": True, "means": True, "score": True,
        "learn": "vae",
    }  # fmt: skip
    assert pixelcnn["can"]["complete"]
    assert pixelcnn["can"]["stream"]
    assert pixelcnn["can"]["learn"] == "exact"
    assert (gan["likelihood"], gan["can"]["score"], gan["can"]["learn"]) == ("none", False, "gan")
    assert found["autoencoder"]["can"]["sample"] is False
    assert {s["name"] for s in vae["settings"]["network"]} >= {"latent", "hidden"}


def test_runs_are_listed(client, runs):
    found = {r["run"]: r for r in client.get("/api/runs").json()}
    assert found.keys() == {"pixelcnn", "vae", "gan", "autoencoder", "by-class"}
    assert found["vae"]["bound"] == "lower"
    assert "bound" not in found["gan"]
    assert len(found["vae"]["sparkline"]) == 4
    sheet = client.get(found["vae"]["thumbnail"])
    assert sheet.headers["content-type"] == "image/png"
    assert sheet.content == max((runs / "vae" / "samples").glob("*.png")).read_bytes()
    (runs / "vae" / "config.toml").write_text("[")
    assert {r["run"]: r["status"] for r in client.get("/api/runs").json()}["vae"] == "unreadable"


def test_a_run_is_described(client, runs):
    run = client.get("/api/runs/vae").json()
    assert run["shape"] == [1, 8, 8]
    assert run["config"]["network"]["latent"] == 2
    assert len(run["curves"]["validation"]["nats"]) == 4
    assert len(run["curves"]["train"]["kl"]) > 4
    assert len(client.get("/api/runs/vae?points=3").json()["curves"]["train"]["kl"]) == 3
    assert run["curves"]["rate"]
    assert [s["step"] for s in run["sheets"]] == sorted(s["step"] for s in run["sheets"])
    assert run["can"]["walk"] == {"ok": True}
    assert run["can"]["complete"]["ok"] is False
    assert "cannot complete images" in run["can"]["complete"]["why"]
    assert run["can"]["stop"]["why"] == "it is not being trained"
    assert len(run["weights"]) == 32
    report = client.get(run["report"])
    assert "sandbox" in report.headers["content-security-policy"]
    assert report.text.startswith("<!")
    (runs / "vae" / "model.safetensors").unlink()
    young = client.get("/api/runs/vae").json()
    assert "weights" not in young
    assert "no weights yet" in young["can"]["sample"]["why"]
    gan = client.get("/api/runs/gan").json()
    assert {"discriminator", "generator", "accuracy"} <= gan["curves"]["train"].keys()


def test_an_image_of_the_data(client):
    image = client.get("/api/runs/vae/images/test/3.png")
    assert image.headers["content-type"] == "image/png"
    assert client.get("/api/runs/vae/images/test/250.png").status_code == 404
    assert client.get("/api/runs/vae/images/nothing/0.png").status_code == 400


def test_a_training_has_the_weights_of_the_library(client, socket, runs, tmp_path, finished):
    with socket("/api/events") as events:
        assert events.receive_json()["type"] == "jobs"
        job = client.post("/api/runs", json=TRAINING).json()
        assert (job["kind"], job["run"], job["state"]) == ("train", "vae-digits-1", "running")
        done = finished(job)
        assert done["state"] == "done", done
        time.sleep(1.2)  # the folder is looked at twice a second
        told = []
        client.delete("/api/runs/autoencoder")
        while not told or told[-1].get("what") != "deleted":
            told.append(events.receive_json())
    whats = {e.get("what") for e in told if e["type"] == "run" and e["run"] == "vae-digits-1"}
    assert whats >= {"created", "metrics", "sheet"}
    assert any(e["job"].get("progress", {}).get("stage") == "training" for e in told if e["type"] == "job")
    assert any(e["job"]["state"] == "done" for e in told if e["type"] == "job")
    ours = workbench.train("vae", "digits", epochs=2, settings=TINY, runs=tmp_path / "own", quiet=True)
    theirs = runs / "vae-digits-1"
    a, b = (load_file(folder / "model.safetensors") for folder in (ours.folder, theirs))
    assert a.keys() == b.keys()
    assert all((a[name] == b[name]).all() for name in a)
    assert (theirs / "report.html").is_file()
    assert client.get("/api/runs/vae-digits-1").json()["status"] == "finished"


def test_a_training_is_stopped_saved_and_gone_on_with(client, runs, worker, finished):
    job = client.post("/api/runs", json=TRAINING | {"epochs": 4000, "name": "long"}).json()
    until = time.monotonic() + 60
    while client.get(f"/api/jobs/{job['id']}").json().get("progress", {}).get("step", 0) < 20:
        assert time.monotonic() < until
        time.sleep(0.05)
    run = client.get("/api/runs/long").json()
    assert run["status"] == "running"
    assert run["job"] == job["id"]
    assert run["progress"]["seconds_left"] > 0
    assert run["can"]["delete"]["why"] == "it is being trained"
    assert client.delete("/api/runs/long").status_code == 409
    assert client.post("/api/runs/long/resume", json={}).status_code == 409
    assert client.post("/api/runs", json=TRAINING | {"name": "long"}).status_code in (400, 409)
    waiting = client.post("/api/runs", json=TRAINING).json()
    assert (waiting["state"], waiting["place"]) == ("waiting", 1)
    assert client.delete(f"/api/jobs/{waiting['id']}").json()["state"] == "cancelled"
    assert client.post("/api/runs/long/stop").json()["state"] == "stopped"
    state = json.loads((runs / "long" / "state.json").read_text())
    assert state["step"] >= 20
    assert client.get("/api/runs/long").json()["status"] == "unfinished"
    assert client.post("/api/runs/long/stop").status_code == 409
    longer = {"epochs": state["step"] // (1297 // 128) + 2}
    worker("job = json.loads(sys.stdin.readline()); print(json.dumps({'state': 'done', 'result': job}))")
    job = finished(client.post("/api/runs/long/resume", json=longer).json())
    assert job["result"] == {"kind": "resume", "run": "long", "options": longer}
    assert do(job["result"], Teller(io.StringIO())) == {"state": "done"}
    assert json.loads((runs / "long" / "state.json").read_text())["step"] > state["step"]
    assert client.delete("/api/runs/long").status_code == 204
    assert not (runs / "long").exists()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model": "vea"}, "did you mean 'vae'"),
        ({"source": "/etc"}, "there is no source '/etc'"),
        ({"source": "upload:../../etc"}, "there is no upload"),
        ({"settings": {"laten": 2}}, "unknown key 'laten'"),
        ({"settings": {"latent": -2}}, "latent=-2"),
        ({"minutes": 1}, "not both"),
        ({"name": "../up"}, "run name"),
        ({"name": "vae"}, "exists"),
        ({"recipe": "secret"}, "has default"),
        ({"model": "gan", "start_from": "../vae"}, "there is no run"),
        ({"epochs": 0}, "epochs: "),
        ({"command": "rm"}, "command: "),
        ({"model": "autoencoder", "conditional": True}, "has no classes"),
    ],
)
def test_bad_trainings_are_refused_at_once(client, change, line):
    answer = client.post("/api/runs", json=TRAINING | change)
    assert answer.status_code in (400, 404)
    assert line in answer.json()["error"]
    assert client.get("/api/jobs").json() == []


def test_what_a_training_says_is_told(client, worker, finished):
    worker("print(json.dumps({'progress': {'stage': 'loading', 'fraction': 0.5}}), flush=True)\n"
           "print('a note', file=sys.stderr, flush=True)\n"
           "print(json.dumps({'error': 'patches do not tile images'}))")  # fmt: skip
    done = finished(client.post("/api/runs", json=TRAINING).json())
    assert (done["state"], done["error"]) == ("failed", "patches do not tile images")
    assert done["progress"] == {"stage": "loading", "fraction": 0.5}
    assert done["notes"] == ["a note"]


def test_a_worker_that_crashes_is_a_failed_job(client, worker, finished, monkeypatch):
    worker("print('a note', file=sys.stderr)\nraise RuntimeError('secret')")
    done = finished(client.post("/api/runs", json=TRAINING).json())
    assert done["notes"] == ["a note"]
    assert done["state"] == "failed"
    assert "code 1" in done["error"]
    assert "secret" not in json.dumps(done)
    monkeypatch.setattr(jobs, "WORKER", ("/nowhere/python",))
    assert "could not be started" in finished(client.post("/api/runs", json=TRAINING).json())["error"]


def test_a_full_queue_is_429(client, studio, worker, finished):
    worker("time.sleep(60)")
    studio.jobs.limits = Limits(jobs_waiting=1)
    first = client.post("/api/runs", json=TRAINING).json()
    second = client.post("/api/runs", json=TRAINING).json()
    assert (second["state"], second["run"]) == ("waiting", "vae-digits-2")
    refused = client.post("/api/runs", json=TRAINING)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "wait already" in refused.json()["error"]
    evaluation = client.post("/api/runs/vae/evaluate", json={}).json()  # these have a queue of their own
    assert evaluation["state"] == "running"
    assert client.delete(f"/api/jobs/{evaluation['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{second['id']}").json()["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{first['id']}").json()["state"] == "cancelled"  # no run had begun
    assert client.delete(f"/api/jobs/{first['id']}").json()["state"] == "cancelled"


def test_the_worker_measures_and_looks(runs, tmp_path):
    out = io.StringIO()
    teller = Teller(out)
    found = do({"kind": "evaluate", "run": "pixelcnn", "options": {"limit": 50}}, teller)
    assert found["result"]["bound"] == "exact"
    assert json.loads(out.getvalue().splitlines()[-1])["progress"]["fraction"] == 1.0
    found = do({"kind": "look", "source": "digits", "sheet": str(tmp_path / "sheet.png")}, teller)["result"]
    assert (found["images"], found["size"], found["channels"]) == (1797, [8, 8], 1)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(LimnerError, match="no run"):
        do({"kind": "evaluate", "run": "nobody", "options": {}}, teller)


def test_measured_runs_are_compared(client, runs):
    before = client.get("/api/compare?run=vae&run=gan&run=pixelcnn").json()
    by_name = {r["run"]: r for r in before["runs"]}
    assert by_name["vae"]["missing"] == ["likelihood", "fidelity"]
    assert by_name["gan"]["missing"] == ["fidelity"]
    assert by_name["gan"]["likelihood_words"] == "none: a gan has no likelihood"
    assert "judged by its samples alone" in " ".join(before["words"])
    measured = {name: workbench.open_run(name).evaluate(limit=50, quiet=True) for name in ("pixelcnn", "vae")}
    found = client.get("/api/compare?run=pixelcnn&run=vae").json()
    for row in found["runs"]:
        assert row["likelihood"]["n"] == 50
        assert row["likelihood"]["nats_per_image"] == measured[row["run"]]["nats_per_image"]
        assert row["missing"] == ["fidelity"]
    assert "exact" in found["runs"][0]["likelihood_words"]
    assert "Exact likelihoods stand beside lower bounds" in " ".join(found["words"])
    assert client.get("/api/runs/pixelcnn").json()["evaluations"][-1]["n"] == 50
    assert client.get("/api/compare?run=nobody").status_code == 404
    assert client.get("/api/compare?run=vae&split=secret").status_code == 400
    assert client.get("/api/compare").status_code == 400


def test_jobs_that_are_not_there(refusal):
    assert "no job" in refusal("GET", "/api/jobs/j99", 404)
    assert "no run" in refusal("POST", "/api/runs/nobody/stop", 404)
    assert "no run" in refusal("DELETE", "/api/runs/nobody", 404)
    assert "no such sheet" in refusal("GET", "/api/runs/vae/sheets/000001.png", 404)


def test_the_api_describes_itself(client):
    schema = client.get("/api/openapi.json").json()
    assert {s["path"] for s in schema["x-websockets"]} == {
        "/api/events", "/api/runs/{run}/sample", "/api/runs/{run}/walk", "/api/runs/{run}/complete",
    }  # fmt: skip
    for name, body in schema["components"]["schemas"].items():
        assert name in ("HTTPValidationError", "ValidationError") or body["description"], name
        for field, facts in body["properties"].items():
            assert "description" in facts or name in ("HTTPValidationError", "ValidationError"), (name, field)
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            assert route["summary"].endswith("."), (path, method)
            assert route["tags"], (path, method)
