"""Tiny runs that the tests share, and the command line called in this process."""

import json
import os
import shutil
import sys
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: xdist brings the parallelism
if os.environ.get("LIMNER_HIDE_NUMBA"):  # the second part of `make tests`: limner as it is where numba is not installed
    sys.modules["numba"] = None

import pytest

COMMON = ("sample_images=4", "validation_images=100", "precision=float32", "batch_size=64", "evaluations=4")


@dataclass(frozen=True)
class Said:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def record(self):
        """All of stdout as one JSON value."""
        return json.loads(self.out)


def pytest_collection_modifyitems(items):
    """The visit in a browser first, which waits more than it computes: another worker goes on meanwhile."""
    items.sort(key=lambda item: "test_page.py" not in item.nodeid)


@pytest.fixture(scope="session")
def tiny():
    """``--set`` values of a network that trains an epoch of the digits in a blink, by model."""
    from limner.models import families

    return {name: (*family.tiny, *COMMON) for name, family in families().items()}


@pytest.fixture
def limner(capfd):
    """Call the command line in this process."""
    from limner.cli import main

    def call(*words) -> Said:
        capfd.readouterr()
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code or 0
        return Said(code, *capfd.readouterr())

    return call


@pytest.fixture
def refused(limner):
    """Call the command line with something bad: one line, exit code 2, nothing on stdout. Gives the line."""

    def call(*words) -> str:
        said = limner(*words)
        assert said.err.count("\n") == 1, said.err
        assert said.err.startswith("limner: ")
        assert said.out == ""
        assert said.code == 2
        return said.err

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny):
    """A folder with a finished run of each model, named after it: one epoch of the digits each. Not to be changed."""
    from limner import workbench

    folder = tmp_path_factory.mktemp("trained")
    for model, settings in tiny.items():
        workbench.train(model, "digits", name=model, runs=folder, epochs=1, settings=settings)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch, trained):
    """An empty working folder but for ``runs/`` with copies of the trained runs."""
    shutil.copytree(trained, tmp_path / "runs", ignore=shutil.ignore_patterns("tensorboard"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_RUNS", raising=False)
    return tmp_path


@pytest.fixture
def snapshot():
    """The bytes of every file below a folder, by name."""

    def take(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return take


@pytest.fixture(params=[1, 2])
def threads(request):
    """Torch's threads: compiled loops alone and in a team."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
