"""The samples of a run's evaluations, one after the other, as an animation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from limner.errors import LimnerError
from limner.reports.grids import PAPER, strip

__all__ = ["time_lapse"]

SECONDS, FRAME, LAST = 12.0, (80, 600), 2500  # of the whole; ms of one frame at least and at most, and of the last
MOST = 200  # frames


def time_lapse(files: Sequence[Path]) -> bytes:
    """A GIF of the sheets in ``files``, named after their step, which stands below each.

    Raises:
        LimnerError: There are fewer than two.
    """
    if len(files) < 2:
        raise LimnerError(
            f"a time lapse needs samples of 2 evaluations, and there are {len(files)}: they are drawn during training, "
            "unless sample_images=0"
        )
    if len(files) > MOST:
        files = [files[round(i * (len(files) - 1) / (MOST - 1))] for i in range(MOST)]
    frames = []
    for file in files:
        with Image.open(file) as sheet:
            frames.append(strip([sheet], [f"step {int(file.stem):,}" if file.stem.isdecimal() else file.stem]))
    width, height = max(f.width for f in frames), max(f.height for f in frames)
    mode = "L" if all(f.mode == "L" for f in frames) else "RGB"
    pages = []
    for frame in frames:  # a run that went on may have drawn more samples
        page = Image.new(mode, (width, height), PAPER)
        page.paste(frame.convert(mode))
        pages.append(page if mode == "L" else page.quantize(256))
    each = round(min(max(1000 * SECONDS / len(pages), FRAME[0]), FRAME[1]))
    buffer = io.BytesIO()
    times = [each] * (len(pages) - 1) + [LAST]
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=times, loop=0)
    return buffer.getvalue()
