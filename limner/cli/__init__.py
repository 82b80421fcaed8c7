"""The terminal's face: ``limner COMMAND``; calls the workbench only."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import io
import itertools
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import tyro

from limner.accelerate import on_compile
from limner.cli.commands import COMMANDS
from limner.errors import LimnerError, LimnerWarning, on_command_line, suggestion
from limner.version import version

__all__ = ["main"]

COMPILING = (
    "compiling once: some seconds the first time on this machine, kept on disk (LIMNER_ACCELERATE=0 does without)"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``limner``: bad use and bad input end with one line on stderr and exit code 2."""
    _open_streams()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it finds a place for its cache, and need not say which
    # Two programs on the same cores: a waiting thread that spins long keeps the other from its work (a tenth of the
    # speed, docs/notes/training.md). It must be said before torch is loaded, which no command has done yet.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        try:
            words = list(sys.argv[1:] if argv is None else argv)
            if words == ["--version"]:
                print(f"limner {version()}")
                return
            if "--quiet" not in words:
                on_compile(lambda: print(COMPILING, file=sys.stderr, flush=True))
            with on_command_line(), _warnings_in_one_line():
                _run(_parse(_gather_settings(words)), words)
        finally:
            on_compile(None)
            sys.stdout.flush()  # also of --help, which ends in a SystemExit: nobody may be reading
    except LimnerError as error:
        _refuse(str(error), error.exit_code)
    except KeyboardInterrupt:
        print("limner: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        _close_stdout()
        sys.exit(141)
    except OSError as error:  # a full disk, a folder without permission
        _close_stdout()
        _refuse(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or re.search("allocate memory|out of memory", str(error))):
            raise
        _refuse("there is not enough memory for this: try a smaller batch_size, fewer features or smaller images")


def _run(command: Any, words: Sequence[str]) -> None:
    """Run the parsed command, in several processes where it asks for them and is none of several yet."""
    processes = getattr(command, "keywords", {}).get("processes") or 1
    if processes > 1 and "WORLD_SIZE" not in os.environ:
        from limner.cli.launching import launch

        sys.exit(launch(words, processes))
    command()


def _open_streams() -> None:
    """Replace what cannot be shown, and what was closed before limner began (``limner runs >&-``) by nothing."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # each takes the number that is free
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _close_stdout() -> None:
    """Let the last flush, at the end of the process, not fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print limner's own warnings as the errors are printed; once each."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", LimnerWarning)
        others = warnings.showwarning

        def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
            if issubclass(category, LimnerWarning):
                print(f"limner: {' '.join(str(message).split())}", file=sys.stderr, flush=True)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _refuse(message: str, code: int = 2) -> NoReturn:
    """One line, whatever is in the message, and an exit code; of the processes of a machine the first says it."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"limner: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _deferred(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The command with its arguments bound instead of called: parsing is one thing, running another."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def _parse(arguments: list[str]) -> Callable[[], None]:
    """The command that ``arguments`` name.

    Raises:
        LimnerError: They cannot be parsed; tyro's box of text is folded into one line.
    """
    first = arguments[0] if arguments else "--help"
    if first not in COMMANDS and not first.startswith("-"):
        raise LimnerError(f"unknown command {first!r}: {suggestion(first, COMMANDS)}")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _unfolded(wanted={"-h", "--help"}.isdisjoint(arguments or ["-h"])):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in COMMANDS.items()},
                prog="limner",
                description="The classic deep generative models of images, measured by the same yardstick.",
                args=arguments or ["--help"],
            )
    except SystemExit as error:
        if not error.code:
            raise
        raise LimnerError(
            f"{_in_one_line(said.getvalue(), first)}; see limner {first if first in COMMANDS else ''} --help"
        ) from error


@contextlib.contextmanager
def _unfolded(wanted: bool) -> Iterator[None]:
    """Let no text be folded to the width of the terminal, where ``wanted``."""
    before = os.environ.get("COLUMNS")
    if wanted:
        os.environ["COLUMNS"] = "10000"
    try:
        yield
    finally:
        if wanted:
            os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before


def _in_one_line(box: str, command: str) -> str:
    """What tyro wrote into its box, shorter."""
    lines = [line.strip("│╭╰╮╯─ \n") for line in box.splitlines()[1:]]
    message = " ".join(itertools.takewhile(bool, itertools.dropwhile(lambda line: not line, lines))).rstrip(".:")
    if found := re.match(r"Missing from [^:]*: (\S+)", message):
        return f"{command} needs {found[1]}"
    if found := re.match(r"Missing value for argument '(.*)'", message):
        return f"{found[1]} needs a value" if found[1].startswith("-") else f"{command} needs {found[1].upper()}"
    if found := re.match(r"invalid choice '(.*)' for argument '(.*)'. Expected one of \((.*)\)", message):
        return f"{found[2]} {found[1]}: choose one of {found[3].replace(chr(39), '')}"
    if found := re.match("Unrecognized .*?options: (.*)", message):
        words = re.split("[, ]+", found[1])
        word = next((w for w in words if w.startswith("-")), words[0])
        known = inspect.signature(COMMANDS[command]).parameters if command in COMMANDS else {"help": None}
        options = [f"--{name.replace('settings', 'set').replace('start_', '').replace('_', '-')}" for name in known]
        near = difflib.get_close_matches(word, options, 1)
        kind = "option" if word.startswith("-") else "argument"
        return f"unknown {kind} {word}" + (f" (did you mean {near[0]}?)" if near else "")
    return message.removeprefix("Error parsing ")


def _gather_settings(arguments: list[str]) -> list[str]:
    """``--set a=1 --set b=2`` as ``--set a=1 b=2`` at the end: both spellings may be used, and mixed."""
    rest: list[str] = []
    settings: list[str] = []
    taking = False  # the words before were --set and its values
    for word in arguments:
        if word == "--set":
            taking = True
        elif word.startswith("--set="):
            settings.append(word.removeprefix("--set="))
        elif taking and not word.startswith("-") and ("=" in word or not settings):
            settings.append(word)
        else:
            taking = False
            rest.append(word)
    if "--set" in arguments and not settings:
        raise LimnerError("--set needs KEY=VALUE, as in --set learning_rate=0.001")
    return [*rest, "--set", *settings] if settings else rest
