"""What the page is told of families and runs, read from the registry and from the runs' files."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.config.run_config import RunConfig, read_run_config
from limner.config.settings import described
from limner.errors import LimnerError
from limner.models import Family, Latents, Reconstructs, families, family, with_article
from limner.models.autoregressive import Autoregressive
from limner.models.bounded import Bounded
from limner.models.contracts import SampleMeans
from limner.models.gan import GAN
from limner.models.multiscale import MultiScalePixelRNN
from limner.reports.pages import REPORT
from limner.runs import describe_run, read_evaluations, runs_folder
from limner.studio.jobs import Job
from limner.studio.opened import run_folder, weights_of
from limner.training.checkpoints import STATE
from limner.training.journal import PARTS, read_metrics
from limner.workbench.showing import show

__all__ = ["all_families", "clean", "describe", "describe_family", "row", "sheet_url", "source_name"]

POINTS, SPARKS = 400, 40
UPLOADS = ".uploads"  # in the folder of runs


def clean(value: Any) -> Any:
    """``value`` for JSON: numbers that are not finite as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): clean(one) for key, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, list | tuple) else value


def learn_kind(of: Family) -> str:
    """Which step-by-step a family has."""
    if issubclass(of.model, Autoregressive | MultiScalePixelRNN):
        return "exact"
    if issubclass(of.model, Bounded):
        return "vae"
    return "gan" if issubclass(of.model, GAN) else "autoencoder" if issubclass(of.model, Reconstructs) else "none"


def abilities(of: Family) -> dict[str, bool]:
    """What the family's models can do."""
    return {
        "sample": of.draws,
        "stream": issubclass(of.model, Autoregressive) or issubclass(of.model, MultiScalePixelRNN),
        "complete": issubclass(of.model, Autoregressive),
        "walk": issubclass(of.model, Latents) or issubclass(of.model, Reconstructs),
        "encode": issubclass(of.model, Reconstructs),
        "means": issubclass(of.model, SampleMeans),
        "score": of.likelihood != "none",
    }


CANNOT = {
    "sample": "{} draws no samples",
    "stream": "{} draws all pixels at once: there are no rows to watch",
    "complete": "{} cannot complete images: that takes an autoregressive model, such as a pixelcnn",
    "walk": "{} has no latents to walk in: a vae, a gan or an autoencoder has",
    "encode": "{} has no encoder: a vae or an autoencoder has",
    "means": "{} draws no image from a p(x|z), whose mean could be shown",
}


def all_families() -> list[dict[str, Any]]:
    """Every family."""
    return [describe_family(of) for of in families().values()]


def describe_family(of: Family) -> dict[str, Any]:
    """What a family is, can do, and can be told."""
    names = ("name", "summary", "likelihood", "conditional", "paper", "images")
    facts = {name: getattr(of, name) for name in names} | {"samples": of.draws}
    facts["recipes"] = {name: of.about(name) for name in of.recipes}
    facts["can"] = abilities(of) | {"learn": learn_kind(of)}
    parts = {"network": described(of.config), "training": described(of.training)}
    return facts | {"settings": {part: [asdict(s) for s in found] for part, found in parts.items()}}


def source_name(source: str) -> str:
    """What the studio calls the source of a run: ``upload:NAME`` where it was uploaded here."""
    upload = Path(source).parent
    if upload.parent == (runs_folder() / UPLOADS).resolve():
        return f"upload:{upload.name}"
    return source


def sheet_url(run: str, name: str) -> str:
    """Where a sheet of samples is."""
    return f"/api/runs/{run}/sheets/{name}"


def _sheets(folder: Path) -> list[str]:
    try:
        found = sorted(p.name for p in (folder / "samples").iterdir())
    except OSError:
        return []
    return [name for name in found if name.endswith(".png") and name[:-4].isdecimal()]


def row(folder: Path, job: Job | None) -> dict[str, Any]:
    """A run in the list of all; never fails."""
    facts = describe_run(folder) | {"when": _when(folder)}
    if "data" in facts:
        facts["data"] = source_name(facts["data"])
    if sheets := _sheets(folder):
        facts["thumbnail"] = sheet_url(folder.name, sheets[-1])
    facts["sparkline"], facts["sparkline_of"] = _sparkline(folder)
    if job is not None:
        facts["job"] = job.id
    return clean(facts)


def _when(folder: Path) -> float:
    paths = [folder / name for name in ("config.toml", "metrics.jsonl", "state.json")]
    with contextlib.suppress(OSError):  # it is being deleted
        return max(path.stat().st_mtime for path in paths if path.exists())
    return 0.0


