"""The two hooks: what is loaded, when, and what is said of it."""

import importlib
import os
import subprocess
import sys

import pytest

from limner import accelerate

HERE = importlib.util.find_spec("numba") is not None


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=300
    )


def test_switched_off_nothing_is_loaded(monkeypatch):
    monkeypatch.setenv("LIMNER_ACCELERATE", "0")
    assert accelerate.hooks() is None


@pytest.mark.skipif(not HERE, reason="numba is not installed")
def test_only_numbas_absence_is_silent(monkeypatch):
    def broken(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(ImportError, match=r"limner\.fast"):
        accelerate._loaded.__wrapped__()
    monkeypatch.setitem(sys.modules, "numba", None)
    assert accelerate._loaded.__wrapped__() is None


@pytest.mark.skipif(not HERE, reason="numba is not installed")
def test_compiling_is_said_once_and_not_again(tmp_path):
    code = (
        "import torch\nfrom limner import accelerate\n"
        "accelerate.on_compile(lambda: print('compiling'))\n"
        "from limner.nn.recurrent import row_lstm\n"
        "row_lstm(torch.zeros(2, 3, 1, 8), torch.zeros(8, 2))\n"
        "row_lstm(torch.zeros(2, 3, 1, 8).double(), torch.zeros(8, 2).double())\n"
        "print('done')"
    )
    first, second = (run(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stdout.split() == ["compiling", "done"], first.stderr
    assert second.stdout.split() == ["done"], second.stderr
