"""Routes: how each family draws, a step at a time."""

from __future__ import annotations

import math
import threading
from typing import Any, Literal

import torch
from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from limner.studio.body import Body, Label, Seed
from limner.studio.describing import clean
from limner.studio.images import data_url, given_image
from limner.studio.limits import Refused
from limner.studio.opened import Opened
from limner.studio.studio import Studio
from limner.workbench.duel import Duel
from limner.workbench.inside import look_inside
from limner.workbench.stepping import Progressing, draw_values, places

__all__ = ["routes"]

DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SHOWN = 64  # drawn values that are told
LOSSES = 400  # of each player that are told


class State(Body):
    """An image of which some values are drawn."""

    values: list[int] = Field(default_factory=list, max_length=1 << 20)
    """Levels of all values, channel by channel and row by row."""
    drawn: int = Field(0, ge=0)
    """How many of them count, in the order of drawing."""
    steps: int = Field(1, ge=0)
    """How many to draw; 0 only asks."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""
    label: Label = None
    """The class, of a run that has classes; by default the seed draws it."""


class Look(Body):
    """Which code, or the code of which image."""

    z: list[float] | None = Field(None, max_length=100_000)
    """The code; by default drawn."""
    image: Any = None
    """An image whose code is drawn, as of POST /api/runs/{run}/encode."""
    label: Label = None
    """The class, of a run that has classes."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""


class Game(Body):
    """A game of two players."""

    source: Literal["ring", "digits"] = "ring"
    """Points of a plane, or images."""
    objective: str = Field("non-saturating", max_length=50)
    """What they play for, as of a GAN's `objective`."""
    seed: Seed = 0
    """Of the random numbers: the same seed gives the same."""


class Move(Body):
    """Who makes how many steps."""

    player: Literal["discriminator", "generator", "both"] = "both"
    """Who moves."""
    steps: int = Field(1, ge=1, le=200)
    """How many steps."""


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api/learn", tags=["learn"])
    playing = threading.Lock()  # one game moves at a time: they are small

    @api.get("/{run}/pixel/start", summary="An image of which nothing is drawn yet.")
    async def get_start(run: str) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            total, model = len(places(opened.run)), opened.run.model
            facts: dict[str, Any] = {"values": [0] * total, "drawn": 0, "total": total, "levels": model.levels}
            return facts | {"shape": list(model.shape), "classes": model.classes}

        return await studio.slow.run(work)

    @api.post("/{run}/pixel", summary="Draw the next values, and say what the one after them may be.")
    async def post_pixel(run: str, state: State) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            with opened.lock:
                values = state.values, state.drawn, state.steps
                now = draw_values(opened.run, *values, label=state.label, seed=state.seed)
            return clean(_told(now, opened))

        return await studio.slow.run(work)

    @api.post("/{run}/vae", summary="z, then μ and σ, then x; and of an image q(z|x) and both terms of the bound.")
    async def post_vae(run: str, look: Look) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            opened = studio.models.get(run)
            with opened.lock:
                image, label = (None, None) if look.image is None else given_image(look.image, opened.run)
                y = look.label if look.label is not None else label
                seen = look_inside(opened.run, look.z, image, label=y, seed=look.seed)
            most = float(seen.deviation.max())
            sigma = (seen.deviation / max(most, 1e-9) * 255).round().to(torch.uint8)
            facts: dict[str, Any] = {"z": seen.z.tolist(), "mean": data_url(seen.mean), "deviation": data_url(sigma)}
            facts |= {"deviation_max": most, "sample": data_url(seen.sample)}
            if seen.label is not None:
                facts["label"] = seen.label
            if seen.original is not None and seen.kl is not None:
                facts["original"] = data_url(seen.original)
                terms = {"reconstruction": seen.reconstruction, "kl": sum(seen.kl), "kl_by_dimension": list(seen.kl)}
                facts["terms"] = terms
            if seen.posterior is not None:
                facts["posterior"] = {"mean": seen.posterior[0].tolist(), "deviation": seen.posterior[1].tolist()}
            return clean(facts | {"words": _words(opened, look)})

        return await studio.slow.run(work)

    @api.post("/gan", status_code=201, summary="Begin a game of a generator and a discriminator.")
    async def post_game(game: Game) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            begun = Duel(game.source, game.objective, game.seed)
            data = {"data": _points(begun.images.split("train").first(400))} if game.source == "ring" else {}
            return _board(studio.new_game(begun), begun, "") | data

        return await studio.slow.run(work)

    @api.post("/gan/{game}/step", summary="Let a player make steps.")
    async def post_step(game: str, move: Move) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            found = studio.game(game)
            with playing:
                found.play(move.player, move.steps)
                return _board(game, found, _move_words(found, move))

        return await studio.slow.run(work)

    @api.get("/gan/{game}", summary="How a game stands.")
    async def get_game(game: str) -> dict[str, Any]:
        return await run_in_threadpool(lambda: _board(game, studio.game(game), ""))

    @api.delete("/gan/{game}", status_code=204, summary="End a game.")
    async def delete_game(game: str) -> Response:
        if studio.games.pop(game, None) is None:
            raise Refused(404, "there is no such game any more")
        return Response(status_code=204)

    return api


