"""The studio under load: how fast the pad answers, and many clients that draw at once while a model trains.

    python -m benchmarks.studio [--clients 50] [--seconds 60] [--json]

A studio of its own, on loopback. Its pad is asked 500 times for the image of the digits' VAE. Then a training begins,
and the clients draw from a VAE and from a PixelCNN as fast as they are answered, while the list of runs is asked for
three times a second. All answers are counted by kind; 429 and 503 are orderly. In the end the training must have the
weights of one that nobody disturbed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from limner import workbench

ORDERLY = (429, 503)
TINY = {"network": "dense", "hidden": 64, "latent": 2, "precision": "float32", "patience": 0}


class Served:
    """A studio in a process of its own.

    Args:
        folder: Of its runs.
    """

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "limner", "studio", "--no-browser", "--port", "8400"]
        env = os.environ | {"LIMNER_RUNS": str(folder)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().rstrip("/")
        while not self._answers():
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            self.ask("/api/studio")
        except OSError:
            return False
        return True

    def ask(self, path: str, body: Any = None) -> Any:
        """The JSON of a GET, or of a POST of ``body``."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def trained(self, **training: Any) -> str:
        """Train, wait for the end, and give the run's name."""
        job = self.ask("/api/runs", {"source": "digits", **training})
        while job["state"] in ("waiting", "running"):
            time.sleep(0.2)
            job = self.ask(f"/api/jobs/{job['id']}")
        assert job["state"] == "done", job
        return str(job["run"])

    def memory(self) -> int:
        """Of the server, in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) // 1024
        return 0

    def socket(self, path: str) -> Any:
        """A WebSocket."""
        from websockets.asyncio.client import connect

        return connect(f"ws{self.address.removeprefix('http')}{path}", open_timeout=60)


async def pad(studio: Served, run: str, n: int = 500) -> dict[str, float]:
    """Milliseconds from a move to its image."""
    times = []
    async with studio.socket(f"/api/runs/{run}/walk") as socket:
        await socket.recv()
        for i in range(n):
            start = time.perf_counter()
            await socket.send(json.dumps({"id": i, "z": [i / n, -i / n]}))
            await socket.recv()
            times.append(1000 * (time.perf_counter() - start))
    return {"median_ms": round(statistics.median(times), 2), "p95_ms": round(sorted(times)[int(0.95 * n)], 2)}


async def client(studio: Served, run: str, number: int, end: float, count: Counter[str]) -> None:
    """Draw until the end, and count the answers."""
    drawn = 0
    while time.monotonic() < end:
        drawn += 1
        try:
            async with studio.socket(f"/api/runs/{run}/sample") as socket:
                await socket.send(json.dumps({"n": 8, "seed": 10_000 * number + drawn}))
                message: dict[str, Any] = {}
                while message.get("type") not in ("done", "error"):
                    text = await socket.recv()
                    message = json.loads(text) if isinstance(text, str) else {}
            count["drawn" if message["type"] == "done" else str(message["status"])] += 1
            if message.get("status") in ORDERLY:
                await asyncio.sleep(message["retry_after"])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
            count[type(error).__name__] += 1


async def page(studio: Served, end: float, seconds: list[float]) -> None:
    """Ask for the list of runs, as the page does."""
    while time.monotonic() < end:
        start = time.perf_counter()
        await asyncio.to_thread(studio.ask, "/api/runs")
        seconds.append(time.perf_counter() - start)
        await asyncio.sleep(0.3)


async def crowd(studio: Served, runs: list[str], clients: int, seconds: float) -> dict[str, Any]:
    """Many clients at once."""
    count: Counter[str] = Counter()
    end, answered = time.monotonic() + seconds, list[float]()
    drawing = [client(studio, runs[i % len(runs)], i, end, count) for i in range(clients)]
    await asyncio.gather(*drawing, page(studio, end, answered))
    errors = sum(n for kind, n in count.items() if kind not in ("drawn", *map(str, ORDERLY)))
    times = {"page_median_s": round(statistics.median(answered), 3), "page_max_s": round(max(answered), 3)}
    return {**count, "errors": errors, **times}


def measure(clients: int, seconds: float) -> dict[str, Any]:
    """All of it."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        studio = Served(Path(folder) / "runs")
        try:
            vae = studio.trained(model="vae", recipe="demo", epochs=10)
            first = round(time.monotonic() - began, 1)
            pixelcnn = studio.trained(model="pixelcnn", recipe="demo", epochs=1)
            record: dict[str, Any] = {"first_vae_s": first, "pad": asyncio.run(pad(studio, vae))}
            epochs = max(1, round(5 * seconds))
            training = {"model": "vae", "epochs": epochs, "settings": TINY, "name": "undisturbed"}
            job = studio.ask("/api/runs", {"source": "digits", **training})
            asyncio.run(crowd(studio, [vae, pixelcnn], clients, 5))  # memory has its size then
            before = studio.memory()
            record["crowd"] = asyncio.run(crowd(studio, [vae, pixelcnn], clients, seconds))
            record["memory_mb"] = [before, studio.memory()]
            while job["state"] in ("waiting", "running"):
                time.sleep(0.5)
                job = studio.ask(f"/api/jobs/{job['id']}")
            record["training"] = job["state"]
        finally:
            studio.process.send_signal(signal.SIGINT)
            studio.process.wait()
        alone = workbench.train("vae", "digits", runs=Path(folder) / "own", epochs=epochs, settings=TINY, quiet=True)
        a, b = (load_file(f / "model.safetensors") for f in (Path(folder) / "runs" / "undisturbed", alone.folder))
        record["same_weights"] = a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a)
    return record


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    record = measure(arguments.clients, arguments.seconds)
    print(json.dumps(record) if arguments.json else json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
