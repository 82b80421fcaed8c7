"""A studio of its own folder of runs, with a few trained models, asked in this process."""

import shutil

import pytest

from tests.studio.extra import MISSING

collect_ignore_glob = (
    ["test_api_*.py", "test_attacks.py", "test_serving.py"] if MISSING else []
)  # test_extra.py says so
MODELS = ("pixelcnn", "vae", "gan", "autoencoder")


@pytest.fixture(scope="session")
def studio_runs(tmp_path_factory, tiny):
    """Finished runs, an epoch of the digits each, and a conditional one. Not to be changed."""
    from limner import workbench

    folder = tmp_path_factory.mktemp("studio")
    for model in MODELS:
        workbench.train(model, "digits", name=model, runs=folder, epochs=1, settings=tiny[model])
    options = {"epochs": 1, "settings": tiny["pixelcnn"], "conditional": True}
    workbench.train("pixelcnn", "digits", name="by-class", runs=folder, **options)
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch, studio_runs):
    """A copy of them, the folder of runs."""
    folder = tmp_path / "runs"
    shutil.copytree(studio_runs, folder, ignore=shutil.ignore_patterns("tensorboard"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_RUNS", str(folder))
    return folder


@pytest.fixture
def studio():
    """The studio behind ``client``."""
    from limner.studio.studio import Studio

    return Studio()


@pytest.fixture
def client(runs, studio):
    """A client of the application, in this process."""
    from starlette.testclient import TestClient

    from limner.studio.app import make_app

    with TestClient(make_app(studio), base_url="http://127.0.0.1", raise_server_exceptions=False) as found:
        yield found


@pytest.fixture
def socket(client):
    """Open a WebSocket of the studio's."""

    def connect(path, **headers):
        return client.websocket_connect(f"ws://127.0.0.1{path}", headers=headers)

    return connect


@pytest.fixture
def refusal(client):
    """Ask for something that is refused: the status and the one line."""

    def ask(method, path, status, **more):
        answer = client.request(method, path, **more)
        assert answer.status_code == status, answer.text
        (line,) = answer.json().values()
        assert isinstance(line, str)
        assert "\n" not in line
        assert "Traceback" not in line
        return line

    return ask


@pytest.fixture
def finished(client):
    """Wait for the end of a job; gives it."""
    import time

    def wait(job, seconds=60):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = client.get(f"/api/jobs/{job['id']}").json()
            if found["state"] not in ("waiting", "running"):
                return found
            time.sleep(0.05)
        raise AssertionError(f"the job did not end: {found}")

    return wait