def _told(now: Progressing, opened: Opened) -> dict[str, Any]:
    """A state for JSON."""
    just = [vars(d) | {"u": d.uniform} for d in now.just[-SHOWN:]]
    facts: dict[str, Any] = {"values": now.values, "drawn": now.drawn, "total": len(now.values), "just": just}
    facts |= {"nats": now.nats, "image": data_url(now.image), "levels": opened.run.model.levels}
    if now.label is not None:
        facts["label"] = now.label
    if now.place is not None:
        channel, row, column = now.place
        i = str(now.drawn + 1).translate(DIGITS)
        before = ["", "x₁", "x₁, x₂"][now.drawn] if now.drawn < 3 else f"x₁ … x{str(now.drawn).translate(DIGITS)}"
        given = ", ".join(filter(None, [before, "y" if now.label is not None else ""]))
        word = f"p(x{i} | {given})" if given else f"p(x{i})"
        facts["next"] = {"channel": channel, "row": row, "column": column, "probabilities": now.probabilities}
        facts["next"]["word"] = word
    return facts


def _words(opened: Opened, look: Look) -> dict[str, str]:
    of_prior = "drawn from the prior p(z)" if look.image is None else "drawn from q(z|x), around the image's code"
    binary = opened.run.model.levels == 2
    return {
        "z": "as you chose it" if look.z is not None else of_prior,
        "x": "each pixel is white with probability μ" if binary else "each pixel is drawn around μ with deviation σ",
    }


def _points(images: torch.Tensor) -> list[list[float]]:
    """Images of two pixels as points in [-1, 1]."""
    return [[round(v, 4) for v in point] for point in (images.flatten(1).float() / 127.5 - 1).tolist()]


def _board(name: str, game: Duel, words: str) -> dict[str, Any]:
    """A game for JSON."""
    drawn, judged = game.samples()
    facts: dict[str, Any] = {"game": name, "source": game.source, "step": max(game.moves.values()), "moves": game.moves}
    facts["losses"] = {player: game.metrics[player] for player in game.moves if player in game.metrics}
    facts["history"] = {p: [list(one) for one in losses[-LOSSES:]] for p, losses in game.history.items()}
    facts |= {key: game.metrics[key] for key in ("real_logit", "fake_logit", "accuracy") if key in game.metrics}
    facts["judged"] = [round(p, 4) for p in judged.tolist()]
    if (field := game.field()) is not None:
        facts["samples"] = [[round(v, 4) for v in point] for point in drawn.flatten(1).tolist()]
        values = [round(v, 4) for v in field.values.flatten().tolist()]
        facts["field"] = {"side": len(field.values), "range": [-field.reach, field.reach], "values": values}
    else:
        facts["samples"] = [data_url(image) for image in ((drawn + 1) * 127.5).round().to(torch.uint8)]
    return clean(facts | {"words": words or "Nobody has moved since."})


def _move_words(game: Duel, move: Move) -> str:
    """What a player did, in a sentence."""
    steps, m = f"{move.steps} step{'s' * (move.steps > 1)}", game.metrics
    fake = 1 / (1 + math.exp(-max(-50.0, min(50.0, m.get("fake_logit", 0.0)))))
    of_d = f"it tells a real image from a sample in {m.get('accuracy', 0.5):.0%} of pairs"
    if move.player == "discriminator":
        return f"The discriminator made {steps}: {of_d}."
    if move.player == "generator":
        _, judged = game.samples()
        return f"The generator made {steps}: the discriminator now holds its samples for real with {judged.mean():.0%}."
    return f"Both made {steps}: {of_d}, and holds samples for real with {fake:.0%}."
