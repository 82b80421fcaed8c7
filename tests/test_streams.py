"""What the command line leaves where its streams are closed, full, or cannot show a character; and how it ends."""

import io
import json
import os
import subprocess
import sys
import warnings

import pytest

from limner.cli import commands
from limner.cli.printing import answer
from limner.errors import LimnerError, LimnerWarning


@pytest.fixture
def one_run(tmp_path, monkeypatch):
    """A folder with a run called ü, that ``limner runs`` lists."""
    folder = tmp_path / "runs" / "ü"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('model = "vae"\n[data]\nsource = "digits"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_RUNS", "runs")


def shell(line, **environment):
    """A shell's line, in which ``limner`` is this one."""
    script = f'limner() {{ "{sys.executable}" -m limner "$@"; }}; {line}'
    found = os.environ | environment
    return subprocess.run(["sh", "-c", script], env=found, capture_output=True, timeout=60, check=False)


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("limner runs >&-", 0, b""),
        ("limner trian >&- 2>&- <&-", 2, b""),
        ("limner runs >/dev/full", 2, b"limner: No space left on device\n"),
    ],
)
def test_streams_that_are_closed_or_full(one_run, line, code, said):
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = shell(line)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", said)


def test_characters_that_cannot_be_shown_are_replaced(one_run):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = shell("limner runs; limner ü", **environment)
    assert done.stdout.isascii()
    assert b"| ?? " in done.stdout  # its name is two bytes
    assert b"Fr?chet ratio" in done.stdout
    assert done.returncode == 2
    assert done.stderr.startswith(b"limner: unknown command '")
    assert done.stderr.count(b"\n") == 1


def test_json_is_whole_where_stdout_is_ascii(monkeypatch):
    for encoding in ("ascii", "utf-8"):
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
        answer(True, {"run": "ü"})
        sys.stdout.flush()
        assert json.loads(out.getvalue().decode(encoding)) == {"run": "ü"}
        assert out.getvalue().isascii() == (encoding == "ascii")


@pytest.fixture
def failing(monkeypatch, limner):
    """Call a command that does what is given."""

    def call(error):
        def command() -> None:
            raise error

        monkeypatch.setitem(commands.COMMANDS, "runs", command)
        return limner("runs")

    return call


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "there is not enough memory for this: try a smaller batch_size, fewer features or smaller"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "there is not enough memory for this"),
        (PermissionError(13, "Permission denied", "runs/a"), 2, "runs/a: Permission denied"),
        (LimnerError("two\nlines"), 2, "two lines"),
    ],
)
def test_how_a_command_ends(failing, error, code, line):
    said = failing(error)
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(f"limner: {line}")
    assert said.err.count("\n") == 1


def test_a_reader_that_left_ends_it_without_a_word(one_run):
    """Long before it is done: ``yes`` of a command. Its exit code is that of SIGPIPE in a shell."""
    code = (
        "from limner.cli import commands, main\n"
        "def runs() -> None:\n    while True: print('run')\n"
        "commands.COMMANDS['runs'] = runs\nmain(['runs'])"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"run" + os.linesep.encode()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_limners_warnings_are_one_line_and_others_stay(monkeypatch, limner):
    def command() -> None:
        for _ in range(2):
            warnings.warn("no place\nfor it", LimnerWarning, stacklevel=1)

    monkeypatch.setitem(commands.COMMANDS, "runs", command)
    before = warnings.showwarning
    assert limner("runs").err == "limner: no place for it\n"
    assert warnings.showwarning is before


def test_a_name_of_300_characters(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    name = "a" * 300
    assert "has 300 characters: --name takes 200 at most" in refused("train", "vae", "--name", name)
    assert "no run 'aaa" in refused("resume", name)
    assert "aaa" in refused("data", name)
    assert list(tmp_path.iterdir()) == []
