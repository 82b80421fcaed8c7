"""Sets larger than memory: starts, order, waiting and memory of made 64×64 JPEGs as a folder, a zip and parquet shards.

    python -m benchmarks.large_sets [--images 200000] [--folder DIR] [--steps 200] [--json]

Each start is a process of its own, with a user's cache of the benchmark's own. Of each format:

- first_start, second_start: seconds from the source to the loaded set and its fingerprint, imports not counted;
- told: how often the first start said how far it was;
- sequence: a hash of the images and labels of some steps in the midst of an epoch; one for all formats;
- waiting: the share of the time that training waits for images, where a step (matrix products, one thread) takes
  100 ms alone at batch 64; step: seconds that it takes alone here, slower: by how much it is longer with its batch;
- megabytes: the largest resident memory of the second start and these steps; above: beyond a folder of 1,000 images;
- first_megabytes: that of the first start.

``--folder`` is kept, and what is in it is not made again; without, all is made in a temporary folder.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLASSES, BATCH, STEP = 200, 64, 0.1  # the last in seconds
SHARD, GROUP = 20_000, 100  # rows
STARTED, HASHED = 1000, 50  # steps before the hash begins, and that it is of
LIMITS = {"second_start": 5.0, "waiting": 0.1, "above": 1024.0}


def main() -> None:
    """Make the sets, measure, print; exit code 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", metavar="SOURCE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(measured(arguments.worker, arguments.steps)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        record = compared(folder, arguments.images, arguments.steps)
    if arguments.json:
        print(json.dumps(record, indent=1))
    else:
        for name, row in record["formats"].items():
            print(f"{name:8}", *(f"{key} {value}" for key, value in row.items()))
        print("one sequence" if record["one_sequence"] else "DIFFERENT SEQUENCES", *record["beyond"])
    sys.exit(1 if record["beyond"] or not record["one_sequence"] else 0)


def compared(folder: Path, n: int, steps: int) -> dict[str, Any]:
    """All formats, and what is beyond the limits."""
    few = made(folder / "few", 1000)
    sources = packed(made(folder / "images", n))
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    small = started(few, cache, steps)
    above = min(1 << 29, n * 64 * 64)  # of fewer images than the 44,000 of limner's own limit, too
    formats: dict[str, dict[str, Any]] = {}
    for name, source in sources.items():
        first, second = (started(source, cache, s, above) for s in (0, steps))
        formats[name] = {
            "first_start": first["seconds"],
            "told": first["told"],
            "second_start": second["seconds"],
            "sequence": second["sequence"],
            "waiting": second["waiting"],
            "step": second["step"],
            "slower": second["slower"],
            "megabytes": second["megabytes"],
            "above": round(second["megabytes"] - small["megabytes"], 1),
            "first_megabytes": first["megabytes"],
            "index_megabytes": round(sum(f.stat().st_size for f in cache.rglob("*.npz")) / 2**20, 1),
        }
        said = [f"{row['images']:,} images, window {row['window']}" for row in (first, second)]
        if said[0] != said[1] or not second["window"]:
            raise RuntimeError(f"{source}: {said}")
    beyond = [
        f"{name}: {key} {row[key]}" for name, row in formats.items() for key, most in LIMITS.items() if row[key] > most
    ]
    one = len({row["sequence"] for row in formats.values()}) == 1
    return {"images": n, "few": small, "formats": formats, "one_sequence": one, "limits": LIMITS, "beyond": beyond}


def started(source: Path, cache: Path, steps: int, above: int = 0) -> dict[str, Any]:
    """What ``measured`` says of a process of its own."""
    words = [sys.executable, "-m", "benchmarks.large_sets", "--worker", str(source), "--steps", str(steps)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    if above:
        environment["LIMNER_STREAM_ABOVE"] = str(above)
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def measured(source: str, steps: int) -> dict[str, Any]:
    """One start, and some steps."""
    from limner.config.run_config import DataConfig
    from limner.data import Batches, load

    told = []
    start = time.perf_counter()
    data = load(source, on_progress=lambda *what: told.append(what))
    DataConfig.of(data, "crop")
    seconds = time.perf_counter() - start
    found: dict[str, Any] = {"seconds": round(seconds, 2), "told": len(told), "window": data.window}
    found["images"] = sum(map(len, data.splits.values()))
    if steps:
        batches = Batches(data.split("train"), BATCH, seed=0)
        digest = hashlib.blake2b(digest_size=8)
        stream = batches.from_step(STARTED)
        for batch in itertools.islice(stream, HASHED):
            digest.update(batch.images.numpy().tobytes())
            if batch.labels is not None:
                digest.update(batch.labels.numpy().tobytes())
        stream.close()
        stream = batches.from_step(STARTED)
        found |= {"sequence": digest.hexdigest()} | _waiting(stream, steps)
        stream.close()
    found["megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return found


def _waiting(stream: Iterator[Any], steps: int) -> dict[str, float]:
    """How long ``steps`` wait for their batches, and how much longer than alone they take; in turn with and without."""
    import torch

    a = torch.rand(256, 256)

    def work(n: int) -> float:
        start = time.perf_counter()
        for _ in range(n):
            a @ a
        return time.perf_counter() - start

    work(500)
    products = int(STEP / min(work(50) / 50 for _ in range(40)))
    next(stream)
    alone: list[float] = []
    waits: list[float] = []
    whole: list[float] = []
    for start in range(0, steps, 10):
        alone += [work(products) for _ in range(10)]
        for _ in range(min(10, steps - start)):
            began = time.perf_counter()
            next(stream)
            waits.append(time.perf_counter() - began)
            whole.append(waits[-1] + work(products))
    step, slower = statistics.median(alone), statistics.median(whole) / statistics.median(alone) - 1
    return {"waiting": round(sum(waits) / sum(whole), 4), "step": round(step, 4), "slower": round(slower, 3)}


def made(folder: Path, n: int) -> Path:
    """A folder of ``n`` different JPEGs of 64×64 pixels in folders of classes."""
    import numpy as np
    from PIL import Image

    if folder.is_dir():
        return folder
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    chance, each = np.random.default_rng(n), -(-n // CLASSES)
    for i in range(n):
        where = part / f"{i // each:03}"
        if i % each == 0:
            where.mkdir(parents=True)
        rough = Image.fromarray(chance.integers(0, 256, (8, 8, 3), np.uint8))
        rough.resize((64, 64), Image.Resampling.BICUBIC).save(where / f"{i:07}.jpg", quality=85)
    part.rename(folder)
    return folder


def packed(folder: Path) -> dict[str, Path]:
    """The folder, and its files as a zip and as parquet shards in the same order."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    files = sorted(folder.rglob("*.jpg"))
    archive, shards = folder.with_suffix(".zip"), folder.with_name(f"{folder.name}-parquet")
    if not archive.is_file():
        part = archive.with_suffix(".part")
        with zipfile.ZipFile(part, "w") as target:
            for file in files:
                target.write(file, file.relative_to(folder))
        part.rename(archive)
    if not shards.is_dir():
        half = shards.with_name(f"{shards.name}.part")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        classes = sorted({file.parent.name for file in files})
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": classes}}
        said = {"huggingface": json.dumps({"info": {"features": features}})}
        image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        schema = pa.schema({"image": image, "label": pa.int64()}, metadata=said)
        count = -(-len(files) // SHARD)
        for k in range(count):
            with ParquetWriter(half / f"train-{k:05}-of-{count:05}.parquet", schema) as writer:
                for start in range(k * SHARD, min((k + 1) * SHARD, len(files)), GROUP):
                    some = files[start : min(start + GROUP, (k + 1) * SHARD)]
                    images = [{"bytes": file.read_bytes(), "path": file.name} for file in some]
                    labels = [classes.index(file.parent.name) for file in some]
                    writer.write_table(pa.table({"image": pa.array(images, image), "label": labels}, schema=schema))
        half.rename(shards)
    return {"folder": folder, "zip": archive, "parquet": shards}


if __name__ == "__main__":
    main()
