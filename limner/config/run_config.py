"""``config.toml``: everything that another machine needs to train the same run."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from limner.config.settings import from_table
from limner.data import SOURCES, Images, ImageSet, from_arrays, load
from limner.data.options import FitMode, Progress
from limner.errors import LimnerError
from limner.models import Model, family
from limner.models.contracts import describe_images
from limner.models.recipes import Recipe
from limner.noise import seeded
from limner.ranges import Count, Levels, NotNegative, Positive
from limner.runs import read_config, write_config
from limner.version import version

__all__ = ["DataConfig", "RunConfig", "Source", "StartConfig", "read_run_config", "run_config", "source_of"]

Source: TypeAlias = str | os.PathLike[str] | Images | ImageSet
"""Where images come from: a SOURCE, images that a program has, or a loaded set."""


@dataclass(frozen=True)
class DataConfig:
    """Which images, how they were read, and what they turned out to be."""

    source: str
    """SOURCE; an absolute path where it is one."""
    shape: tuple[Positive, Positive, Positive]
    """Channels, height, width."""
    levels: Levels
    """Values of a pixel."""
    images: dict[str, Count]
    """Images in each split: a run does not go on with other data."""
    fit: FitMode = "crop"
    """How images of another size were brought to this one."""
    fingerprint: str = ""
    """Of pixels all over the set: other images of the same number are noticed."""
    label_names: tuple[str, ...] = ()
    """The classes, in the order of their numbers; empty without labels."""
    content: str = ""
    """Of images that a program handed over, a hash of them all: they cannot be read again from a source."""
    labels: str = ""
    """And a hash of their labels, where they had some."""
    window: NotNegative = 0
    """Training shuffles windows of so many images that lie together in a large set; 0: image by image."""

    @classmethod
    def of(cls, data: ImageSet, fit: FitMode) -> DataConfig:
        """Of a loaded set."""
        images = {name: len(s) for name, s in data.splits.items()}
        labels = _labels(data) if data.content else ""
        print_of, names = _fingerprint(data), data.label_names
        source, content, window = source_of(data), data.content, data.window
        return cls(source, data.shape, data.levels, images, fit, print_of, names, content, labels, window)

    @property
    def described(self) -> str:
        """Size and number of the images in words: ``28×28 (width × height), grey; train 283, validation 35``."""
        splits = ", ".join(f"{name} {n:,}" for name, n in self.images.items())
        return f"{describe_images(self.shape)}; {splits}"

    def load(self, given: Source | None = None, on_progress: Progress | None = None) -> ImageSet:
        """The same set again, from its source, or as it is ``given`` now; in the order in which it was seen before.

        Raises:
            LimnerError: It cannot be read, has changed since, or has to be given.
        """
        _, h, w = self.shape
        if given is None and self.content:
            raise LimnerError(
                f"{self.source}: these images were handed over in Python, so give them again: "
                "limner.open_run(RUN, data=images) or limner.resume(RUN, data=images)"
            )
        if isinstance(given, ImageSet):
            data = given
        elif given is None or isinstance(given, str | os.PathLike):
            source = self.source if given is None else given
            data = load(source, size=(h, w), fit=self.fit, levels=self.levels, on_progress=on_progress)
        else:
            data = from_arrays(given, size=(h, w), fit=self.fit, levels=self.levels, on_progress=on_progress)
        changed = f"{self.source} has changed since the run began"
        self._check(data, changed if given is None else f"{data.source} has other images than the run was trained on")
        return data.shuffled_by(self.window)

    def _check(self, data: ImageSet, changed: str) -> None:
        """Refuse images that are not those of the run."""
        now = DataConfig.of(data, self.fit)
        if (now.shape, now.images) != (tuple(self.shape), self.images):
            raise LimnerError(f"{changed}: {now.described} instead of {self.described}")
        if now.fingerprint != self.fingerprint or (self.content and now.content != self.content):
            raise LimnerError(f"{changed}: as many images, but others")
        if self.content and now.labels != self.labels:
            these = "these images have others" if now.labels else "these images have none"
            advice = f"with, and {these}: give data=(images, labels)" if self.labels else "without: leave them out"
            raise LimnerError(f"{data.source}: labels: the run was trained {advice}")


def source_of(data: ImageSet) -> str:
    """What a run remembers as its source: an absolute path, a known name, or a name with a part of the content."""
    if data.content:
        return f"{data.source}-{data.content[:8]}"
    return str(Path(data.source).expanduser().resolve()) if data.source not in SOURCES else data.source


def _labels(data: ImageSet) -> str:
    """A hash of the labels of all splits; empty without."""
    digest = hashlib.blake2b(repr(data.label_names).encode(), digest_size=8)
    for name in sorted(data.splits):
        if (labels := data.splits[name].labels) is not None:
            digest.update(labels.numpy().tobytes())
    return digest.hexdigest() if data.label_names else ""


def _fingerprint(data: ImageSet) -> str:
    """A hash of up to 64 images spread over each split."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(data.splits):
        split = data.splits[name]
        if len(split):
            for position in split.spread(64).split(1):  # large ones one by one
                digest.update(split.take(position).numpy().tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class StartConfig:
    """Whose weights a run began from."""

    run: str
    """Name of that run."""
    folder: str
    """Where it was."""
    step: NotNegative
    """At which its weights were kept."""
    weights: str
    """A digest of them."""


@dataclass(frozen=True)
class RunConfig:
    """A complete run."""

    model: str
    data: DataConfig
    recipe: Recipe
    start: StartConfig | None = None

    def build(self) -> Model:
        """The model with initial weights, a function of the seed alone."""
        with seeded(self.recipe.training.seed):
            model = family(self.model).model(self.recipe.network, self.data.shape, self.data.levels)
        # The layout that convolutions are fastest in; torch's stubs do not know the call.
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def with_training(self, **changes: Any) -> RunConfig:
        """The same run with other values of the training configuration."""
        return replace(self, recipe=replace(self.recipe, training=replace(self.recipe.training, **changes)))

    def tables(self) -> dict[str, Any]:
        """What stands in ``config.toml``."""
        tables: dict[str, Any] = {"limner": version(), "model": self.model, "likelihood": family(self.model).likelihood}
        tables |= {"data": asdict(self.data)}
        tables |= {"network": asdict(self.recipe.network), "training": asdict(self.recipe.training)}
        if self.start is not None:
            tables["start"] = asdict(self.start)
        return tables

    def write(self, folder: Path) -> None:
        """Write ``config.toml``."""
        write_config(folder, self.tables())


def read_run_config(folder: Path) -> RunConfig:
    """The configuration of the run in ``folder``.

    Raises:
        LimnerError: The file is missing, no TOML, or has unknown or missing keys.
    """
    return run_config(read_config(folder), folder / "config.toml")


def run_config(tables: dict[str, Any], path: Path) -> RunConfig:
    """The configuration that the ``tables`` of the file at ``path`` hold; fails as ``read_run_config`` does."""
    missing = [key for key in ("model", "data", "network", "training") if key not in tables]
    if missing:
        raise LimnerError(f"{path} has no {missing[0]!r}: it is not a run of limner, or was edited")
    model = family(str(tables["model"]))
    return RunConfig(
        model.name,
        from_table(DataConfig, tables["data"], f"{path} [data]"),
        Recipe(
            from_table(model.config, tables["network"], f"{path} [network]"),
            from_table(model.training, _of_older(tables["training"]), f"{path} [training]"),
        ),
        from_table(StartConfig, tables["start"], f"{path} [start]") if "start" in tables else None,
    )


def _of_older(training: Any) -> Any:
    """The training table, an older one with ``augment`` for ``shift`` and ``elastic``, and no stop before the end."""
    if not (isinstance(training, dict) and training.keys() & {"shift", "elastic"}):
        return training
    moves = ",".join(f"{name}={training[name]}" for name in ("shift", "elastic") if training.get(name))
    kept = {key: value for key, value in training.items() if key not in ("shift", "elastic")}
    return {"augment": moves or "none", "patience": 0, **kept}
