"""Routes: families, runs, jobs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import Field

from limner.config.settings import with_settings
from limner.errors import LimnerError, option
from limner.models import family
from limner.reports import draw
from limner.reports.grids import png_bytes
from limner.reports.pages import REPORT
from limner.runs import check_name, is_run, locked_run, remove_run, runs_folder
from limner.studio.body import Body
from limner.studio.describing import all_families, clean, describe, row
from limner.studio.limits import Refused
from limner.studio.opened import run_folder
from limner.studio.sources_api import source_path
from limner.studio.studio import Studio
from limner.workbench import open_run

__all__ = ["routes"]

# The report is limner's own page with its style inside; nothing in it runs.
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
LONGEST = 10_000  # minutes, epochs


class Training(Body):
    """A training, as of ``limner train``."""

    model: str = Field(max_length=100)
    """A family, as in GET /api/families."""
    source: str = Field("digits", max_length=200)
    """What it learns from, as in GET /api/sources."""
    name: str | None = Field(None, max_length=200)
    """Of the run; by default MODEL-SOURCE-N."""
    minutes: float | None = Field(None, gt=0, le=LONGEST)
    """Time budget."""
    epochs: float | None = Field(None, gt=0, le=LONGEST)
    """Passes over the training images, in place of a budget."""
    recipe: str = Field("default", max_length=100)
    """One of the family's recipes, or `demo`, the small network of `limner demo`."""
    conditional: bool = False
    """Learn p(x|y) with the source's labels y."""
    size: tuple[int, int] | None = None
    """Height and width that every image is brought to."""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """How images get that size."""
    levels: int | None = Field(None, ge=2, le=256)
    """Values of a pixel; by default as found."""
    augment: str | None = Field(None, max_length=200)
    """How training images are changed, as in `flip,shift`."""
    settings: dict[str, Any] = Field(default_factory=dict, max_length=100)
    """Changes to the recipe, by key, as in GET /api/families."""
    start_from: str | None = Field(None, max_length=200)
    """A run of the same family whose weights are taken over."""


class Longer(Body):
    """How long a run shall have trained in all."""

    minutes: float | None = Field(None, gt=0, le=LONGEST)
    """A new total budget."""
    epochs: float | None = Field(None, gt=0, le=LONGEST)
    """A new total of passes."""


