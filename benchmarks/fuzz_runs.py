"""Damaged files of runs: a tiny VAE and a tiny GAN are trained, then one file of a copy is damaged and read.

Each file is read as the commands read it: `limner runs`, opening and sampling, going on, the reports. What is damaged
inside of a safetensors file is written again with a digest that fits, so that the checks behind the digest are met.
"""

from __future__ import annotations

import copy
import json
import os
import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from lightning_fabric import Fabric
from msgspec import toml

from benchmarks.fuzz_sources import Case, Write
from benchmarks.mutations import damaged, replaced
from limner import workbench
from limner.cli import commands
from limner.config.run_config import read_run_config
from limner.data import load
from limner.evaluation import FeatureNetwork
from limner.models import Scores, families
from limner.reports import codes, curves, html, metrics, pages
from limner.reports.run_view import RunView
from limner.runs import CONFIG, EVALUATIONS, find_run, list_runs, read_evaluations
from limner.training import loop
from limner.training.checkpoints import MODEL, STATE, STATE_JSON, load_model, read_header, read_tensors, write_tensors
from limner.training.journal import METRICS, read_metrics
from limner.training.objectives import SingleLoss
from limner.workbench.run import Run

__all__ = ["run_files", "tiny_runs"]

COMMON = ("sample_images=0", "validation_images=20", "precision=float32", "batch_size=64", "evaluations=2")
RECORD = {"run": "vae", "model": "vae", "step": 20, "data": "digits", "split": "test"}
EVALUATED: list[dict[str, Any]] = [
    RECORD | {"n": 250, "nats_per_image": 99.5, "nats_standard_error": 0.5, "bits_per_dim": 2.2, "bound": "lower",
              "seconds": 1.0, "importance_samples": 100},
    RECORD | {"samples": 250, "frechet_ratio": 3.0, "frechet": 9.0, "data_frechet": 3.0, "kernel": 0.1,
              "precision": 0.9, "recall": 0.5, "kernel_deviation": 0.01, "data_precision": 0.9,
              "data_recall": 0.9, "neighbours": 3, "feature_version": 2, "classifier_accuracy": 0.9,
              "clipped_density": 0.8, "clipped_coverage": 0.6, "data_clipped_density": 1.0,
              "data_clipped_coverage": 1.0, "blurred_ratio": 9.0},
    RECORD | {"n": 250, "mse": 0.01, "mse_standard_error": 0.001, "psnr": 20.0},
    RECORD | {"n": 250, "seeds": 2, "accuracies": [
        {"labels_per_class": n, "method": "frozen", "accuracies": [0.5, 0.6], "mean": 0.55, "deviation": 0.07}
        for n in (1, 10)
    ]},
]  # fmt: skip
TYPES = (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool)


def tiny_runs(folder: Path) -> Path:
    """``folder`` with a run of a VAE and of a GAN in it, an epoch of the digits each."""
    for name in ("vae", "gan"):
        settings = (*families()[name].tiny, *COMMON)
        workbench.train(name, "digits", name=name, runs=folder, epochs=1, settings=settings)
    return folder


