"""A folder of 32×32 pieces of the two photographs that scikit-learn bundles: real colours without a download.

    python -m benchmarks.photos FOLDER

``train/``, ``val/`` and ``test/`` are cut from disjoint columns of the photographs (80, 10 and 10 %), in a folder a
photograph: 4,000, 200 and 200 squares of 32 to 64 pixels, half of them mirrored.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

PARTS = {"train": (0.0, 0.8, 2000), "val": (0.8, 0.9, 100), "test": (0.9, 1.0, 100)}


def main(folder: Path) -> None:
    """Write the images below ``folder``."""
    rng = np.random.default_rng(0)
    for photo, name in zip(load_sample_images().images, ("china", "flower"), strict=True):
        width = photo.shape[1]
        for part, (left, right, n) in PARTS.items():
            strip = Image.fromarray(photo[:, int(left * width) : int(right * width)])
            place = folder / part / name
            place.mkdir(parents=True, exist_ok=True)
            for i in range(n):
                side = int(rng.integers(32, 65))
                x, y = int(rng.integers(0, strip.width - side + 1)), int(rng.integers(0, strip.height - side + 1))
                piece = strip.crop((x, y, x + side, y + side)).resize((32, 32), Image.Resampling.LANCZOS)
                if rng.random() < 0.5:
                    piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                piece.save(place / f"{i:04d}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