class Evaluation(Body):
    """What is measured, as of ``limner evaluate``."""

    split: Literal["train", "validation", "test"] = "test"
    """Which images are scored."""
    fidelity: bool = False
    """Compare samples with the images, too."""
    limit: int | None = Field(None, ge=1)
    """Only the first so many images, and as many samples."""
    importance_samples: int | None = Field(None, ge=1, le=100_000)
    """K of a VAE's bound."""


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api, jobs = APIRouter(prefix="/api"), studio.jobs
    sheets: dict[str, list[dict[str, Any]]] = {}

    @api.get("/families", tags=["runs"], summary="All families of models, what they can do and can be told.")
    def get_families() -> list[dict[str, Any]]:
        if not sheets:
            sheets["families"] = all_families()
        return sheets["families"]

    @api.get("/runs", tags=["runs"], summary="All runs, newest first.")
    async def get_runs() -> list[dict[str, Any]]:
        working = {job.run: job for job in reversed([jobs.get(j["id"]) for j in jobs.all()]) if not job.over.is_set()}

        def rows() -> list[dict[str, Any]]:
            parent = runs_folder()
            found = parent.iterdir() if parent.is_dir() else ()
            folders = [f for f in found if not f.name.startswith(".") and (f / "config.toml").is_file()]
            return sorted((row(f, working.get(f.name)) for f in folders), key=lambda r: r["when"], reverse=True)

        return await run_in_threadpool(rows)

    @api.get("/runs/{run}", tags=["runs"], summary="All about one run.")
    async def get_run(run: str, points: int = Query(400, ge=2, le=5000)) -> dict[str, Any]:
        return await run_in_threadpool(describe, run, jobs.trains(run), jobs.of_run(run), points)

    @api.get("/runs/{run}/sheets/{sheet}", tags=["runs"], summary="A sheet of samples, as training drew it.")
    def get_sheet(run: str, sheet: str) -> Response:
        number, _, suffix = sheet.partition(".")
        path = run_folder(run) / "samples" / f"{number}.png"
        if suffix != "png" or not number.isascii() or not number.isdecimal() or not path.is_file():
            raise Refused(404, "there is no such sheet")
        return FileResponse(path, media_type="image/png", headers={"cache-control": "private, max-age=86400"})

    @api.get("/runs/{run}/report", tags=["runs"], summary="The report, a page of its own.")
    def get_report(run: str) -> Response:
        path = run_folder(run) / REPORT
        if not path.is_file():
            raise Refused(404, "this run has no report yet: it is written at the end of training")
        return FileResponse(path, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    @api.get("/runs/{run}/images/{split}/{number}.png", tags=["runs"], summary="An image of the run's own data.")
    async def get_image(run: str, split: str, number: int) -> Response:
        def picked() -> bytes:
            opened = studio.models.get(run)
            with opened.lock:
                images = opened.run.data(quiet=True).split(split)
            if not 0 <= number < len(images):
                raise Refused(404, f"{split} has {len(images):,} images, 0 to {len(images) - 1}")
            return png_bytes(draw.grid(images.take(_index(number)), gap=0, scale=1))

        return Response(await studio.slow.run(picked), media_type="image/png")

    @api.delete("/runs/{run}", tags=["runs"], status_code=204, summary="Delete a run, as `limner delete` does.")
    async def delete_run(run: str) -> None:
        folder = run_folder(run)
        if (job := jobs.trains(run)) is not None:
            if job.state == "running":
                raise Refused(409, f"run {run!r} is being trained: stop it first")
            jobs.stop(job)
        await run_in_threadpool(_delete, folder)
        studio.models.forget(run)
        studio.hub.tell({"type": "run", "run": run, "what": "deleted"})

    @api.post("/runs", tags=["runs"], status_code=202, summary="Train a model, in a process of its own.")
    async def post_run(training: Training) -> dict[str, Any]:
        options, name = await run_in_threadpool(_options, studio, training)
        name = name or jobs.new_name(options["model"], _short(training.source))
        jobs.check_name(name)
        return jobs.described(jobs.submit("train", name, {"options": options | {"name": name}}))

    @api.post("/runs/{run}/resume", tags=["runs"], status_code=202, summary="Go on with a run.")
    async def post_resume(run: str, longer: Longer) -> dict[str, Any]:
        run_folder(run)
        if jobs.trains(run) is not None:
            raise Refused(409, f"run {run!r} is being trained already")
        if longer.minutes is not None and longer.epochs is not None:
            raise LimnerError("choose minutes or epochs, not both")
        return jobs.described(jobs.submit("resume", run, {"options": longer.model_dump(exclude_none=True)}))

    @api.post("/runs/{run}/stop", tags=["runs"], summary="Stop a training; it is saved and can go on.")
    async def post_stop(run: str) -> dict[str, Any]:
        if (job := jobs.trains(run)) is None:
            run_folder(run)
            raise Refused(409, f"the studio does not train run {run!r}")
        return await _stopped(studio, job.id)

    @api.post("/runs/{run}/evaluate", tags=["judge"], status_code=202, summary="Measure a run.")
    async def post_evaluate(run: str, evaluation: Evaluation) -> dict[str, Any]:
        run_folder(run)
        return jobs.described(jobs.submit("evaluate", run, {"options": evaluation.model_dump(exclude_none=True)}))

    @api.get("/jobs", tags=["jobs"], summary="What the studio works on, and has worked on.")
    async def get_jobs() -> list[dict[str, Any]]:
        return clean(jobs.all())

    @api.get("/jobs/{job}", tags=["jobs"], summary="One job.")
    async def get_job(job: str) -> dict[str, Any]:
        return clean(jobs.described(jobs.get(job)))

    @api.delete("/jobs/{job}", tags=["jobs"], summary="Cancel a job; a training is saved first.")
    async def delete_job(job: str) -> dict[str, Any]:
        return await _stopped(studio, job)

    return api


async def _stopped(studio: Studio, name: str) -> dict[str, Any]:
    """Stop a job, wait a while for its end, and describe it."""
    job = studio.jobs.get(name)
    studio.jobs.stop(job)
    with contextlib.suppress(asyncio.TimeoutError):  # it is still saving itself
        await asyncio.wait_for(asyncio.shield(job.over.wait()), 10)
    return clean(studio.jobs.described(job))


def _index(number: int) -> Any:
    import torch

    return torch.tensor([number])


def _delete(folder: Any) -> None:
    if not is_run(folder):
        raise Refused(409, f"{folder.name}/config.toml is not that of a run: remove the folder yourself")
    try:
        with locked_run(folder):
            remove_run(folder)
    except LimnerError as error:
        raise Refused(409, str(error)) from error


def _options(studio: Studio, training: Training) -> tuple[dict[str, Any], str | None]:
    """What ``limner.train`` is given; what can be refused before it begins is refused now."""
    of = family(training.model)
    recipe = of.demo((1, 8, 8)) if training.recipe == "demo" else of.recipe(training.recipe, (1, 28, 28))
    with_settings(recipe, training.settings, of.name)
    if training.minutes is not None and training.epochs is not None:
        raise LimnerError("choose minutes or epochs, not both")
    if training.conditional and not of.conditional:
        raise LimnerError(f"{option('conditional', True)}: a {of.name} has no classes")
    check_name(training.name, runs_folder())
    given = training.model_dump(exclude_none=True, exclude={"source", "name"})
    given["data"] = source_path(studio, training.source)
    if training.start_from is not None:
        run_folder(training.start_from)
        open_run(run_folder(training.start_from))
    return given | {"model": of.name}, training.name


def _short(source: str) -> str:
    stem = source.removeprefix("upload:")
    return "".join(c if c.isalnum() else "-" for c in stem)[:50] or "data"