def _sparkline(folder: Path) -> tuple[list[float], str]:
    try:
        records = read_metrics(folder)
    except LimnerError:
        return [], "nats"
    for name in ("nats", "distance", "error"):
        values = [r[part][name] for r in records for part in PARTS[1:] if name in r.get(part, {})]
        if values:
            return _thinned([float(v) for v in values if math.isfinite(v)], SPARKS), name
    return [], "nats"


def _thinned(values: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of the values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def describe(name: str, training: Job | None, job: Job | None, points: int = POINTS) -> dict[str, Any]:
    """All there is to say of one run.

    Raises:
        LimnerError: There is no such run, or its ``config.toml`` cannot be read.
    """
    folder = run_folder(name)
    config = read_run_config(folder)
    of, records, shown = family(config.model), read_metrics(folder), show(folder)
    facts = row(folder, job) | {key: shown[key] for key in ("images", "recipe", "settings", "start") if key in shown}
    facts["config"] = {"model": config.model, "data": asdict(config.data)}
    facts["config"]["data"]["source"] = facts["data"]
    facts["config"] |= {"network": asdict(config.recipe.network), "training": asdict(config.recipe.training)}
    facts |= {"shape": list(config.data.shape), "levels": config.data.levels, "summary": of.summary, "paper": of.paper}
    facts |= {"label_names": list(config.data.label_names), "classes": getattr(config.recipe.network, "classes", 0)}
    facts |= {"likelihood": of.likelihood, "curves": _curves(records, max(2, min(points, 5000)))}
    facts["sheets"] = [{"step": int(s[:-4]), "url": sheet_url(name, s)} for s in _sheets(folder)]
    seen = [r for r in records if "train" in r]
    facts["doctor"] = seen[-1].get("diagnoses", []) if seen else []
    facts["doctor_over_time"] = [{"step": r["step"], "name": d["name"]} for r in seen for d in r.get("diagnoses", [])]
    facts["evaluations"] = [e | {"data": source_name(e["data"])} for e in read_evaluations(folder)]
    if weights := weights_of(folder):
        facts["weights"] = weights
    if (folder / REPORT).is_file():
        facts["report"] = f"/api/runs/{name}/report"
    if training is not None and training.progress:
        facts["progress"] = training.progress
    facts["can"] = _can(of, config, folder, facts["status"], weights is not None, training)
    return clean(facts)


def _curves(records: Sequence[Mapping[str, Any]], points: int) -> dict[str, Any]:
    curves: dict[str, dict[str, list[list[float]]]] = {"train": {}, "validation": {}, "other": {}}
    for r in records:
        for part in PARTS:
            for key, value in r.get(part, {}).items():
                curves["train" if part == "train" else "validation"].setdefault(key, []).append([r["step"], value])
        for key in ("images_per_second", "learning_rate", "seconds", "gradient_norm"):
            if key in r:
                curves["other"].setdefault(key, []).append([r["step"], r[key]])
    other = curves.pop("other")
    other["rate"] = other.pop("images_per_second", [])
    thin = {part: {key: _thinned(found, points) for key, found in of.items()} for part, of in curves.items()}
    return thin | {key: _thinned(found, points) for key, found in other.items()}


def _can(
    of: Family, config: RunConfig, folder: Path, status: str, weights: bool, training: Job | None
) -> dict[str, dict[str, Any]]:
    """What can be done with the run now; else why not."""
    able, article = abilities(of), with_article(of.name).capitalize()
    why = {key: "" if able[key] else text.format(article) for key, text in CANNOT.items()}
    why["evaluate"] = ""
    if able["complete"] and getattr(config.recipe.network, "orders", 1) > 1:
        why["complete"] = "this run draws its pixels in several orders: completing needs the raster order (orders=1)"
    if not weights:
        first = "it has no weights yet: they come with its first evaluation"
        why = {key: text or first for key, text in why.items()}
    busy = "it is being trained"
    why["resume"] = busy if training is not None or status == "running" else ""
    if not why["resume"] and weights and not (folder / STATE).is_file():
        why["resume"] = "the state to go on from is gone: only its weights are kept"
    if config.data.content and not why["resume"]:
        why["resume"] = "its images were handed over in Python: limner.resume(RUN, data=images) goes on"
    why["delete"] = busy if status == "running" or (training is not None and training.state == "running") else ""
    why["stop"] = "" if training is not None else "it is not being trained"
    if training is None and status == "running":
        why["stop"] = "another program trains it: stop it there, with Ctrl-C"
    can = {key: {"ok": False, "why": text} if text else {"ok": True} for key, text in why.items()}
    kind = learn_kind(of)
    blocked = "" if weights else "it has no weights yet: they come with its first evaluation"
    if kind == "exact" and not blocked and getattr(config.recipe.network, "orders", 1) > 1:
        blocked = "this run draws its pixels in several orders"
    can["learn"] = {"ok": False, "why": blocked, "kind": kind} if blocked else {"ok": True, "kind": kind}
    return can
