"""Files that the tests make for themselves."""

from pathlib import Path

import numpy as np
import pooch
import pytest
from PIL import Image


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def write_images(tmp_path, rng):
    """Write n random images below tmp_path, return their folder."""

    def write(folder: str = "images", n: int = 10, size=(6, 8), mode: str = "L", suffix: str = ".png") -> Path:
        where = tmp_path / folder
        where.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            shape = size if mode == "L" else (*size, len(mode))
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(where / f"{i:03}{suffix}")
        return where

    return write


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A user's cache of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(pooch, "os_cache", lambda name: folder / name)
    return folder
