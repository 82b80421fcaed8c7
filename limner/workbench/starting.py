"""Runs that begin from the weights of another run: ``limner train MODEL --from RUN``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from limner import display
from limner.config.run_config import RunConfig, StartConfig
from limner.errors import LimnerError, option
from limner.models import Model, family, with_article
from limner.models.contracts import ConditionalConfig
from limner.training.checkpoints import MODEL, STATE, read_tensors, restore_module
from limner.training.transfer import Classes, class_axes, transfer
from limner.workbench.run import Run, open_run

__all__ = ["begin_again", "network_of", "source_of", "take_over"]


def source_of(run: str | os.PathLike[str], model: str) -> Run:
    """The run to begin from, of the family ``model``.

    Raises:
        LimnerError: There is none, or it is of another family.
    """
    source, name = open_run(run), family(model).name
    if source.config.model != name:
        raise LimnerError(
            f"{option('start_from', source.name)}: its weights are those of {with_article(source.config.model)} and do "
            f"not fit {with_article(name)}; train {with_article(source.config.model)} from it"
        )
    return source


def network_of(source: Run) -> Any:
    """The sizes of its network; classes are those of the new data."""
    network = source.config.recipe.network
    return replace(network, classes=0) if isinstance(network, ConditionalConfig) else network


def take_over(source: Run, model: Model, config: RunConfig, quiet: bool | None) -> StartConfig:
    """Give ``model``, as ``config`` builds it, the weights of ``source`` that fit, and say how many that are.

    Raises:
        LimnerError: None fit, or they cannot be read.
    """
    tensors, header = read_tensors(source.folder / MODEL)
    weights = {name.removeprefix("ema."): t for name, t in tensors.items() if name.startswith("ema.")}
    axes, classes = {}, Classes(_classes(source.config, source), _classes(config))
    if largest := config if classes.new else source.config if classes.old else None:
        network = largest.recipe.network
        larger = replace(largest.recipe, network=replace(network, classes=network.classes + 1))
        axes = class_axes(largest.build(), replace(largest, recipe=larger).build())
    found = transfer(model, weights, axes, classes)
    step = int(header.get("step", 0))
    if not found.taken:
        raise LimnerError(
            f"{option('start_from', source.name)}: none of its weights has the name and the shape of one of this "
            "network's"
        )
    said = f"begins from run {source.name!r}, step {step:,}: {found}"
    display.console(quiet).print(said, style="dim", markup=False, soft_wrap=True)
    return StartConfig(source.name, str(source.folder.resolve()), step, _digest(weights))


def begin_again(run: Run, model: Model, quiet: bool | None) -> None:
    """Give ``model`` the weights of step 0, of a run that began from another one and was stopped before its first step.

    Raises:
        LimnerError: The other run is gone, or has other weights now.
    """
    start, path = run.config.start, run.folder / STATE
    if start is None:
        return
    if path.is_file():
        restore_module(model, "weights", read_tensors(path)[0], path)
        return
    try:
        source = source_of(start.folder, run.config.model)
    except LimnerError:
        source = source_of(start.run, run.config.model)
    if take_over(source, model, run.config, quiet) != replace(
        start, run=source.name, folder=str(source.folder.resolve())
    ):
        raise LimnerError(f"run {start.run!r} has other weights now than run {run.name!r} began from: train anew")


def _classes(config: RunConfig, run: Run | None = None) -> tuple[str, ...]:
    """Names of the classes that a network knows."""
    network = config.recipe.network
    if not (isinstance(network, ConditionalConfig) and network.classes):
        return ()
    return run.label_names if run is not None else config.data.label_names


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()
