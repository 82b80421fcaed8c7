"""What runs survive: kills, readers beside writers, two writers, full disks, folders that are read-only or moved.

    python -m benchmarks.faults [--quick] [--only NAME ...] [--families NAME ...] [--kills 500] [--saves 2000]
        [--loads 10000] [--pairs 100] [--evaluations 200] [--repeats 5] [--minutes 60] [--seed 0] [--json]

Everything happens to tiny runs on the digits. Of each experiment the tries and the failures are counted, and the first
failures are told. ``kills``: each run is killed five times, at every write, flush and rename that its family makes in
turn, in the midst of each and at random moments; it is resumed each time and must end as one that was never stopped,
bit for bit. ``--quick`` takes about a minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: several processes share the cores


from benchmarks.crashes import CONTEXT, Aim, Ended, Worker, differences, mounted, save_often
from limner.errors import LimnerError
from limner.models import families
from limner.models.vae import VAE, VAEConfig
from limner.runs import is_free, read_evaluations
from limner.training.checkpoints import MODEL, STATE, load_model, read_tensors

OFTEN = ("checkpoint_seconds=0.05", "evaluations=9", "epochs=1.2", "batch_size=32", "augment=shift,elastic=0.5")
COUNTS = {"kills": 500, "saves": 2000, "loads": 10_000, "pairs": 100, "evaluations": 200, "repeats": 5}
QUICK = {"kills": 25, "saves": 100, "loads": 500, "pairs": 6, "evaluations": 16, "repeats": 2}
IN_A_RUN, TOLD = 5, 10  # kills; failures that are told


class Count:
    """Tries and failures of one experiment."""

    def __init__(self) -> None:
        self.tries, self.failed, self.told, self.more = 0, 0, list[str](), dict[str, Any]()

    def check(self, *wrong: str | bool, where: str = "") -> None:
        """One more try, which failed if anything is wrong (a text, or False)."""
        found = [w if isinstance(w, str) else where for w in wrong if w is False or (isinstance(w, str) and w)]
        self.tries += 1
        self.failed += bool(found)
        self.told += [f"{where}: {'; '.join(found)}"] if found and len(self.told) < TOLD else []

    def record(self) -> dict[str, Any]:
        """As it is printed."""
        return {"tries": self.tries, "failures": self.failed, **self.more, "told": self.told}


class Faults:
    """The experiments, each in a folder of its own below ``folder``."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        self.folder, self.asked, self.chance = folder, asked, random.Random(asked.seed)
        self.references: dict[str, Path] = {}

    def words(self, family: str, name: str, *more: str) -> list[str]:
        """The command that trains a tiny run."""
        common = ("sample_images=4", "validation_images=100", "precision=float32")
        settings = [*families()[family].tiny, *common, *OFTEN, *more]
        return ["train", family, "--name", name, "--quiet", "--set", *settings]

    def reference(self, family: str) -> Path:
        """A run that nothing stops."""
        if family not in self.references:
            worker = Worker(self.folder / "references")
            ended = worker.call(*self.words(family, family), seen=worker.folder / f"{family}.events")
            assert ended.code == 0, ended
            self.references[family] = worker.folder / "runs" / family
        return self.references[family]

    def events(self, family: str) -> list[str]:
        """The kinds of events of a run, in order of their first."""
        return list(dict.fromkeys((self.reference(family).parents[1] / f"{family}.events").read_text().splitlines()))

    def kills(self) -> Count:
        """Every run that is killed can be resumed, and ends as if it never had been."""
        count, killed, struck = Count(), 0, set[tuple[str, str]]()
        end = time.monotonic() + 60 * self.asked.minutes
        aims = {f: itertools.cycle(self._aims(f)) for f in self.asked.families}
        worker = Worker(self.folder / "kills")
        for i, family in enumerate(itertools.cycle(self.asked.families)):
            if killed >= self.asked.kills or time.monotonic() > end:
                break
            folder, told = worker.folder / "runs" / f"{family}-{i}", list[str]()
            for _ in range(IN_A_RUN):
                aim = next(aims[family])
                if aim is not None and (folder / "config.toml").is_file():
                    aim = aim._replace(n=self.chance.choice((1, 1, 2, 4)))
                process = worker.start(*self._go_on(family, folder), aim=aim)
                ended = process.wait(self.chance.uniform(0.02, 0.6) if aim is None else 60)
                told += [f"{aim or 'at random'}: {ended.code}"]
                if ended.code != -9:
                    break
                killed += 1
                struck |= {(family, aim.event)} if aim else set()
            ended = ended if ended.code == 0 else worker.call(*self._go_on(family, folder))
            count.check(*self._same(ended, folder, family), where=f"{folder.name} ({', '.join(told)})")
            shutil.rmtree(folder, ignore_errors=True)
        known = sum(len(self.events(family)) for family in self.asked.families)
        count.more = {"kills": killed, "families": len(self.asked.families), "moments": len(struck), "of": known}
        return count

    def _aims(self, family: str) -> list[Aim | None]:
        """Each event of a run in turn, and one random moment in five."""
        return [aim for i, e in enumerate(self.events(family)) for aim in ([Aim(e), None] if i % 4 == 3 else [Aim(e)])]

    def _go_on(self, family: str, folder: Path) -> list[str]:
        """To train what has not begun, and to resume what has."""
        begun = (folder / "config.toml").is_file()
        return ["resume", folder.name, "--quiet"] if begun else self.words(family, folder.name)

    def _same(self, ended: Ended, folder: Path, family: str) -> list[str]:
        """What is wrong with a run that was to end as its reference did."""
        done = ended.code == 0 or (ended.refused and "is finished" in ended.err)
        return differences(folder, self.reference(family)) if done else [f"exit code {ended.code}: {ended.err[-500:]}"]

    def readers(self) -> Count:
        """Who reads weights while they are replaced gets one whole version, that of its header."""
        count, folder = Count(), self.folder / "readers"
        folder.mkdir()
        writer = CONTEXT.Process(target=save_often, args=(folder, self.asked.saves))
        writer.start()
        model, versions = VAE(VAEConfig(hidden=64), (1, 8, 8), 17), set()
        while writer.is_alive() or count.tries < self.asked.loads:
            if not (folder / STATE).is_file():
                assert writer.is_alive(), "nothing was saved"
                continue
            try:
                step = load_model(folder, model)["step"]
                weights, header = read_tensors(folder / STATE)
            except (LimnerError, RuntimeError) as error:
                count.check(str(error), where="load")
                continue
            versions.add(step)
            whole = all(bool((p == step).all()) for p in model.parameters())
            count.check(whole, bool((weights["all"] == header["step"]).all()), where=f"step {step}: other weights")
        writer.join()
        count.more = {"saves": self.asked.saves, "versions_seen": len(versions)}
        return count

    def writers(self) -> Count:
        """Of two that train, resume or delete a run at once, one does and the other gets one line."""
        count, worker, family = Count(), Worker(self.folder / "writers"), self.asked.families[0]
        end = time.monotonic() + 60 * self.asked.minutes
        half = worker.folder / "runs" / "half"
        worker.call(*self.words(family, "half"), aim=Aim("replaced state.safetensors", 4))
        for i in range(self.asked.pairs):
            if time.monotonic() > end:
                break
            kind, folder = ("resume", "train", "delete")[i % 3], worker.folder / "runs" / f"pair-{i}"
            first = second = ["resume", folder.name, "--quiet"]
            if kind == "train":
                first = second = self.words(family, folder.name)
            else:
                shutil.copytree(half, folder)
            if kind == "delete":
                second = ["delete", folder.name, "--yes"]
            barrier = CONTEXT.Barrier(2)
            pair = [worker.start(*words, barrier=barrier) for words in (first, second)]
            ends = [process.wait(120) for process in pair]
            lone = sum(end.code == 0 for end in ends) == 1 and sum(end.refused for end in ends) == 1
            if kind == "delete" and ends[1].code == 0:
                wrong = ["it is still there"] if folder.exists() and not is_free(folder) else []
            else:
                wrong = self._same(next((e for e in ends if e.code == 0), ends[0]), folder, family)
            count.check(lone, *wrong, where=f"{kind}: {ends}")
            shutil.rmtree(folder, ignore_errors=True)
        return count

    def evaluations(self) -> Count:
        """Four at a time, of a run that trains: each evaluation is kept."""
        count, worker, family = Count(), Worker(self.folder / "evaluations"), "made"
        folder, asked = worker.folder / "runs" / "run", self.asked.evaluations
        training = worker.start(*self.words(family, "run", "epochs=10000", "evaluations=20000", "sample_images=0"))
        training.wait_for(folder / MODEL)
        records = list[dict[str, Any]]()
        for begin in range(0, asked, 4):
            words = [["evaluate", "run", "--limit", str(i + 1), "--json"] for i in range(begin, min(begin + 4, asked))]
            four = [worker.start(*w) for w in words]
            records += [json.loads(process.wait(60).out or "{}") for process in four]
        training.wait(0)
        kept = read_evaluations(folder)
        for i, record in enumerate(records):
            count.check(record.get("n") == i + 1 and record in kept, where=f"evaluation {i}")
        count.more = {"kept": len(kept)}
        return count

    def full_disk(self) -> Count:
        """A disk that is full is one line, and nothing that was saved is lost."""
        count, worker, family = Count(), Worker(self.folder / "full"), self.asked.families[0]
        largest = max(p.stat().st_size for p in self.reference(family).rglob("*.*"))
        sizes = [int(largest * part) for part in (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.002, 0.0002)]
        for size in sizes[: 2 * self.asked.repeats - 1]:
            folder = worker.folder / "runs" / f"run-{size}"
            ended = worker.call(*self.words(family, folder.name), most=size)
            again = worker.call(*self._go_on(family, folder))
            count.check(ended.refused, *self._same(again, folder, family), where=f"{size} bytes a file: {ended}")
        for pages in (150, 20, 60, 90)[: self.asked.repeats - 1]:
            with mounted(self.folder / f"disk-{pages}", f"size={4096 * pages}") as disk:
                if disk is None:
                    continue
                small = Worker(disk)
                ended = small.call(*self.words(family, "run"))
                subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
                again = small.call(*self._go_on(family, disk / "runs" / "run"))
                wrong = self._same(again, disk / "runs" / "run", family)
                count.check(ended.code in (0, 2), "Traceback" not in ended.err, *wrong, where=f"{pages} pages: {ended}")
        return count

    def read_only(self) -> Count:
        """A run in a folder that cannot be written to is measured and sampled; what would change it gets one line."""
        count, family = Count(), self.asked.families[0]
        with mounted(self.folder / "read-only", "size=64m") as disk:
            if disk is None:
                count.more = {"skipped": "no right to mount"}
                return count
            shutil.copytree(self.reference(family), disk / "runs" / "run")
            worker = Worker(self.folder / "outside")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            run = str(disk / "runs" / "run")
            ended = worker.call("evaluate", run, "--json")
            count.check(ended.code == 0, ended.err.count("cannot be written to") == 1, where=f"evaluate {ended}")
            count.check("n" in json.loads(ended.out or "{}"), where=f"evaluate {ended}")
            for words in (["sample", run, "--out", "a.png"], ["compare", run], ["evaluate", run, "--fidelity"]):
                ended = worker.call(*words)
                count.check(ended.code == 0, "Traceback" not in ended.err, where=f"{words} {ended}")
            for words in (["sample", run], ["resume", run, "--epochs", "3"], ["delete", run, "--yes"]):
                ended = worker.call(*words)
                count.check(ended.refused, where=f"{words} {ended}")
        return count

    def moved(self) -> Count:
        """A run that is moved, also while it trains, is opened and resumed where it is."""
        count, worker, family = Count(), Worker(self.folder / "moved"), self.asked.families[0]
        (worker.folder / "elsewhere").mkdir()
        for i in range(self.asked.repeats):
            folder, there = worker.folder / "runs" / f"run-{i}", worker.folder / "elsewhere" / f"run-{i}"
            process = worker.start(*self.words(family, folder.name))
            process.wait_for(folder / "state.json")
            time.sleep(self.chance.uniform(0, 0.3))
            folder.rename(there)
            ended = process.wait(60)
            if not ended.code:
                count.check("the trainer did not notice", where=str(ended))
                continue
            again = worker.call("resume", str(there), "--quiet")
            evaluated = worker.call("evaluate", str(there), "--json", "--limit", "5")
            wrong = self._same(again, there, family)
            count.check(ended.refused, evaluated.code == 0, *wrong, where=f"{ended}, {evaluated}")
        return count


EXPERIMENTS: dict[str, Callable[[Faults], Count]] = {
    "kills": Faults.kills, "readers": Faults.readers, "writers": Faults.writers, "evaluations": Faults.evaluations,
    "full disk": Faults.full_disk, "read-only": Faults.read_only, "moved": Faults.moved,
}  # fmt: skip


def main() -> None:
    """Print a row for each experiment, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", default=list(EXPERIMENTS), choices=list(EXPERIMENTS), metavar="NAME")
    parser.add_argument("--families", nargs="+", default=list(families()), choices=list(families()), metavar="NAME")
    for name, many in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=many)
    parser.add_argument("--minutes", type=float, default=60, help="for the kills at most, and for the pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    if asked.quick:
        vars(asked).update(QUICK)
        asked.families = [f for f in ("made", "vae", "gan") if f in asked.families] or asked.families
    records = {}
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder), asked)
        for name in asked.only:
            start = time.perf_counter()
            found = EXPERIMENTS[name](faults).record()
            records[name] = found | {"seconds": round(time.perf_counter() - start, 1)}
            if not asked.json:
                print(f"{name:12} {records[name]}", flush=True)
    if asked.json:
        print(json.dumps(records))


if __name__ == "__main__":
    main()
