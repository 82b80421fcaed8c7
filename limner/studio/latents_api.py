"""Routes: walks in latent spaces."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import torch
from fastapi import APIRouter, Query, Response
from pydantic import Field, ValidationError
from starlette.websockets import WebSocket
from torch import Tensor

from limner import sampling
from limner.errors import LimnerError
from limner.evaluation import psnr, squared_error
from limner.models import Latents, Reconstructs
from limner.models.bounded import Bounded
from limner.reports import draw
from limner.reports.grids import png_bytes
from limner.studio.body import Body, Label, Seed
from limner.studio.describing import clean
from limner.studio.images import data_url, given_image, rgba
from limner.studio.opened import Opened
from limner.studio.sockets import accepted, error_message, stated
from limner.studio.studio import Studio
from limner.workbench import latent

__all__ = ["routes"]

Code = list[float]
MOST = 64  # codes decoded at once


class Place(Body):
    """Where the pad is."""

    id: int = Field(0, ge=0, lt=2**32)
    """Comes back with the answer."""
    z: Code | list[Code] = Field(max_length=100_000)
    """A code, or up to 64."""
    label: Label = None
    """The class, of a run that has classes; by default 0."""


class Encoded(Body):
    """An image to be encoded."""

    image: Any
    """A data URL, `test:7` (split and number), or `{"pixels": rows}`."""
    label: Label = None
    """The class, of a run that has classes; by default the likeliest."""


class End(Body):
    """An end of a walk: a code, or an image."""

    z: Code | None = Field(None, max_length=100_000)
    """A code."""
    image: Any = None
    """An image in its place."""


class Walk(Body):
    """A walk between two ends; both are drawn where neither is given."""

    a: End = Field(default_factory=lambda: End(z=None))
    """Where the walk begins."""
    b: End = Field(default_factory=lambda: End(z=None))
    """Where it ends."""
    steps: int = Field(10, ge=2, le=64)
    """Images, ends included."""
    label: Label = None
    """The class, of a run that has classes."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""


