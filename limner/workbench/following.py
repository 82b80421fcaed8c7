"""Several processes train one run: the first decides everything and tells the others, which follow."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from limner import display
from limner.config.run_config import RunConfig, Source, run_config
from limner.devices import device
from limner.models import Model
from limner.training.processes import Processes
from limner.workbench.run import Run
from limner.workbench.running import train_run

__all__ = ["follow", "tell"]


def tell(
    processes: Processes, folder: Path, config: RunConfig, model: Model, *, resume: bool, quiet: bool | None
) -> None:
    """Tell the other processes which run is trained; from here on all do the same."""
    processes.told({"folder": str(folder), "config": config.tables(), "resume": resume})
    own = [what for what in model.statistics_of_batch if what != model.MOMENTS] if processes.count > 1 else []
    for what in own:
        note = f"{what}: of each process's own images, not of the whole batch"
        display.console(quiet).print(note, style="dim", markup=False, soft_wrap=True)


def follow(processes: Processes, data: Source | None) -> Run:
    """Train what the first process says; it alone writes, shows and reports.

    Raises:
        LimnerError: It has ended, or the images here are others than there.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    told = processes.told(None)
    folder = Path(told["folder"])
    tables = {
        k: {i: j for i, j in v.items() if j is not None} if isinstance(v, dict) else v
        for k, v in told["config"].items()
    }
    run = Run(folder, run_config(tables, folder / "config.toml"))
    run.data(data, quiet=True)
    model = run.config.build().to(device())
    return train_run(run, model, time.perf_counter(), resume=told["resume"], quiet=True, processes=processes)
