"""The command: where it listens, what it says, how it ends."""

import socket
import subprocess
import sys
import time

import pytest

from limner.errors import LimnerError
from limner.runs import runs_folder
from limner.studio import jobs, serving
from limner.studio.guard import is_loopback

TRAINING = {"model": "vae", "source": "digits", "epochs": 1}


@pytest.fixture
def served(monkeypatch):
    """What `limner studio` would serve: the addresses that it said, the applications, the port."""
    found = {"apps": [], "opened": []}

    def run(self, sockets):
        found["apps"].append(self.config.app)
        found["ports"] = [s.getsockname()[1] for s in sockets]

    monkeypatch.setattr(serving.uvicorn.Server, "run", run)
    monkeypatch.setattr(serving, "_open", lambda address, place: found["opened"].append(address))
    return found


def test_the_command_says_where_it_is(limner, served, tmp_path, monkeypatch):
    monkeypatch.setenv("LIMNER_RUNS", "elsewhere")
    said = limner("studio", "--runs", tmp_path, "--port", "0", "--no-browser")
    assert said.code == 0
    (port,) = served["ports"]
    assert said.out == f"http://127.0.0.1:{port}/\n"
    assert "Ctrl-C ends it" in said.err
    assert served["opened"] == []
    assert served["apps"][0].token is None
    assert runs_folder() == tmp_path
    assert limner("studio", "--port", "0").out.strip() in served["opened"]


def test_another_address_demands_a_token(limner, served):
    said = limner("studio", "--host", "0.0.0.0", "--port", "0", "--no-browser")
    token = served["apps"][0].token
    assert len(token) == 48
    assert said.out.endswith(f"/?token={token}\n")
    limner("studio", "--host", "0.0.0.0", "--port", "0", "--no-browser", "--token", "abcdefgh12345678")
    assert served["apps"][1].token == "abcdefgh12345678"
    assert [is_loopback(h) for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1")] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_busy_port_takes_the_next(served):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with serving.bound("127.0.0.1", port) as found:
            assert port < found.getsockname()[1] < port + serving.PORTS


def test_bad_use_of_the_command(refused, tmp_path, served, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    assert "this is a file" in refused("studio", "--runs", file)
    assert "--port" in refused("studio", "--port", "70000")
    assert "--token" in refused("studio", "--token", "short")
    assert "--host no.such.host.invalid" in refused("studio", "--host", "no.such.host.invalid")
    assert "--host 192.0.2.1" in refused("studio", "--host", "192.0.2.1", "--port", "8000")
    monkeypatch.setattr(serving, "PORTS", 1)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        with pytest.raises(LimnerError, match="all in use"):
            serving.bound("127.0.0.1", busy.getsockname()[1])


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_one_line_says_what_to_install(refused, monkeypatch, missing):
    for name in [n for n in sys.modules if n.startswith("limner.studio")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert refused("studio") == f'limner: the studio needs {missing}: pip install "limner[studio]"\n'


def test_the_end_of_the_studio_lets_trainings_save_themselves(runs, studio, monkeypatch, tmp_path):
    from starlette.testclient import TestClient

    from limner.studio.app import make_app

    code = f"""
import signal, sys, time, os
def save(*_):
    time.sleep(0.3)
    open({str(tmp_path / "saved")!r}, "w").close()
    os._exit(0)
signal.signal(signal.SIGTERM, save)
print('{{"progress": {{"step": 1}}}}', flush=True)
time.sleep(60)
"""
    monkeypatch.setattr(jobs, "WORKER", (sys.executable, "-c", code))
    with TestClient(make_app(studio), base_url="http://127.0.0.1") as client:
        job = client.post("/api/runs/vae/resume", json={"epochs": 9}).json()
        waiting = client.post("/api/runs", json=TRAINING).json()
        while "progress" not in client.get(f"/api/jobs/{job['id']}").json():
            time.sleep(0.02)
    assert (tmp_path / "saved").exists()
    assert studio.jobs.get(job["id"]).state == "stopped"
    assert studio.jobs.get(waiting["id"]).state == "cancelled"


def test_a_worker_waits_for_the_next_job(runs, monkeypatch):
    from starlette.testclient import TestClient

    from limner.studio.app import make_app
    from limner.studio.studio import Studio

    code = """
import sys, os, json
if sys.stdin.readline():
    print(json.dumps({"state": "done", "result": os.getpid()}))
"""
    monkeypatch.setattr(jobs, "WORKER", (sys.executable, "-c", code))
    studio = Studio(warm=True)
    with TestClient(make_app(studio), base_url="http://127.0.0.1") as client:
        waiting = []
        for _ in range(2):
            waiting.append(studio.jobs._spare)
            job = client.post("/api/runs", json=TRAINING).json()
            while (job := client.get(f"/api/jobs/{job['id']}").json())["state"] == "running":
                time.sleep(0.02)
            assert job["result"] == waiting[-1].pid
        waiting.append(studio.jobs._spare)
    assert len({process.pid for process in waiting}) == 3
    assert all(process.returncode is not None for process in waiting)


def test_a_worker_ends_when_the_studio_is_gone():
    code = """
import signal, threading, time, os
from limner.studio import worker
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"saved"), os._exit(0)))
threading.Thread(target=worker._follow_studio, daemon=True).start()
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(0.2)
        assert process.poll() is None
        process.stdin.close()
        assert process.stdout.read() == b"saved"
