"""What was learnt of a large set, kept in the user's cache: the next start need not decode it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import PIL

from limner.data.imageset import Broken
from limner.data.packed import DAMAGE
from limner.data.survey import Survey
from limner.errors import LimnerError
from limner.files import locked, sweep, write_bytes

__all__ = ["Index"]

FORMAT = 1  # of the file, and of what is remembered of an image
COLUMNS = (
    "labels", "size", "extent", "content", "colour", "see_through", "binary", "black", "white", "animated", "deep",
    "readable",
)  # fmt: skip
DAY = 86400  # seconds


class Index:
    """The survey of the source at ``path`` in a file of the cache, good as long as ``stamp`` is the same.

    Args:
        path: Of the source.
        stamp: What changes whenever a name, a size or a time of its files does.
    """

    def __init__(self, path: Path, stamp: str) -> None:
        import pooch

        whole = path.resolve()
        name = hashlib.blake2b(str(whole).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self.file = Path(pooch.os_cache("limner")) / "sets" / f"{name}.npz"
        self.key = hashlib.blake2b(stamp.encode(), digest_size=8).hexdigest()  # for names of files
        # Another Pillow may decode to other pixels, and another limner remember other facts.
        self.stamp = f"{FORMAT} {PIL.__version__} {stamp}"

    def read(self) -> Survey | None:
        """The survey; None where there is none, or an older or damaged one."""
        try:
            # zipfile compares each member's checksum when it is read to its end
            with zipfile.ZipFile(self.file) as archive:
                said = json.loads(archive.read("said.json"))
                if said["stamp"] != self.stamp:
                    return None
                names = tuple(archive.read("names").decode("utf-8", "surrogatepass").split("\0"))
                splits = {part: _array(archive, f"split {part}") for part in said["splits"]}
                survey = Survey(
                    names,
                    _array(archive, "labels"),
                    tuple(said["label_names"]),
                    tuple(said["notes"]),
                    [Broken(*one) for one in said["broken"]],
                    splits,
                    tuple(said["division"]),
                )
                for column in COLUMNS:
                    before, found = getattr(survey, column), _array(archive, column)
                    if (before.shape, before.dtype) != (found.shape, found.dtype):
                        raise ValueError(f"{column} of another shape")
                    setattr(survey, column, found)
        except (*DAMAGE, AttributeError):
            return None
        return survey

    def write(self, survey: Survey) -> None:
        """Keep the survey; a cache that cannot be written to is done without."""
        said = {
            "stamp": self.stamp,
            "label_names": survey.label_names,
            "notes": survey.notes,
            "division": survey.division,
            "splits": list(survey.splits),
            "broken": [(one.path, one.reason) for one in survey.broken],
        }
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("said.json", json.dumps(said))
            archive.writestr("names", "\0".join(survey.names).encode("utf-8", "surrogatepass"))
            columns = {column: getattr(survey, column) for column in COLUMNS}
            for name, array in (columns | {f"split {part}": where for part, where in survey.splits.items()}).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        with suppress(LimnerError, OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.file, content.getbuffer())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock of the index while it is made: others, as of the same training, wait and read it then."""
        with ExitStack() as held:
            with suppress(LimnerError, OSError):
                self.file.parent.mkdir(parents=True, exist_ok=True)
                sweep(self.file.parent)
                held.enter_context(locked(self.file.with_suffix(".lock"), "it is being made", seconds=DAY))
            yield


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise ValueError(f"{name} is longer than it says")
    return array
