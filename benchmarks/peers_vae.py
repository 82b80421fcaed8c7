"""Limner's VAE beside pythae's: the same networks, weights and images, in turn on the same threads.

    python -m benchmarks.peers_vae [--json] [--data binarized-mnist] [--repeats 3] [--samples 5000] [--images 20]

Pythae 0.1.2 is installed with pip into an environment of its own (in the user's cache folder, or --environment), with
this project's torch, and answers through ``benchmarks/pythae_worker.py``, which has the networks in plain torch, as its
users write them. ``pythae_channels_last``: convolutions in the memory layout that limner gives them.

training: images a second of the recipe ``published`` (one stochastic layer of 50 latents, two hidden layers of 200), of
``iwae`` (the same with K = 50) and of the convolutional network, with Adam's steps on both sides. Limner's loop runs as
``limner train`` does, in float32 and in bf16, of which it takes the faster; pythae's trainer, which has no bf16 on a
CPU, is timed by its passes over the data, without the first. evaluation: ln p(x) of ``published`` from K importance
samples; pythae's ``get_nll`` takes 100 samples at a time, its default, or all K (``rows``), here without gradients,
which it would else keep. likelihood: from the same weights, the terms of the ELBO at z = μ(x) image by image, which
have no noise, and the K-sample bounds, which have. Other work on the machine makes the ratios worthless: ``load`` is
what there was when the run began.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import torch

from benchmarks.training import measure
from limner import train
from limner.data import ImageSet, load
from limner.evaluation import measure_likelihood
from limner.models import family
from limner.models.importance import gaussian_kl
from limner.models.vae import VAE, VAEConfig
from limner.training.memory import keep_freed_memory

ROOT = Path(__file__).resolve().parent.parent
PASSES = 3  # of pythae's trainer


class Pythae:
    """Pythae in an environment of its own, with the layers and the weights of a limner VAE.

    Args:
        environment: Its folder; made where it is missing.
        model: Whose weights.
    """

    def __init__(self, environment: Path, model: VAE) -> None:
        self.python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        if not (environment / "pythae").is_file():
            subprocess.run([sys.executable, "-m", "venv", environment], check=True)
            install = ["-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), "pythae==0.1.2"]
            subprocess.run([self.python, *install], check=True)
            (environment / "pythae").touch()  # all of it is there
        config, shape = model.config, model.shape
        dense = config.network == "dense"
        kind, size = ("Dense", config.hidden) if dense else ("Conv", config.features)
        activation = [{"gelu": "GELU", "tanh": "Tanh"}[config.activation]] if dense else []
        self.request: dict[str, Any] = {
            "latent": config.latent,
            "samples_in_training": config.importance_samples,
            "encoder": [f"{kind}Encoder", shape, size, 2 * config.latent, *activation],
            "decoder": [f"{kind}Decoder", config.latent, size, shape, *activation],
        }
        self.arrays = {
            f"{name}.{key}": tensor.contiguous().numpy()
            for name, net in (("encoder", model.encoder), ("decoder", model.decoder))
            for key, tensor in net.state_dict().items()
        }

    def ask(self, do: str, images: torch.Tensor, **request: Any) -> dict[str, Any]:
        """The worker's answer about uint8 images ``(N, C, H, W)`` of two levels."""
        with tempfile.TemporaryDirectory() as folder:
            asked, arrays, answer = (Path(folder) / name for name in ("request.json", "arrays.npz", "answer.json"))
            asked.write_text(json.dumps(self.request | request | {"do": do}))
            np.savez(arrays, allow_pickle=False, images=(images > 0).numpy(), **self.arrays)
            worker = [self.python, ROOT / "benchmarks" / "pythae_worker.py", asked, arrays, answer]
            subprocess.run(worker, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            return json.loads(answer.read_text())


def training(
    environment: Path, data: ImageSet, config: VAEConfig, batch: int, repeats: int, seconds: float
) -> dict[str, Any]:
    """Images a second in training."""
    recipe = family("vae").recipe("published", data.shape)
    # pythae's own optimizer is Adam, and its images stay as they are
    adam = replace(recipe.training, batch_size=batch, optimizer="adamw", augment="none")
    recipe = replace(recipe, network=config, training=adam)
    model = VAE(config, data.shape, 2)
    for parameter in model.parameters():  # some begin with zeros, which would hide a mistake
        torch.nn.init.normal_(parameter, std=0.05)
    pythae = Pythae(environment, model)
    rate, _ = measure("vae", data.shape, 2, "bf16", 10, recipe)
    steps = max(10, int(seconds * rate / batch))
    images = data.split("train").first(batch * max(5, steps // PASSES))
    seen: dict[str, list[float]] = {"limner_float32": [], "limner_bf16": [], "pythae": []}
    if config.network == "conv":
        seen["pythae_channels_last"] = []
    for _ in range(repeats):  # in turn, so that a busy minute meets all
        for precision in ("float32", "bf16"):
            seen[f"limner_{precision}"].append(measure("vae", data.shape, 2, precision, steps, recipe)[0])
        for name in seen:
            if name.startswith("pythae"):
                asked = {"epochs": PASSES, "batch": batch, "channels_last": name != "pythae"}
                seen[name].append(pythae.ask("train", images, **asked)["images_per_second"])
    few = data.split("test").first(20)
    return _rates_and_ratios(seen) | {"largest_difference_of_elbo_terms_nats": _difference(pythae, model, few)}


def evaluation(
    environment: Path, data: ImageSet, model: VAE, repeats: int, samples: int, images: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Images a second of the K-sample bound, and how far the two likelihoods lie apart."""
    pythae = Pythae(environment, model)
    split = data.split("test")
    few = split.first(images)
    measure_likelihood(model, split, importance_samples=samples, limit=2)  # whatever is compiled is compiled
    seen: dict[str, list[float]] = {"limner": [], "pythae": [], "pythae_rows": []}
    answer: dict[str, Any] = {}
    for _ in range(repeats):
        found = measure_likelihood(model, split, importance_samples=samples, limit=10 * images)
        seen["limner"].append(found.n / found.seconds)
        for name, rows in (("pythae_rows", samples), ("pythae", 100)):
            answer = pythae.ask("measure", few, samples=samples, rows=rows)
            seen[name].append(answer["images_per_second"])
    ours, theirs = -model.importance_bound(few, samples).log_prob.numpy(), np.array(answer["nats"])
    likelihood = {
        "limner_nats": ours.mean(),
        "pythae_nats": theirs.mean(),
        "difference_nats": (ours - theirs).mean(),
        "difference_standard_error": (ours - theirs).std(ddof=1) / images**0.5,
        "largest_difference_of_elbo_terms_nats": _difference(pythae, model, few),
    }
    speed = {"importance_samples": samples} | _rates_and_ratios(seen)
    return speed, {"images": images} | {name: round(float(value), 5) for name, value in likelihood.items()}


@torch.no_grad()
def _difference(pythae: Pythae, model: VAE, images: torch.Tensor) -> float:
    """The largest one of the terms of the ELBO at z = μ(x), image by image, in nats."""
    model.eval()
    k = model.checked_levels(images)
    mean, log_std = model.infer(k, None)
    reconstruction = -model.likelihood(mean, None).log_prob(k).flatten(1).sum(1)
    terms = torch.stack([reconstruction, gaussian_kl(mean, log_std).sum(1)], 1).numpy()
    return float(np.abs(terms - pythae.ask("terms", images)["terms"]).max())


def _rates_and_ratios(seen: dict[str, list[float]]) -> dict[str, float]:
    """Medians, and the quotients of limner's and pythae's."""
    rates = {name: statistics.median(values) for name, values in seen.items()}
    figures = {f"{name}_images_per_second": round(rate, 1) for name, rate in rates.items()}
    pairs = [(a, b) for a in rates for b in rates if a.startswith("limner") and b.startswith("pythae")]
    return figures | {f"{a}_over_{b}": round(rates[a] / rates[b], 2) for a, b in pairs}


def main() -> None:
    """Print the groups of figures, or all as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--data", default="binarized-mnist", help="SOURCE of images of two levels")
    parser.add_argument("--environment", type=Path, default=Path(pooch.os_cache("limner")) / "peers" / "pythae")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement; medians are reported")
    parser.add_argument("--batch", type=int, default=128, help="images in a step of training")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each training")
    parser.add_argument("--samples", type=int, default=5000, help="K of the importance bound, a multiple of 100")
    parser.add_argument("--images", type=int, default=20, help="that pythae evaluates; limner ten times as many")
    parser.add_argument("--epochs", type=float, default=5, help="of training before anything is evaluated")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    data, start = load(arguments.data), time.perf_counter()
    keep_freed_memory()  # as `limner train`
    found: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "load": load_before}
    found |= {"data": arguments.data, "batch": arguments.batch}
    cases = {name: family("vae").recipe(name, data.shape).network for name in ("published", "iwae")}
    for name, config in (cases | {"conv": VAEConfig(network="conv")}).items():
        found[f"training_{name}"] = training(
            arguments.environment, data, config, arguments.batch, arguments.repeats, arguments.seconds
        )
    with tempfile.TemporaryDirectory() as runs:
        settings = ["precision=float32", "sample_images=0", "evaluations=1"]
        run = train("vae", data, name="vae", runs=runs, recipe="published", epochs=arguments.epochs, settings=settings)
        model = run.model.cpu()
    assert isinstance(model, VAE)
    found["evaluation"], found["likelihood"] = evaluation(
        arguments.environment, data, model, arguments.repeats, arguments.samples, arguments.images
    )
    found["seconds"] = round(time.perf_counter() - start, 1)
    if arguments.json:
        print(json.dumps(found))
        return
    for group, figures in found.items():
        print(f"{group}: {figures}")


if __name__ == "__main__":
    main()
