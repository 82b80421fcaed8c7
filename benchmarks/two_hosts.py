"""Two hosts on one machine train one run by torchrun: the same as one process; then one of them is cut off.

    sudo python -m benchmarks.two_hosts [--json] [--model vae] [--epochs 3]

The hosts are two network namespaces that a pair of virtual Ethernet devices joins (``ip``, of iproute2; needs root).
``torchrun --nnodes 2`` starts one process on each. What it trains is compared with the run of one process: the images
that were seen last, and the weights. Then another training is begun, and the second host's cable is pulled: how the
first ends, after how many seconds, and whether the run can be gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
HOSTS = ("limner-a", "limner-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = "29511"
SETTINGS = ("precision=float32", "sample_images=4", "hidden=32", "latent=4", "checkpoint_seconds=1")


def ip(*words: str, check: bool = True) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=check, capture_output=True)


@contextmanager
def hosts() -> Iterator[None]:
    """Two network namespaces with a cable between them."""
    for host in HOSTS:
        ip("netns", "del", host, check=False)
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", "veth-a", "netns", HOSTS[0], "type", "veth", "peer", "name", "veth-b", "netns", HOSTS[1])
        for host, end, address in zip(HOSTS, ("veth-a", "veth-b"), ADDRESSES, strict=True):
            ip("-n", host, "address", "add", f"{address}/24", "dev", end)
            for device in (end, "lo"):
                ip("-n", host, "link", "set", device, "up")
        yield
    finally:
        for host in HOSTS:
            ip("netns", "del", host, check=False)


def start(rank: int, words: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """``limner WORDS`` on the host of that rank, by torchrun."""
    environment = dict(os.environ) | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LIMNER_RUNS": str(folder / f"host-{rank}"),
        "GLOO_SOCKET_IFNAME": ("veth-a", "veth-b")[rank],
    }  # fmt: skip
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    where = ["--node-rank", str(rank), "--master-addr", ADDRESSES[0], "--master-port", PORT]
    command = ["ip", "netns", "exec", HOSTS[rank], *torchrun, *where, "-m", "limner", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )


def limner_lines(text: str) -> list[str]:
    """What limner itself said."""
    return [line for line in text.splitlines() if line.startswith("limner: ")]


def same_run(model: str, epochs: int, folder: Path) -> dict[str, Any]:
    """A run of two hosts against one of one process."""
    words = ["train", model, "--epochs", str(epochs), "--quiet", "--set", *SETTINGS]
    both = [start(rank, [*words, "--name", "two"], folder) for rank in (0, 1)]
    ends = [process.communicate(timeout=600) for process in both]
    codes = [process.returncode for process in both]
    if codes != [0, 0]:
        raise SystemExit(f"exit codes {codes}: {[end[1][-2000:] for end in ends]}")
    environment = dict(os.environ) | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LIMNER_RUNS": str(folder / "alone"),
    }
    command = [sys.executable, "-m", "limner", *words, "--name", "one"]
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=folder)
    one, two = (load_file(folder / place / "model.safetensors") for place in ("alone/one", "host-0/two"))
    difference = torch.cat([(one[name] - two[name]).flatten() for name in one]).norm()
    size = torch.cat([one[name].flatten() for name in one]).norm()
    return {
        "codes": codes,
        "weights_relative": float(difference / size),
        "second_host_wrote": (folder / "host-1").exists(),
    }


def cut_off(model: str, folder: Path) -> dict[str, Any]:
    """The cable of the second host is pulled while both train."""
    words = ["train", model, "--epochs", "100000", "--quiet", "--name", "cut", "--set", *SETTINGS]
    both = [start(rank, words, folder) for rank in (0, 1)]
    state, end = folder / "host-0/cut/state.json", time.monotonic() + 120
    while not (state.is_file() and json.loads(state.read_text())["step"] > 20) and time.monotonic() < end:
        time.sleep(0.1)
    ip("-n", HOSTS[1], "link", "set", "veth-b", "down")
    began = time.monotonic()
    ends = [process.communicate(timeout=400) for process in both]
    seconds = time.monotonic() - began
    step = json.loads(state.read_text())["step"]
    environment = dict(os.environ) | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "LIMNER_RUNS": str(folder / "host-0"),
    }
    resume = [sys.executable, "-m", "limner", "resume", "cut", "--quiet", "--epochs", str(step // 10 + 2)]
    after = subprocess.run(resume, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    return {
        "seconds": round(seconds, 1),
        "codes": [process.returncode for process in both],
        "said": [limner_lines(said[1]) for said in ends],
        "step": step,
        "resume": after.returncode,
    }


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--model", default="vae")
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise SystemExit("SKIPPED: two hosts need root and `ip` (apt-get install iproute2)")
    with hosts(), tempfile.TemporaryDirectory() as temporary:
        found = {"same_run": same_run(arguments.model, arguments.epochs, Path(temporary))}
        found["cut_off"] = cut_off(arguments.model, Path(temporary))
    print(json.dumps(found) if arguments.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