class _Whole:
    """The whole runs, and what reads a damaged copy of one."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            run: {file.name: file.read_bytes() for file in (folder / run).iterdir() if file.is_file()}
            for run in ("vae", "gan")
        }
        lines = "".join(json.dumps(record) + "\n" for record in EVALUATED)
        for files in self.files.values():
            files[EVALUATIONS] = lines.encode()
        self.lines = {run: read_metrics(folder / run) for run in self.files}
        self.data = load("digits")
        self.configs = {run: read_run_config(folder / run) for run in self.files}
        self.models = {run: config.build().eval() for run, config in self.configs.items()}
        self.tensors = {(run, file): read_tensors(folder / run / file) for run in self.files for file in (MODEL, STATE)}

    def write(self, folder: Path, run: str, name: str, content: bytes) -> Path:
        """A run folder in which the file ``name`` is another."""
        (place := folder / run).mkdir()
        for file, data in self.files[run].items():
            if file in (CONFIG, STATE_JSON, METRICS, EVALUATIONS, name):
                (place / file).write_bytes(content if file == name else data)
        return place

    def listed(self, folder: Path) -> None:
        """As `limner runs` does."""
        before = os.environ.get("LIMNER_RUNS")
        os.environ["LIMNER_RUNS"] = str(folder)
        try:
            list_runs()
            commands.runs()
        finally:
            os.environ.pop("LIMNER_RUNS")
            if before is not None:
                os.environ["LIMNER_RUNS"] = before

    def opened(self, place: Path) -> None:
        """As sampling and evaluating do, once the model stands."""
        run = place.name
        model = copy.deepcopy(self.models[run])
        load_model(place, model)
        opened = Run(place, self.configs[run], self.data)
        opened.__dict__["model"] = model
        opened.sample(1)
        if isinstance(model, Scores):
            opened.log_prob(self.data.split("test").first(2))

    def resumed(self, place: Path) -> None:
        """As going on does, with two more steps; threads and random numbers stay as they were."""
        threads = torch.get_num_threads()
        try:
            with torch.random.fork_rng():
                self._resumed(place)
        finally:
            torch.set_num_threads(threads)

    def _resumed(self, place: Path) -> None:
        run = place.name
        config = self.configs[run].with_training(epochs=2.0, evaluations=1)
        objective = SingleLoss(self.configs[run].build(), config.recipe.training, Fabric(accelerator="cpu"))
        train, validation = self.data.split("train"), self.data.split("validation")
        going = loop._Run(objective, train, validation, place, loop.Hooks())
        going.started = going.saved = going.shown = going.planned = 0.0
        going._restore()
        going.next_log = 2.0  # no line is due
        if going._finished():
            return
        for images in map(going.batches.at, range(2)):
            going._log(objective.step(images, going.schedule.factor(going.step), going.step), 1.0)
        going._show()

    def reported(self, place: Path, *, plots: bool) -> None:
        """What reports make of journals and evaluations; ``plots`` take most of the time."""
        run = place.name
        view = RunView(run, place, self.configs[run], self.models[run], self.data)
        found, lines = read_evaluations(place), read_metrics(place)
        rows = [(view, e) for e in found]
        sections = [
            html.Section("Likelihood", [*metrics.likelihood(view, found), metrics.likelihood_table(rows)]),
            *metrics.reconstruction_sections(rows),
            *metrics.fidelity_sections(rows),
            *curves.doctor(view),
        ]
        if plots and lines != self.lines[run]:
            sections.append(html.Section("Curves", curves.curves([view])))
        if plots and found != EVALUATED:
            sections += codes.probe_sections(view, found)
        html.render("x", sections).encode()
        pages._model_card(view, found).encode()


def run_files(folder: Path | None) -> dict[str, Write]:
    """What writes a damaged file of a run into an empty folder, by the file's name."""
    whole = _Whole(folder or tiny_runs(Path(tempfile.mkdtemp())))

    def config(folder: Path, chance: random.Random) -> Case:
        data = whole.files["vae"][CONFIG]
        data = _as_toml(replaced(toml.decode(data), chance)) if chance.random() < 0.6 else damaged(data, chance)
        whole.write(folder, "vae", CONFIG, data)

        def read() -> None:
            whole.listed(folder)
            found = read_run_config(find_run(folder / "vae"))
            if found.data == replace(whole.configs["vae"].data, fingerprint=found.data.fingerprint):
                found.data.load()

        return 1, read

    def lines(name: str, run: str) -> Write:
        def write(folder: Path, chance: random.Random) -> Case:
            data = whole.files[run][name]
            if chance.random() < 0.6:
                records = [json.loads(line) for line in data.decode().splitlines()][-8:]
                victim = chance.randrange(len(records))
                records[victim] = replaced(records[victim], chance)
                data = "".join(json.dumps(record) + "\n" for record in records).encode()
            else:
                data = damaged(data, chance)
            place = whole.write(folder, run, name, data)

            plots = chance.random() < 0.1

            def read() -> None:
                whole.listed(folder)
                whole.reported(place, plots=plots)

            return 1, read

        return write

    def state_json(folder: Path, chance: random.Random) -> Case:
        data = whole.files["vae"][STATE_JSON]
        data = (
            json.dumps(replaced(json.loads(data), chance)).encode() if chance.random() < 0.6 else damaged(data, chance)
        )
        whole.write(folder, "vae", STATE_JSON, data)
        return 1, lambda: whole.listed(folder)

    def tensors(name: str, run: str, read: Callable[[Path], None]) -> Write:
        def write(folder: Path, chance: random.Random) -> Case:
            place = whole.write(folder, run, name, b"")
            if chance.random() < 0.4:
                (place / name).write_bytes(damaged(whole.files[run][name], chance))
            else:
                _write_damaged(place / name, *whole.tensors[run, name], chance)

            def both() -> None:
                read_header(place / name)
                read(place)

            return 1, both

        return write

    network = FeatureNetwork((1, 8, 8), 10)
    network.figures = {"version": 2, "accuracy": 0.9, "steps": 1, "seed": 0, "data": "0" * 16}

    def features(folder: Path, chance: random.Random) -> Case:
        path = folder / "features.safetensors"
        network.save(path)
        if chance.random() < 0.4:
            path.write_bytes(damaged(path.read_bytes(), chance))
        else:
            _write_damaged(path, *read_tensors(path), chance)
        return 1, lambda: FeatureNetwork.load(path).classify(whole.data.split("test").first(2))

    return {
        "run/config.toml": config,
        "run/model.safetensors": tensors(MODEL, "vae", whole.opened),
        "run/gan/model.safetensors": tensors(MODEL, "gan", whole.opened),
        "run/state.safetensors": tensors(STATE, "vae", whole.resumed),
        "run/state.json": state_json,
        "run/metrics.jsonl": lines(METRICS, "vae"),
        "run/gan/metrics.jsonl": lines(METRICS, "gan"),
        "run/evaluations.jsonl": lines(EVALUATIONS, "vae"),
        "run/features.safetensors": features,
    }


