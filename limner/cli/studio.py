"""`limner studio`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from limner.cli.arguments import Device, Flag, OutFile, Port, Token
from limner.devices import use_device
from limner.errors import LimnerError

__all__ = ["studio"]


def studio(
    runs: OutFile = None,
    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1",
    port: Port = 8000,
    no_browser: Flag = False,
    device: Device = "auto",
    token: Token = None,
) -> None:
    """Open limner in the browser: train and watch, sample, walk, paint, judge, learn; Ctrl-C ends it.

    Args:
        runs: Folder of runs; by default $LIMNER_RUNS or runs.
        host: Where it listens. Only this machine can reach the default; any other address demands a token, which is
            printed.
        port: Where it listens; a busy one takes the next.
        no_browser: Do not open the page, only print where it is.
        token: In place of one that is made up: 16 letters and digits at least.
    """
    try:
        from limner.studio.serving import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "limner":
            raise
        raise LimnerError(f'the studio needs {error.name}: pip install "limner[studio]"') from error

    use_device(device)
    if device != "auto":
        os.environ["LIMNER_DEVICE"] = device  # of the processes that train, too
    if runs is not None:
        if runs.exists() and not runs.is_dir():
            raise LimnerError(f"--runs {runs}: this is a file; give a folder")
        os.environ["LIMNER_RUNS"] = str(Path(runs).absolute())

    def say(address: str) -> None:
        print(address, flush=True)
        print("limner: the studio is open at this address; Ctrl-C ends it", file=sys.stderr, flush=True)

    serve(host, port, token=token, browser=not no_browser, say=say)
