"""Routes: completing images."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.websockets import WebSocket

from limner.errors import LimnerError
from limner.models import with_article
from limner.models.autoregressive import Autoregressive
from limner.sampling import Completions
from limner.studio.body import Body, Label, Seed
from limner.studio.describing import CANNOT
from limner.studio.images import data_url, given_image, given_mask, rgba, rows_of
from limner.studio.opened import Opened
from limner.studio.sampling_api import row_emitter
from limner.studio.sockets import Emit, accepted, received, watched
from limner.studio.studio import Studio
from limner.version import version

__all__ = ["routes"]

FEW = 10  # effective particles, below which the completions hang on a handful of guesses


class Completion(Body):
    """What is to be completed."""

    image: Any
    """A data URL, `test:7` (split and number), or `{"pixels": rows}`."""
    mask: Any
    """The missing part: `bottom-half` and the like, `box=y0,x0,y1,x1`, rows of 0 and 1, or a data URL (white)."""
    n: int = Field(8, ge=1)
    """How many completions."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""
    particles: int = Field(256, ge=1, le=4096)
    """Of sequential Monte Carlo, where the completion is not exact."""
    gibbs: int = Field(0, ge=0, le=20)
    """Passes over the missing values afterwards, of models of few levels."""
    label: Label = None
    """The class, of a run that has classes; by default inferred."""


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api/runs/{run}", tags=["paint"])

    def completed(opened: Opened, asked: Completion, emit: Emit | None) -> tuple[Completions, dict[str, Any]]:
        """The completions, and what is to be said of them."""
        run, model = opened.run, opened.run.model
        if not isinstance(model, Autoregressive):
            raise LimnerError(CANNOT["complete"].format(with_article(run.config.model).capitalize()))
        if asked.n > studio.limits.complete_n:
            raise LimnerError(f"n: {studio.limits.complete_n} completions at most, not {asked.n}")
        began = time.perf_counter()
        with opened.lock:
            image, _ = given_image(asked.image, run)
            mask = given_mask(asked.mask, run)
            if emit is not None:
                emit({"type": "begin", "n": asked.n, "shape": list(model.shape)})
            done = run.complete(
                image,
                mask,
                asked.n,
                particles=max(asked.particles, asked.n),
                gibbs=asked.gibbs,
                label=asked.label,
                seed=asked.seed,
                on_row=None if emit is None else row_emitter(emit, model.shape[1]),
                quiet=True,
            )
        facts: dict[str, Any] = {"seconds": round(time.perf_counter() - began, 4), "exact": done.exact}
        facts |= {
            "conditional": done.conditional,
            "original": data_url(done.original),
            "missing": rows_of(done.missing),
        }
        if not done.exact:
            names = ("particles", "effective_samples", "lowest_effective_samples", "distinct", "gibbs")
            facts |= {name: getattr(done, name) for name in names}
            if done.lowest_effective_samples < FEW and not done.gibbs:
                facts["advice"] = "few particles explain what is given: ask for more, or for Gibbs passes"
        settings = {"kind": "completion", "run": run.name, "weights": opened.weights, "model": run.config.model}
        settings |= {"version": version(), **asked.model_dump(exclude_none=True, exclude={"image", "mask"})}
        return done, facts | {"settings": settings}

    @api.websocket("/complete")
    async def complete(socket: WebSocket, run: str) -> None:
        async with accepted(socket):
            asked = await received(socket, Completion)

            def work(emit: Emit) -> None:
                done, facts = completed(studio.models.get(run), asked, emit)
                emit({"type": "images", "first": 0, "count": len(done.images)}, rgba(done.images))
                emit({"type": "done", **facts})

            await watched(socket, studio, work)

    @api.post("/complete", summary="Complete an image several ways, and wait for it.")
    async def post_complete(run: str, asked: Completion) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            done, facts = completed(studio.models.get(run), asked, None)
            return facts | {"images": [data_url(image) for image in done.images]}

        return await studio.slow.run(work)

    return api
