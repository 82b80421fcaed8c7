"""Routes: runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from limner.config.run_config import read_run_config
from limner.errors import LimnerError
from limner.models import family, with_article
from limner.records import compared_with_blur, features_of, same_features
from limner.runs import beside_training, of_most
from limner.studio.describing import clean, row
from limner.studio.opened import run_folder
from limner.studio.studio import Studio
from limner.workbench.showing import current_evaluations, show

__all__ = ["routes"]

MOST = 8  # runs on one page
LIKELIHOOD = ("n", "nats_per_image", "nats_standard_error", "bits_per_dim", "bound", "importance_samples", "split")
BOUNDS = {
    "exact": "exact: the model's own ln p(x)",
    "lower": "a bound: the true value is no larger",
}


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api", tags=["judge"])

    @api.get("/compare", summary="What was measured of several runs, side by side.")
    async def get_compare(run: list[str] = Query(..., max_length=MOST), split: str = "test") -> dict[str, Any]:
        working = {name: studio.jobs.of_run(name) for name in run}

        def work() -> dict[str, Any]:
            found = [row(run_folder(name), working[name]) | _measured(name, split) for name in dict.fromkeys(run)]
            words = _words(found)
            return clean({"runs": [{k: v for k, v in r.items() if k != "images_key"} for r in found], "words": words})

        return await run_in_threadpool(work)

    return api


def _measured(name: str, split: str) -> dict[str, Any]:
    """What the run's ``evaluations.jsonl`` says of its weights on a split."""
    if split not in ("train", "validation", "test"):
        raise LimnerError(f"split {split[:20]!r}: choose train, validation or test")
    folder = run_folder(name)
    config, records = read_run_config(folder), current_evaluations(folder, split)
    of, shown = family(config.model), show(folder)
    facts: dict[str, Any] = {"summary": of.summary, "settings": shown["settings"], "split": split}
    facts["classes"] = getattr(config.recipe.network, "classes", 0)
    facts["images_key"] = f"{config.data.source} {config.data.fingerprint}"
    if best := of_most(records, "n", "nats_per_image"):
        facts["likelihood"] = {key: best[key] for key in LIKELIHOOD if key in best}
    if measured := [e for e in records if "frechet_ratio" in e]:
        best = of_most(same_features(measured), "samples", "frechet_ratio") or measured[-1]
        names = ("frechet", "precision", "recall", "clipped", "samples", "modes", "class_kl", "blurred", "nearest")
        facts["fidelity"] = {k: v for k, v in best.items() if k.startswith(names)} | {"split": split}
        facts["fidelity"] |= {"features": features_of(best)} | {
            key: words
            for key, words in (("beside_training", beside_training(best)), ("beside_blur", compared_with_blur(best)))
            if words
        }
    if errors := [e for e in records if "mse" in e]:
        facts["reconstruction"] = {k: v for k, v in errors[-1].items() if k in ("n", "mse", "psnr", "split")}
    bound = of.likelihood
    none = f"none: {with_article(of.name)} has no likelihood"
    facts["likelihood_words"] = BOUNDS.get(bound, none)
    missing = ["likelihood"] if bound != "none" and "likelihood" not in facts else []
    missing += ["fidelity"] if of.draws and "fidelity" not in facts else []
    missing += ["reconstruction"] if not of.draws and "reconstruction" not in facts else []
    return facts | {"missing": missing}


def _words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be known before the figures are compared."""
    words = []
    if len({r["images_key"] for r in rows}) > 1:
        words.append("These runs were trained on different images: their figures do not compare.")
    bounds = {r["likelihood"]["bound"] for r in rows if "likelihood" in r}
    if bounds == {"exact", "lower"}:
        words.append("Exact likelihoods stand beside lower bounds: a model with a bound may be better than its figure.")
    if any(r.get("bound") is None for r in rows):
        words.append("A model without a likelihood is judged by its samples alone.")
    if len({r["likelihood"]["n"] for r in rows if "likelihood" in r}) > 1:
        words.append("The likelihoods are of different numbers of images: measure all of them on the whole split.")
    if any("fidelity" in r for r in rows):
        words.append(
            "Fréchet ratio: 1 means as near to the held-out images as the training images are; larger is farther."
        )
    return words
