"""Work that takes long: trainings, evaluations, looks at uploads; each in a process of its own, in a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from limner.runs import CONFIG, runs_folder
from limner.studio.events import Hub
from limner.studio.limits import Limits, Refused

__all__ = ["Job", "Jobs"]

KEPT = 50  # jobs that are remembered
LANES = {"train": "training", "resume": "training", "evaluate": "evaluation", "look": "look"}  # one of each at a time
LONGEST_LINE = 1 << 22  # bytes that a worker says at once
TO_STOP = 60  # seconds that a training has to save itself when the studio ends
OVER = ("done", "stopped", "failed", "cancelled")
WORKER = (sys.executable, "-m", "limner.studio.worker")
CRASH = ("Traceback (most recent call last)", "Fatal Python error")
PROGRESS = re.compile(r"\s+(step [\d,]+|samples:) ")  # of a training, which is told in another way

log = logging.getLogger("uvicorn.error")


@dataclass
class Job:
    """One of them; ``described`` says what the page is told."""

    id: str
    kind: str
    run: str
    work: Mapping[str, Any]
    state: str = "waiting"
    when: float = field(default_factory=time.time)
    progress: dict[str, Any] = field(default_factory=dict)
    notes: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    error: str = ""
    result: Any = None
    process: Process | None = None
    asked_to_stop: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def described(self, place: int | None = None) -> dict[str, Any]:
        """For JSON; ``place`` is that in the queue, from 1."""
        facts: dict[str, Any] = {"id": self.id, "kind": self.kind, "run": self.run, "state": self.state}
        facts |= {"when": self.when, "notes": list(self.notes)}
        more = {"place": place, "progress": self.progress, "error": self.error, "result": self.result}
        return facts | {name: value for name, value in more.items() if value not in (None, {}, "")}


class Jobs:
    """All of a studio's; used in the event loop's thread only."""

    def __init__(self, hub: Hub, limits: Limits) -> None:
        self.hub, self.limits = hub, limits
        self._jobs: dict[str, Job] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self._spare: Process | None = None

    async def warm(self) -> None:
        """Start a worker that waits for the next job, so that this begins at once: to import torch takes seconds."""
        self._spare = await _started()

    def all(self) -> list[dict[str, Any]]:
        """Newest first."""
        return [self.described(job) for job in reversed(self._jobs.values()) if job.kind != "look"]

    def get(self, name: str) -> Job:
        """The job of that id.

        Raises:
            Refused: There is none.
        """
        if name not in self._jobs:
            raise Refused(404, f"there is no job {name[:20]!r}: the studio remembers the last {KEPT}")
        return self._jobs[name]

    def described(self, job: Job) -> dict[str, Any]:
        """A job for JSON, with its place where it waits."""
        place = None
        if job.state == "waiting":
            place = [j.id for j in self._waiting(LANES[job.kind])].index(job.id) + 1
        return job.described(place)

    def of_run(self, run: str) -> Job | None:
        """The job that works on a run now, or will."""
        return next((j for j in self._jobs.values() if j.run == run and j.state in ("waiting", "running")), None)

    def trains(self, run: str) -> Job | None:
        """The training of a run that goes on or waits."""
        own = (j for j in self._jobs.values() if j.run == run and LANES[j.kind] == "training")
        return next((j for j in own if j.state in ("waiting", "running")), None)

    def submit(self, kind: str, run: str, work: Mapping[str, Any]) -> Job:
        """Put a job into the queue.

        Raises:
            Refused: The queue is full.
        """
        waiting = sum(1 for _ in self._waiting(LANES[kind]))
        if self._ending or waiting >= self.limits.jobs_waiting:
            raise Refused(429, f"{waiting} jobs wait already: let one end, or cancel one", 30)
        self._number += 1
        job = Job(f"j{self._number}", kind, run, {"kind": kind, "run": run, **work})
        self._jobs[job.id] = job
        for old in [j.id for j in self._jobs.values() if j.state in OVER][: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[old]
        self._tell(job)
        self._start_next(LANES[kind])
        return job

    def new_name(self, model: str, data: str) -> str:
        """A name for a run, as ``limner train`` would give it, that no job has taken."""
        taken, number = {j.run for j in self._jobs.values() if j.state not in OVER}, 0
        while True:
            number += 1
            name = f"{model}-{data}-{number}"
            if name not in taken and not (runs_folder() / name).exists():
                return name

    def check_name(self, name: str) -> None:
        """Refuse a name that another job has taken."""
        if self.trains(name) is not None:
            raise Refused(409, f"a run {name!r} is about to be trained: choose another name")

    def stop(self, job: Job) -> None:
        """End a job: one that waits at once; a training saves itself first."""
        if job.state == "waiting":
            self._over(job, "cancelled")
        elif job.state == "running":
            job.asked_to_stop = True
            _signal(job)

    async def end(self) -> None:
        """Stop all, and wait until they have saved themselves."""
        self._ending = True
        for job in list(self._jobs.values()):
            self.stop(job)
        running = [job for job in self._jobs.values() if job.state == "running"]
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_all_over(running), TO_STOP)
        for job in running:
            if job.process is not None and job.process.returncode is None:
                job.process.kill()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        if self._spare is not None and self._spare.returncode is None:
            self._spare.kill()
            await self._spare.wait()

    def _waiting(self, lane: str) -> Iterable[Job]:
        return (j for j in self._jobs.values() if j.state == "waiting" and LANES[j.kind] == lane)

    def _start_next(self, lane: str) -> None:
        if any(j.state == "running" and LANES[j.kind] == lane for j in self._jobs.values()):
            return
        job = next(iter(self._waiting(lane)), None)
        if job is None or self._ending:
            return
        job.state = "running"
        task = asyncio.get_running_loop().create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        for other in self._waiting(lane):
            self._tell(other)  # its place is another

    async def _run(self, job: Job) -> None:
        self._tell(job)
        state, error, warm = "failed", "", self._spare is not None
        try:
            state, error = await self._worked(job)
            if warm and not self._ending:
                with contextlib.suppress(OSError):
                    await self.warm()
        except OSError as problem:
            error = f"the process could not be started: {problem.strerror or problem}"
        job.error = error
        kept = LANES[job.kind] == "training" and (runs_folder() / job.run / CONFIG).is_file()
        self._over(job, "cancelled" if state == "stopped" and not kept else state)  # there is nothing to go on with

    async def _worked(self, job: Job) -> tuple[str, str]:
        """The state and the error of a job that has come to its end."""
        spare, self._spare = self._spare, None
        job.process = process = spare if spare is not None and spare.returncode is None else await _started()
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if job.asked_to_stop:  # before there was a process
            _signal(job)
        said: deque[str] = deque(maxlen=30)
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(job.work).encode() + b"\n")
            await process.stdin.drain()
        notes = asyncio.get_running_loop().create_task(self._note(job, process.stderr, said))
        state, error = "", ""
        async for line in process.stdout:
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                error, state, job.result = told.get("error", error), told.get("state", state), told.get("result")
                if "progress" in told:
                    job.progress = told["progress"]
                    self._tell(job)
        await process.wait()
        process.stdin.close()
        await notes
        if error:
            return "failed", error
        if not state and job.asked_to_stop:
            return "stopped", ""
        if not state:
            log.error("a job of the studio ended with code %s:\n%s", process.returncode, "\n".join(said))
            return "failed", f"the process ended without a result (code {process.returncode}); the terminal says more"
        return state, ""

    async def _note(self, job: Job, stream: asyncio.StreamReader, said: deque[str]) -> None:
        crashed = False  # what follows is for the terminal only
        async for line in stream:
            text = line.decode(errors="replace").rstrip()
            said.append(text)
            crashed = crashed or text.startswith(CRASH)
            if text and not crashed and not text.startswith(" ") and not PROGRESS.search(text):
                job.notes.append(text[:500])

    def _over(self, job: Job, state: str) -> None:
        job.state = state
        job.process = None
        job.over.set()
        self._tell(job)
        self._start_next(LANES[job.kind])

    def _tell(self, job: Job) -> None:
        if job.kind != "look":
            self.hub.tell({"type": "job", "job": self.described(job)})


async def _started() -> Process:
    return await asyncio.create_subprocess_exec(
        *WORKER, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LONGEST_LINE, start_new_session=True
    )


async def _all_over(jobs: Iterable[Job]) -> None:
    for job in jobs:
        await job.over.wait()


def _signal(job: Job) -> None:
    if job.process is not None and job.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            job.process.send_signal(signal.SIGTERM)
