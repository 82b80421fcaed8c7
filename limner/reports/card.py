"""A run in a line, and as a notebook shows it."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from limner.config.run_config import RunConfig
from limner.models import family
from limner.models.contracts import describe_images
from limner.runs import describe_run, with_errors

__all__ = ["describe", "describe_progress", "run_card"]

LARGEST = 480  # px, the longer side of the thumbnails


def describe(config: RunConfig) -> str:
    """``vae on digits, 8×8 (width × height), grey, 17 levels``."""
    data = config.data
    return f"{config.model} on {Path(data.source).name}, {describe_images(data.shape)}, {data.levels} levels"


def describe_progress(folder: Path) -> str:
    """``step 2,000, finished``."""
    row = describe_run(folder)
    return f"step {row.get('step', 0):,}, {row['status']}"


def run_card(name: str, folder: Path, config: RunConfig) -> str:
    """HTML of a run: what it is, its figures, its latest samples as an embedded PNG."""
    line = f"<b>{escape(name)}</b>: {escape(describe(config))}, {escape(describe_progress(folder))}"
    figures = "".join(
        f"<li>{escape(text)}</li>" for text in _figures(describe_run(folder), family(config.model).likelihood)
    )
    list_of = f"<ul>{figures}</ul>" if figures else ""
    return f"<div><p>{line}</p>{list_of}{_samples(folder)}</div>"


def _figures(row: dict[str, Any], likelihood: str) -> list[str]:
    """The figures of a run that there are, a line each."""
    sign, texts = "≤ " if likelihood == "lower" else "", []
    if "validation_nats" in row:
        texts.append(f"validation: −ln p {sign}{row['validation_nats']:.2f} nats an image")
    if "test_nats" in row:
        nats, bits = f"{sign}{row['test_nats']:.2f} nats an image", f"{sign}{row['bits_per_dim']:.4f} bits/dim"
        texts.append(f"test: −ln p {nats}, {bits}")
    if "validation_distance" in row:
        texts.append(f"validation: Fréchet distance {row['validation_distance']:.3g}")
    if "frechet_ratio" in row:
        texts.append(f"test: Fréchet ratio {row['frechet_ratio']:.2f}{with_errors(row)['frechet_ratio_error']}")
    return texts


def _samples(folder: Path) -> str:
    """The latest samples that training drew; nothing where there are none."""
    found = sorted((folder / "samples").glob("[0-9]*.png"))
    if not found:
        return ""
    try:
        with Image.open(found[-1]) as sheet:
            sheet.thumbnail((LARGEST, LARGEST))
            kept = io.BytesIO()
            sheet.save(kept, "PNG")
    except (OSError, UnidentifiedImageError):
        return ""
    text = base64.b64encode(kept.getvalue()).decode("ascii")
    return f'<img alt="samples at step {int(found[-1].stem)}" src="data:image/png;base64,{text}">'
