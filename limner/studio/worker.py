"""``python -m limner.studio.worker``: one job of the studio in a process of its own.

The job comes as a line of JSON on stdin, which stays open: when it closes, the studio is gone, and a training is
stopped and saved as by Ctrl-C. Progress and the result go to stdout, a line of JSON each; notes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from limner.errors import LimnerError

__all__ = ["Teller", "do", "main"]

NICE = 5  # below the studio, whose page answers while a model trains


class Teller:
    """Tells the studio how far the work is, four times a second at most."""

    def __init__(self, out: IO[str]) -> None:
        self.out, self.last, self.stage = out, 0.0, ""

    def say(self, **what: Any) -> None:
        """One line; that nobody listens any more is no reason to end."""
        with contextlib.suppress(OSError, ValueError):
            self.out.write(json.dumps(what) + "\n")
            self.out.flush()

    def hear(self, name: str, fraction: float, progress: Any = None) -> None:
        """What ``limner.display`` shows."""
        now, stage = time.monotonic(), "training" if progress is not None else name
        if stage == self.stage and now - self.last < 0.25 and fraction < 1:
            return
        self.last, self.stage = now, stage
        told: dict[str, Any] = {"stage": stage, "fraction": round(min(1.0, fraction), 4)}
        if progress is not None:
            told |= {"step": progress.step, "steps": progress.steps, "seconds_left": round(progress.seconds_left, 1)}
            told |= {"images_per_second": round(progress.images_per_second, 1)}
        self.say(progress={key: value for key, value in told.items() if value is not None})


def main() -> None:
    """Do the job on stdin."""
    with contextlib.suppress(OSError, AttributeError):  # Windows has none
        os.nice(NICE)
    teller = Teller(os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    from limner import workbench  # noqa: F401 - some seconds, which a worker that waits for its job has spent before

    if not (line := sys.stdin.readline()):  # the studio ended without one
        return
    job = json.loads(line)
    threading.Thread(target=_follow_studio, daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # before and after training, whose loop has its own
    try:
        teller.say(**do(job, teller))
    except LimnerError as error:
        teller.say(error=" ".join(str(error).split()))
    except MemoryError:
        teller.say(error="there is not enough memory for this: try a smaller batch_size or smaller images")
    except KeyboardInterrupt:
        teller.say(state="stopped")


def _follow_studio() -> None:
    """End with the studio, however that ended."""
    while os.read(sys.stdin.fileno(), 1 << 16):  # past sys.stdin, whose lock would be held when this process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def do(job: Mapping[str, Any], teller: Teller) -> dict[str, Any]:
    """The state and the result of a job that is done.

    Raises:
        LimnerError: As of what it calls.
    """
    from limner import display

    with display.told(teller.hear):
        return {"train": _train, "resume": _resume, "evaluate": _evaluate, "look": _look}[job["kind"]](job)


def _train(job: Mapping[str, Any]) -> dict[str, Any]:
    from limner import workbench
    from limner.models import family

    options = dict(job["options"])
    if "size" in options:
        options["size"] = tuple(options["size"])
    if options.get("recipe") == "demo":  # made for the images' shape
        size, fit, levels = options.pop("size", None), options.pop("fit", "crop"), options.pop("levels", None)
        options["data"] = workbench.load_data(options["data"], size=size, fit=fit, levels=levels, quiet=False)
        options |= {"fit": fit, "recipe": family(options["model"]).demo(options["data"].shape)}
    return _ended(workbench.train(options.pop("model"), options.pop("data"), quiet=False, **options))


def _resume(job: Mapping[str, Any]) -> dict[str, Any]:
    from limner import workbench

    return _ended(workbench.resume(job["run"], quiet=False, **job["options"]))


def _ended(run: Any) -> dict[str, Any]:
    return {"state": "stopped" if run.outcome is None or run.outcome.interrupted else "done"}


def _evaluate(job: Mapping[str, Any]) -> dict[str, Any]:
    from limner import workbench

    return {"state": "done", "result": workbench.open_run(job["run"]).evaluate(quiet=False, **job["options"])}


def _look(job: Mapping[str, Any]) -> dict[str, Any]:
    """What a source is, and a contact sheet of it."""
    from limner import workbench
    from limner.reports import draw

    images = workbench.load_data(job["source"], quiet=False)
    train = images.split("train")
    shown = train.spread(400 if images.label_names else 60)
    labels = None if train.labels is None else train.labels[shown]
    draw.save_png(draw.contact_sheet(train.take(shown), labels, images.label_names), Path(job["sheet"]))
    c, h, w = images.shape
    facts = {
        "images": sum(len(split) for split in images.splits.values()),
        "size": [w, h],
        "channels": c,
        "levels": images.levels,
        "labels": list(images.label_names),
        "broken": len(images.broken),
        "notes": [*images.notes, *[f"skipped {b.path}: {b.reason}" for b in images.broken[:10]]],
    }
    return {"state": "done", "result": facts}


if __name__ == "__main__":
    main()
