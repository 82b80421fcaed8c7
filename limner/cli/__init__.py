"""The terminal's face: ``limner COMMAND``; calls the workbench only."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from limner.cli.commands import COMMANDS
from limner.errors import LimnerError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``limner``: bad use and bad input end with one line on stderr and exit code 2."""
    try:
        _parse(_gather_settings(list(sys.argv[1:] if argv is None else argv)))()
    except LimnerError as error:
        print(f"limner: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("limner: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


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
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in COMMANDS.items()},
                prog="limner",
                description="The classic deep generative models of images, measured by the same yardstick.",
                args=arguments or ["--help"],
            )
    except SystemExit as error:
        if not error.code:
            raise
        lines = [line.strip("│╭╰╮╯─ \n") for line in said.getvalue().splitlines()[1:]]
        message = " ".join(itertools.takewhile(bool, itertools.dropwhile(lambda line: not line, lines)))
        command = f"{arguments[0]} " if arguments and arguments[0] in COMMANDS else ""
        raise LimnerError(f"{message.rstrip('.:')}; see limner {command}--help") from error


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
    return [*rest, "--set", *settings] if settings else rest
