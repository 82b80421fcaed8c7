"""Routes: samples, streamed or at once, and the PNG files that say how they were made."""

from __future__ import annotations

import json
import time
from typing import Any

import torch
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from starlette.websockets import WebSocket
from torch import Tensor

from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import SamplesInScales
from limner.reports import draw
from limner.studio.body import Body, Label, Seed
from limner.studio.describing import source_name
from limner.studio.images import data_url, png_with, read_settings, rgba
from limner.studio.limits import Refused
from limner.studio.opened import Opened, run_folder, weights_of
from limner.studio.sockets import Emit, accepted, received, watched
from limner.studio.studio import Studio
from limner.version import version

__all__ = ["Asked", "routes", "row_emitter"]

Drawn = tuple[Tensor, list[int] | None, float]


class Asked(Body):
    """Which samples."""

    n: int = Field(16, ge=1)
    """How many."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""
    label: Label = None
    """A class, by name or number; by default all in turn, of a run that has classes."""
    means: bool = False
    """Of a VAE, the means of p(x|z) in place of draws from it."""


class Rows:
    """Tells finished rows of drawings, batch after batch."""

    def __init__(self, emit: Emit, last: int) -> None:
        self.emit, self.last, self.first = emit, last, 0

    def __call__(self, row: int, images: Tensor) -> None:
        """``row`` of ``images`` is final."""
        message = {"type": "row", "row": row, "first": self.first, "count": len(images)}
        self.emit(message, rgba(images[:, :, row : row + 1].cpu()))
        if row == self.last:
            self.first += len(images)


def row_emitter(emit: Emit, height: int) -> Rows:
    """What a sampler calls after each row of images of ``height``."""
    return Rows(emit, height - 1)


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api", tags=["sample"])

    def drawn(opened: Opened, asked: Asked, emit: Emit | None) -> Drawn:
        """The samples, new or from a while ago."""
        if asked.n > studio.limits.sample_n:
            raise LimnerError(f"n: {studio.limits.sample_n} images at most are drawn at once, not {asked.n}")
        key = json.dumps([opened.run.name, opened.weights, asked.model_dump()])
        if (found := studio.drawn.used(key)) is not None:
            return found
        began = time.perf_counter()
        with opened.lock:
            run, rows = opened.run, None if emit is None else row_emitter(emit, opened.run.model.shape[1])
            y, classes = run.class_of(asked.label), run.model.classes
            labels = torch.arange(asked.n) % classes if classes and y is None else None
            label = y if labels is None else labels
            images = run.sample(asked.n, label=label, seed=asked.seed, means=asked.means, on_row=rows, quiet=True)
        known = [y] * asked.n if y is not None else None if labels is None else labels.tolist()
        result = images, known, round(time.perf_counter() - began, 4)
        if images.numel() <= 1 << 22:
            studio.drawn.keep(key, result)
        return result

    def settings(opened: Opened, asked: Asked) -> dict[str, Any]:
        found = {"kind": "samples", "run": opened.run.name, "weights": opened.weights, "model": opened.run.config.model}
        found |= {"data": _source(opened), "version": version()}
        return found | asked.model_dump(exclude_none=True)

    @api.websocket("/runs/{run}/sample")
    async def sample(socket: WebSocket, run: str) -> None:
        async with accepted(socket):
            asked = await received(socket, Asked)

            def work(emit: Emit) -> None:
                opened = studio.models.get(run)
                model = opened.run.model
                streams = isinstance(model, Autoregressive | SamplesInScales) and asked.n <= studio.limits.sample_n
                emit({"type": "begin", "n": asked.n, "shape": list(model.shape), "streams": streams})
                images, labels, seconds = drawn(opened, asked, emit)
                more = {} if labels is None else {"labels": labels}
                emit({"type": "images", "first": 0, "count": len(images), **more}, rgba(images))
                link = f"/api/runs/{run}/samples.png?{_query(asked)}"
                emit({"type": "done", "seconds": seconds, "settings": settings(opened, asked), "png": link})

            await watched(socket, studio, work)

    @api.post("/runs/{run}/samples", summary="Draw samples, and wait for them.")
    async def post_samples(run: str, asked: Asked) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            images, labels, seconds = drawn(opened, asked, None)
            more = {} if labels is None else {"labels": labels}
            urls = [data_url(image) for image in images]
            return {"images": urls, "settings": settings(opened, asked), "seconds": seconds, **more}

        return await studio.slow.run(work)

    @api.get("/runs/{run}/samples.png", summary="Samples as a PNG that says how they were made.")
    async def get_png(
        run: str,
        n: int = Query(16, ge=1),
        seed: int = Query(0, ge=0, le=2**53),
        label: str | None = Query(None, max_length=200),
        means: bool = False,
        i: int | None = Query(None, ge=0),
        scale: int | None = Query(None, ge=1, le=16),
    ) -> Response:
        asked = Asked(n=n, seed=seed, label=label, means=means)
        if i is not None and i >= n:
            raise LimnerError(f"i: the images are 0 to {n - 1}")

        def work() -> tuple[bytes, str]:
            opened = studio.models.get(run)
            images, _, _ = drawn(opened, asked, None)
            notes = settings(opened, asked) | ({} if i is None else {"i": i})
            sheet = draw.grid(images, scale=scale) if i is None else draw.grid(images[i][None], gap=0, scale=scale or 1)
            return png_with(sheet, notes), f"{run}-{seed}{'' if i is None else f'-{i}'}.png"

        file, name = await studio.slow.run(work)
        headers = {"content-disposition": f'attachment; filename="{name.encode("ascii", "replace").decode()}"'}
        return Response(file, media_type="image/png", headers=headers)

    @api.post(
        "/read-png",
        summary="What a PNG that the studio drew says of how it was made.",
        openapi_extra={"requestBody": {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def read_png(request: Request) -> dict[str, Any]:
        found = read_settings(await request.body())
        try:
            weights = weights_of(run_folder(found["run"]))
        except Refused:
            return {"settings": found, "run_here": False, "same_weights": False, "words": _words(found, False, False)}
        same = weights is not None and weights == found.get("weights")
        return {"settings": found, "run_here": True, "same_weights": same, "words": _words(found, True, same)}

    return api


def _source(opened: Opened) -> str:
    """The data's name; of a file or a folder not where it lies."""
    return source_name(opened.run.config.data.source).rsplit("/", 1)[-1]


def _query(asked: Asked) -> str:
    from urllib.parse import urlencode

    given = asked.model_dump(exclude_none=True)
    return urlencode(given | {"means": "true" if asked.means else "false"})


def _words(found: dict[str, Any], here: bool, same: bool) -> str:
    """What the settings are worth here, in a sentence."""
    what = f"From run {found['run']}, seed {found.get('seed', '?')}"
    if not here:
        return f"{what}; there is no such run here, so it cannot be drawn again."
    if not same:
        return f"{what}; the run has other weights now, so the images will be others."
    return f"{what}; the weights are the same, so are the images."
