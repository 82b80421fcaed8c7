"""The two hooks: what is loaded, when, and what is said of it."""

import importlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from limner import accelerate
from limner.errors import LimnerWarning

HERE = importlib.util.find_spec("numba") is not None


def run(code, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, cwd=cwd, capture_output=True, text=True, timeout=300
    )


def test_switched_off_nothing_is_loaded(monkeypatch):
    monkeypatch.setenv("LIMNER_ACCELERATE", "0")
    assert accelerate.hooks() is None


@pytest.mark.skipif(not HERE, reason="numba is not installed")
def test_a_fault_in_loading_is_said_and_numbas_absence_is_not(monkeypatch):
    def broken(name):
        raise ImportError(f"{name}: Numba needs NumPy 2.3 or less")

    with monkeypatch.context() as patch:
        patch.setattr(importlib, "import_module", broken)
        with pytest.warns(LimnerWarning, match="plain PyTorch runs") as said:
            assert accelerate._loaded.__wrapped__() is None
    assert len(said) == 1
    assert "limner.fast: Numba needs NumPy" in str(said[0].message)
    monkeypatch.setitem(sys.modules, "numba", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
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


# Where compiled code is kept


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine where numba finds no place of its own; gives the folder for temporary files."""
    caching = pytest.importorskip("numba.core.caching")
    kept = importlib.import_module("limner.fast.kept")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(kept.config, "CACHE_DIR", "")
    kept._private_folder.cache_clear()
    yield tmp_path
    kept._private_folder.cache_clear()


def place(function):
    """Where the code of a function is kept."""
    path = importlib.import_module("limner.fast.kept").njit_kept(function)._cache.cache_path
    return path and Path(path)


def double(x):
    return 2 * x


def test_without_a_place_a_private_temporary_folder_is_taken_and_said_once(nowhere):
    with pytest.warns(LimnerWarning) as said:
        places = {place(double), place(place)}
    folder = nowhere / f"limner-numba-{os.getuid()}"
    assert {p.parent for p in places} == {folder}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (message,) = {str(warning.message) for warning in said}
    assert len(said) == 1
    assert message.endswith(f"it is kept in {folder}")
    assert importlib.import_module("limner.fast.kept").config.CACHE_DIR == ""  # others keep their code where they did


@pytest.mark.parametrize("others", ["may write", "own it", "link", "file", "may replace it"])
def test_code_is_not_run_from_where_others_may_write(nowhere, monkeypatch, others):
    folder = nowhere / f"limner-numba-{os.getuid()}"
    if others in ("may write", "own it", "may replace it"):
        folder.mkdir(mode=0o700)
    if others == "may write":
        folder.chmod(0o770)
    elif others == "own it":
        user = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: user)
        folder.rename(nowhere / f"limner-numba-{user}")
    elif others == "link":
        (nowhere / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to("elsewhere")
    elif others == "file":
        folder.touch()
    else:
        nowhere.chmod(0o777)  # and not sticky
    with pytest.warns(LimnerWarning, match="compiled anew in each process"):
        assert place(double) is None
    nowhere.chmod(0o700)


def test_of_a_user_without_a_home_nothing_is_kept_in_the_current_folder(nowhere, monkeypatch):
    caching = importlib.import_module("numba.core.caching")
    monkeypatch.setenv("HOME", "~")  # what it is taken for where there is none
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(nowhere)
    places = [caching.UserProvidedCacheLocator, caching.UserWideCacheLocator]
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", places)
    with pytest.warns(LimnerWarning, match="it is kept in"):
        assert place(double).parent == nowhere / f"limner-numba-{os.getuid()}"
    assert not (nowhere / "~").exists()


@pytest.mark.skipif(not HERE or os.name == "nt", reason="numba is not installed, or Windows")
def test_where_nobody_may_write_it_is_one_line(tmp_path):
    """Installed where nobody may write, ``NUMBA_CACHE_DIR`` a file; every place is blocked for the superuser, too."""
    shutil.copytree(Path(accelerate.__file__).parent, tmp_path / "limner", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("fast", "fast/sampler"):
        (tmp_path / "limner" / folder / "__pycache__").touch()
    (tmp_path / "file").touch()
    code = (
        "from limner.cli import commands, main\nfrom limner.accelerate import hooks\n"
        "def runs() -> None:\n    print(hooks() is not None, hooks() is hooks())\n"
        "commands.COMMANDS['runs'] = runs\nmain(['runs'])"
    )
    places = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), str(tmp_path / "file"))
    done = run(code, tmp_path, **places, TMPDIR=str(tmp_path), PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr
    assert done.stderr == (
        "limner: numba finds no place of its own for compiled code (a home folder, or NUMBA_CACHE_DIR): it is kept in "
        f"{tmp_path / f'limner-numba-{os.getuid()}'}\n"
    )
    assert not (tmp_path / "~").exists()
