"""Image files to pixels of one size; every pixel of an image file that limner sees comes through here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from limner.data.decoding import Unreadable, array_of, decoded, header_size
from limner.data.files import Files
from limner.data.fitting import fit_image
from limner.data.imageset import Broken
from limner.data.levels import extremes
from limner.data.options import Options
from limner.data.packed import DAMAGE
from limner.data.splitting import content_hash
from limner.data.stores import parallel
from limner.data.survey import Facts
from limner.errors import LimnerError, reason_of

__all__ = ["Reader"]

Result = TypeVar("Result")
Stream = BinaryIO | Image.Image


class Reader:
    """Reads images of some files at one size.

    Attributes:
        size: ``(H, W)``, set when it is known.
        channels: Of every image, likewise.
        broken: What could not be read so far.
    """

    def __init__(self, files: Files, names: Sequence[str], options: Options) -> None:
        self.files, self.names, self.options = files, names, options
        self.broken: list[Broken] = []
        self.size, self.channels = (0, 0), 3

    def headers(self, positions: Sequence[int]) -> Iterator[tuple[int, tuple[int, int]]]:
        """Position and ``(H, W)`` of each image, from its header alone."""
        return self._each("looking", header_size, positions)

    def facts(self, positions: Sequence[int]) -> Iterator[tuple[int, Facts]]:
        """Position and facts of each image."""

        def look(stream: Stream) -> Facts:
            with decoded(stream) as found:
                return _facts(array_of(found.image), found.see_through, found.deep, found.animated)

        return self._each("reading", look, positions)

    def both(self, positions: Sequence[int]) -> Iterator[tuple[int, tuple[np.ndarray, Facts]]]:
        """Position, pixels uint8 ``(1 or 3, H, W)`` and facts of each image."""

        def see(stream: Stream) -> tuple[np.ndarray, Facts]:
            with decoded(stream) as found:
                native = array_of(found.image)
                facts = _facts(native, found.see_through, found.deep, found.animated)
                if native.shape[:2] == self.size:
                    return _planes(native), facts
                del native
                return _planes(array_of(fit_image(found.image, self.size, self.options.fit))), facts

        return self._each("reading", see, positions)

    def pixels(self, stage: str, positions: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Position and pixels uint8 ``(1 or 3, H, W)`` of each image."""
        return self._each(stage, self._pixels, positions)

    def finish(self, pixels: np.ndarray) -> np.ndarray:
        """Grey to RGB where the set has colour, and to the levels asked for: uint8 ``(C, H, W)``."""
        if len(pixels) < self.channels:
            pixels = np.repeat(pixels, self.channels, axis=0)
        return self.options.quantized(pixels)

    def read(self, position: int) -> np.ndarray:
        """The finished image at ``position``, for a store.

        Raises:
            LimnerError: Its file has changed since it was read before.
        """
        seen = self._attempt(self._pixels, position)
        if isinstance(seen, Broken):
            raise LimnerError(f"{seen.path} of {self.options.source} could be read before, not now: {seen.reason}")
        return self.finish(seen)

    def _pixels(self, stream: Stream) -> np.ndarray:
        with decoded(stream) as found:
            return _planes(array_of(fit_image(found.image, self.size, self.options.fit)))

    def _each(
        self, stage: str, read: Callable[[Stream], Result], positions: Sequence[int]
    ) -> Iterator[tuple[int, Result]]:
        """What ``read`` makes of the files at ``positions``, by threads; those that it cannot read are broken."""
        found = parallel(lambda position: self._attempt(read, position), positions, 3 * self.size[0] * self.size[1])
        for done, (position, one) in enumerate(zip(positions, found, strict=True), start=1):
            if isinstance(one, Broken):
                self.broken.append(one)
            else:
                yield position, one
            if done % 500 == 0 or done == len(positions):
                self.options.progress(stage, done, len(positions))

    def _attempt(self, read: Callable[[Stream], Result], position: int) -> Result | Broken:
        name = self.names[position]
        try:
            with self.files.open(name) as stream:
                return read(stream)
        except (Unreadable, *DAMAGE) as error:
            return Broken(name, reason_of(error))


def _facts(native: np.ndarray, see_through: bool, deep: tuple[int, int] | None, animated: bool) -> Facts:
    channels = 1 if native.ndim == 2 else native.shape[2]
    return Facts(channels, content_hash(native), see_through, extremes(native), deep, animated)


def _planes(pixels: np.ndarray) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` as ``(C, H, W)``."""
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