class Sum(Body):
    """a - b + c, of classes."""

    a: str = Field(max_length=200)
    """A class, by name or number."""
    b: str = Field(max_length=200)
    """The class that is taken off."""
    c: str = Field(max_length=200)
    """The class that is added."""
    n: int = Field(6, ge=1, le=32)
    """Single codes of c that are shown, before and after."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api/runs/{run}", tags=["walk"])

    @api.get("/latents", summary="How many latents there are, where they lie, and how much each carries.")
    async def get_latents(run: str) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            key = f"latents {run} {opened.weights}"
            if (known := studio.drawn.used(key)) is None:
                with opened.lock:
                    known = clean(_latents(opened))
                studio.drawn.keep(key, known)
            return known

        return await studio.slow.run(work)

    @api.websocket("/walk")
    async def walk(socket: WebSocket, run: str) -> None:
        async with accepted(socket):
            opened = await studio.slow.run(studio.models.get, run)
            shape, d = list(opened.run.model.shape), opened.run.dimensions
            await socket.send_json({"type": "begin", "shape": shape, "dimensions": d})
            latest: dict[str, str] = {}
            came = asyncio.Event()

            async def listen() -> None:
                try:
                    while True:
                        latest["text"] = await socket.receive_text()
                        came.set()
                except Exception:  # noqa: BLE001 - it left, or does not speak in texts
                    latest["end"] = ""
                    came.set()

            listening = asyncio.create_task(listen())
            try:
                while True:
                    await came.wait()
                    came.clear()
                    if "end" in latest:
                        return
                    await _answer(socket, studio, opened, latest.pop("text"))
            finally:
                listening.cancel()

    @api.get("/plane.png", summary="The plane of two latents, cells of equal prior mass.")
    async def get_plane(run: str, side: int = Query(15, ge=2, le=40), label: str | None = None) -> Response:
        def work() -> bytes:
            opened = studio.models.get(run)
            with opened.lock:
                images = latent.manifold(opened.run, side, label=label)
            return png_bytes(draw.grid(images, columns=side, gap=0, scale=1))

        return Response(await studio.slow.run(work), media_type="image/png")

    @api.post("/encode", summary="The code of an image, and what it is decoded to.")
    async def post_encode(run: str, asked: Encoded) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            with opened.lock:
                original, z, label = _encoded(opened, asked.image, asked.label)
                decoded = opened.run.decode(z[None], label)
            (mse,) = squared_error(original[None], decoded).tolist()
            found = {"z": z.tolist(), "original": data_url(original), "reconstruction": data_url(decoded[0])}
            return clean(found | {"squared_error": mse, "psnr": psnr(mse)} | _known(label=label))

        return await studio.slow.run(work)

    @api.post("/interpolate", summary="The images between two codes or images.")
    async def post_interpolate(run: str, asked: Walk) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            with opened.lock:
                a, b, label = _ends(opened, asked)
                codes, images = opened.run.walk(a, b, steps=asked.steps, label=label)
            return {"images": [data_url(image) for image in images], "z": codes.tolist()} | _known(label=label)

        return await studio.slow.run(work)

    @api.post("/arithmetic", summary="Averaged codes of classes, a - b + c.")
    async def post_arithmetic(run: str, asked: Sum) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            with opened.lock:
                opened.run.decoder()
                done = latent.analogy(opened.run, asked.a, asked.b, asked.c, n=asked.n, seed=asked.seed, quiet=True)
            parts = {"means": done.means, "before": done.before, "after": done.after}
            urls = {name: [data_url(image) for image in images] for name, images in parts.items()}
            return urls | {"counts": list(done.counts), "words": f"{asked.a} − {asked.b} + {asked.c}"}

        return await studio.slow.run(work)

    return api


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _latents(opened: Opened) -> dict[str, Any]:
    run, model = opened.run, opened.run.decoder()
    spread = latent.latent_spread(run, quiet=True)
    normal = isinstance(model, Latents) and not (isinstance(model, Bounded) and not model.normal_prior)
    prior = "normal" if normal else "learned" if isinstance(model, Latents) else "none"
    facts = {"dimensions": len(spread.start), "prior": prior, "plane": sampling.has_plane(model)}
    facts |= {"order": spread.order.tolist(), "mean": spread.mean.tolist(), "spread": spread.deviation.tolist()}
    facts |= {"start": spread.start.tolist(), "classes": run.model.classes, "label_names": list(run.label_names)}
    facts["encodes"] = isinstance(model, Reconstructs)
    if spread.activity is not None and spread.codes is not None:
        facts["carries"] = spread.activity.tolist()
        facts["measure"] = f"variance of the codes' means over {len(spread.codes.codes):,} {spread.split} images"
    return facts


async def _answer(socket: WebSocket, studio: Studio, opened: Opened, text: str) -> None:
    """Decode what a message asks for; what is wrong with it is said, and the socket stays open."""
    number = 0

    def work(place: Place) -> bytes:
        z = torch.tensor(place.z, dtype=torch.float32)
        if len(z) > MOST and z.dim() == 2:
            raise LimnerError(f"{MOST} codes at most are decoded at once, not {len(z)}")
        with opened.lock:
            y = place.label if place.label is not None or not opened.run.model.classes else 0
            return struct.pack("<I", place.id) + rgba(opened.run.decode(z, y))

    try:
        place = Place.model_validate_json(text)
        number = place.id
        answer = await studio.quick.run(work, place)
    except ValidationError as error:
        await socket.send_json({"type": "error", "id": number, "status": 400, "error": stated(error)})
    except (LimnerError, ValueError, TypeError) as error:
        said = (
            error if isinstance(error, LimnerError) else LimnerError("z is a list of numbers, or lists of one length")
        )
        await socket.send_json(error_message(said) | {"id": number})
    else:
        await socket.send_bytes(answer)


def _encoded(opened: Opened, image: Any, label: int | str | None) -> tuple[Tensor, Tensor, int | None]:
    """An image as the model sees it, its code ``(D,)`` and its class, where the model has some."""
    opened.run.encoder()
    given, known = given_image(image, opened.run)
    pixels, codes, labels = opened.run.encoded([given], known if label is None else label)
    return pixels[0], codes[0], None if labels is None or not opened.run.model.classes else int(labels[0])


def _ends(opened: Opened, asked: Walk) -> tuple[Tensor, Tensor, int | None]:
    run, model = opened.run, opened.run.decoder()
    found: list[Tensor] = []
    label = run.class_of(asked.label)
    for end in (asked.a, asked.b):
        if end.image is not None:
            _, code, known = _encoded(opened, end.image, label)
            label = label if known is None else known
            found.append(code)
        elif end.z is not None:
            found.append(run.checked_codes(end.z)[0])
    if not found and isinstance(model, Latents):
        found = list(model.latents(2, generator=torch.Generator().manual_seed(asked.seed)).cpu())
    if len(found) != 2:
        raise LimnerError("a walk goes between two ends, codes or images; or none, where the model has a prior")
    return found[0], found[1], 0 if label is None and run.model.classes else label