def _write_damaged(
    path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, Any], chance: random.Random
) -> None:
    """A file of another header, or with another tensor; its digest fits."""
    changed = {name: tensor.clone() for name, tensor in tensors.items()}
    name = chance.choice(list(changed))
    kind = chance.randrange(8)
    if kind < 4:
        header = replaced(dict(header), chance)
    elif kind == 4 and changed[name].numel():
        bad = chance.choice((float("nan"), float("inf"), 1e30, -1e30))
        if changed[name].is_floating_point():
            changed[name].view(-1)[chance.randrange(changed[name].numel())] = bad
        else:
            changed[name] = changed[name].random_(generator=torch.Generator().manual_seed(chance.randrange(99)))
    elif kind == 5:
        changed[name] = changed[name].to(chance.choice(TYPES))
    elif kind == 6:
        changed[name] = torch.zeros(chance.choice(((), (0,), (1,), (3, 5), changed[name].shape[::-1])))
    else:
        changed[chance.choice(("x", name + "x"))] = changed.pop(name)
    write_tensors(path, changed, header if isinstance(header, dict) else {"x": header})


def _as_toml(value: Any) -> bytes:
    """TOML of what it can hold; None, which it lacks, is left out."""

    def clean(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: clean(w) for k, w in v.items() if w is not None}
        return [clean(w) for w in v if w is not None] if isinstance(v, list) else v

    return tomli_w.dumps(clean(value)).encode() if isinstance(value, dict) else str(value).encode()
