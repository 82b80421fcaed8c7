"""``config.toml``: everything that another machine needs to train the same run."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from limner.config.settings import from_table
from limner.data import SOURCES, ImageSet, load
from limner.data.options import FitMode, Progress
from limner.errors import LimnerError
from limner.models import Model, family
from limner.models.contracts import describe_shape
from limner.models.recipes import Recipe
from limner.noise import seeded
from limner.ranges import Levels, NotNegative, Positive
from limner.runs import read_config, write_config
from limner.version import version

__all__ = ["DataConfig", "RunConfig", "read_run_config"]


@dataclass(frozen=True)
class DataConfig:
    """Which images, how they were read, and what they turned out to be."""

    source: str
    """SOURCE; an absolute path where it is one."""
    shape: tuple[Positive, Positive, Positive]
    """Channels, height, width."""
    levels: Levels
    """Values of a pixel."""
    images: dict[str, NotNegative]
    """Images in each split: a run does not go on with other data."""
    fit: FitMode = "crop"
    """How images of another size were brought to this one."""
    fingerprint: str = ""
    """Of pixels all over the set: other images of the same number are noticed."""

    @classmethod
    def of(cls, data: ImageSet, fit: FitMode) -> DataConfig:
        """Of a loaded set."""
        source = str(Path(data.source).expanduser().resolve()) if data.source not in SOURCES else data.source
        images = {name: len(s) for name, s in data.splits.items()}
        return cls(source, data.shape, data.levels, images, fit, _fingerprint(data))

    def load(self, on_progress: Progress | None = None) -> ImageSet:
        """The same set again.

        Raises:
            LimnerError: It cannot be read, or has changed since.
        """
        _, h, w = self.shape
        data = load(self.source, size=(h, w), fit=self.fit, levels=self.levels, on_progress=on_progress)
        now, changed = DataConfig.of(data, self.fit), f"{self.source} has changed since the run began"
        if (now.shape, now.images) != (tuple(self.shape), self.images):
            raise LimnerError(
                f"{changed}: {describe_shape(now.shape)}, {now.images} "
                f"instead of {describe_shape(self.shape)}, {self.images}"
            )
        if now.fingerprint != self.fingerprint:
            raise LimnerError(f"{changed}: as many images, but others")
        return data


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
class RunConfig:
    """A complete run."""

    model: str
    data: DataConfig
    recipe: Recipe

    def build(self) -> Model:
        """The model with initial weights, a function of the seed alone."""
        with seeded(self.recipe.training.seed):
            model = family(self.model).model(self.recipe.network, self.data.shape, self.data.levels)
        # The layout that convolutions are fastest in; torch's stubs do not know the call.
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def with_training(self, **changes: Any) -> RunConfig:
        """The same run with other values of the training configuration."""
        return replace(self, recipe=replace(self.recipe, training=replace(self.recipe.training, **changes)))

    def write(self, folder: Path) -> None:
        """Write ``config.toml``."""
        tables = {"limner": version(), "model": self.model, "data": asdict(self.data)}
        tables |= {"network": asdict(self.recipe.network), "training": asdict(self.recipe.training)}
        write_config(folder, tables)


def read_run_config(folder: Path) -> RunConfig:
    """The configuration of the run in ``folder``.

    Raises:
        LimnerError: The file is missing, no TOML, or has unknown or missing keys.
    """
    tables: dict[str, Any] = read_config(folder)
    path = folder / "config.toml"
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
    )


def _of_older(training: Any) -> Any:
    """The training's table, with the ``shift`` and ``elastic`` of older runs as ``augment`` names them now."""
    if not (isinstance(training, dict) and training.keys() & {"shift", "elastic"}):
        return training
    moves = ",".join(f"{name}={training[name]}" for name in ("shift", "elastic") if training.get(name))
    kept = {key: value for key, value in training.items() if key not in ("shift", "elastic")}
    return {"augment": moves or "none", **kept}
