"""The terminal's face. Every command is a function whose docstring is its help; heavy imports live inside them."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json as json_module
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from limner.errors import LimnerError

if TYPE_CHECKING:
    import torch

    from limner.data import ImageSet
    from limner.workbench import Run

__all__ = ["main"]

Fit = Literal["crop", "pad", "stretch"]
Settings = Annotated[tuple[str, ...], arg(name="set", metavar="KEY=VALUE ...")]
Source = Annotated[Positional[str], arg(metavar="SOURCE")]
RunName = Annotated[Positional[str], arg(metavar="RUN")]


def demo(out: Path = Path("demo"), quiet: bool = False) -> None:
    """Train every family on the bundled digits, minutes on a laptop; ends with a report to look at.

    Args:
        out: Folder for the runs and report.html; an earlier demo in it is replaced.
        quiet: No progress.
    """
    from limner.showcase import demo

    print(demo(out, quiet=quiet))


def data(
    source: Source, size: Annotated[str | None, arg(metavar="SIZE")] = None, fit: Fit = "crop", out: Annotated[Path | None, arg(metavar="PATH")] = None, json: bool = False
) -> None:
    """Say what a SOURCE is (count, size, channels, levels, labels, broken files) and write a contact sheet.

    Args:
        source: digits, mnist, binarized-mnist, fashion-mnist, cifar10, a folder, .zip, .npz, .npy, IDX or .amat file.
        size: Bring every picture to this size: S (square) or WIDTHxHEIGHT.
        fit: How: crop (cover, cut the borders), pad (add black borders), stretch.
        out: The contact sheet; by default contact-sheet.png in this folder.
        json: Print one JSON object.
    """
    from limner import pictures, workbench

    images = workbench.load_data(source, size=_size(size), fit=fit, quiet=json)
    path = out or Path("contact-sheet.png")
    train = images.split("train")
    shown = train.take(_spread(len(train), 2000 if images.label_names else 96))
    labels = None if train.labels is None else train.labels[_spread(len(train), 2000)]
    pictures.save_png(pictures.contact_sheet(shown, labels, images.label_names), path)
    facts = _describe(images) | {"contact_sheet": str(path)}
    if json:
        _print_json(facts)
        return
    _print_table([(k.replace("_", " "), _said(v)) for k, v in facts.items() if v not in ((), [], {})])


def train(
    model: Annotated[Positional[str], arg(metavar="MODEL")],
    data: Annotated[str, arg(metavar="SOURCE")] = "digits",
    name: Annotated[str | None, arg(metavar="NAME")] = None,
    size: Annotated[str | None, arg(metavar="SIZE")] = None,
    fit: Fit = "crop",
    levels: Annotated[int | None, arg(metavar="L")] = None,
    minutes: Annotated[float | None, arg(metavar="M")] = None,
    epochs: Annotated[float | None, arg(metavar="E")] = None,
    set: Settings = (),
    quiet: bool = False,
) -> None:
    """Train a MODEL (pixelcnn, vae) in a new run folder; progress, samples and checkpoints on the way.

    Args:
        model: pixelcnn or vae.
        data: SOURCE, see `limner data --help`.
        name: Of the run, the folder runs/NAME; by default MODEL-DATA-N.
        size: Bring every picture to this size: S (square) or WIDTHxHEIGHT.
        fit: How: crop (cover, cut the borders), pad (add black borders), stretch.
        levels: Values of a pixel, 2 to 256; by default as found.
        minutes: Time budget.
        epochs: Passes over the training split, in place of a budget.
        set: Changes to the recipe: any key of the run's config.toml, as in --set features=96 batch_size=32.
        quiet: No progress.
    """
    from limner import workbench

    run = workbench.train(
        model,
        data,
        name=name,
        size=_size(size),
        fit=fit,
        levels=levels,
        minutes=minutes,
        epochs=epochs,
        settings=set,
        quiet=quiet,
    )
    _print_outcome(run)


def resume(
    run: RunName, minutes: Annotated[float | None, arg(metavar="M")] = None, epochs: Annotated[float | None, arg(metavar="E")] = None, set: Settings = (), quiet: bool = False
) -> None:
    """Go on with a run from its last checkpoint; on CPU bit for bit as if it had never stopped.

    Args:
        run: Name (in runs/) or folder.
        minutes: A new total time budget, to train longer than planned.
        epochs: A new total of passes, to train longer than planned.
        set: Changes to the training, as in --set learning_rate=0.0005.
        quiet: No progress.
    """
    from limner import workbench

    _print_outcome(workbench.resume(run, minutes=minutes, epochs=epochs, settings=set, quiet=quiet))


def runs(json: bool = False) -> None:
    """List the runs in runs/ (or $LIMNER_RUNS) with their figures, newest first.

    Args:
        json: Print one JSON list.
    """
    from limner.runs import list_runs, runs_folder

    rows = list_runs()
    if json:
        _print_json(rows)
        return
    if not rows:
        print(f"no runs in {runs_folder()}/ yet: limner train pixelcnn --data digits makes one")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in ("run", "model", "data", "status"):
        table.add_column(column)
    for column in ("step", "validation nats", "test nats", "bits/dim"):
        table.add_column(column, justify="right")
    for r in rows:
        sign = "≤ " if r.get("bound") == "lower" else ""
        figures = [_figure(r.get("validation_nats"), 2), _figure(r.get("test_nats"), 2, sign)]
        figures.append(_figure(r.get("bits_per_dim"), 4, sign))
        source = Path(r.get("data", "")).name
        table.add_row(r["run"], r.get("model", ""), source, r["status"], f"{r.get('step', 0):,}", *figures)
    Console().print(table)


def sample(
    run: RunName,
    n: Annotated[int, arg(aliases=("-n",))] = 64,
    seed: int = 0,
    out: Annotated[Path | None, arg(metavar="PATH")] = None,
    quiet: bool = False,
) -> None:
    """Draw new pictures from a run's model into one PNG.

    Args:
        run: Name (in runs/) or folder.
        n: How many.
        seed: The same seed gives the same pictures.
        out: The PNG; by default samples-SEED.png in the run folder.
        quiet: No progress.
    """
    from limner import pictures, workbench

    opened = workbench.open_run(run)
    images = opened.sample(n, seed=seed, quiet=quiet)
    path = out or opened.folder / f"samples-{seed}.png"
    pictures.save_png(pictures.grid(images), path)
    print(path)


def evaluate(
    run: RunName,
    data: Annotated[str | None, arg(metavar="SOURCE")] = None,
    split: Literal["train", "validation", "test"] = "test",
    importance_samples: int = 1,
    limit: Annotated[int | None, arg(metavar="N")] = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Measure the likelihood: nats an image with standard error, bits/dim, exact or bound. All images are counted.

    Args:
        run: Name (in runs/) or folder.
        data: Another SOURCE, of the same shape and levels; by default the run's own.
        split: Which split.
        importance_samples: K of a VAE's bound; 1 is the ELBO, more tighten it.
        limit: Only the first so many images.
        seed: Of a bound's noise.
        json: Print one JSON object.
    """
    from limner import workbench

    record = workbench.open_run(run).evaluate(
        data, split=split, importance_samples=importance_samples, limit=limit, seed=seed, quiet=False
    )
    if json:
        _print_json(record)
        return
    sign = "≤ " if record["bound"] == "lower" else ""
    error = f" ± {record['nats_standard_error']:.3f}" if "nats_standard_error" in record else ""
    k = record.get("importance_samples", 1)
    kind = "exact" if not sign else f"bound, K = {k}" if k > 1 else "bound: the ELBO; --importance-samples tightens it"
    print(f"{record['run']} ({record['model']}) on {record['data']}, {record['split']}, {record['n']:,} images:")
    print(f"  {sign}{record['nats_per_image']:.3f}{error} nats an image, {sign}{record['bits_per_dim']:.4f} bits/dim")
    print(f"  {kind}; {record['seconds']:.1f} s")
    if "elbo_nats_per_image" in record:
        elbo, effective = record["elbo_nats_per_image"], record["effective_samples"]
        print(f"  ELBO ≤ {elbo:.3f} nats; effective samples {effective:.1f} of {k}")


def compare(
    runs: Annotated[Positional[tuple[str, ...]], arg(metavar="RUN ...")],
    split: Literal["train", "validation", "test"] = "test",
    importance_samples: int = 100,
    out: Path = Path("comparison.html"),
    json: bool = False,
) -> None:
    """Measure runs side by side and write one page: likelihoods, samples, reconstructions, curves.

    Args:
        runs: Names (in runs/) or folders.
        split: Which split of each run's data is scored.
        importance_samples: K of a VAE's bound.
        out: The page.
        json: Print one JSON list.
    """
    from limner import workbench

    path, records = workbench.compare(
        runs, out=out, split=split, importance_samples=importance_samples, quiet=False
    )
    if json:
        _print_json(records)
        return
    for r in records:
        sign = "≤ " if r.get("bound") == "lower" else ""
        nats = f"{sign}{r['nats_per_image']:.2f} nats, {sign}{r['bits_per_dim']:.4f} bits/dim" if "bound" in r else ""
        print(f"{r['run']:24} {r['model']:12} {nats or 'no likelihood'}")
    print(path)


COMMANDS = {f.__name__: f for f in (demo, data, train, resume, runs, sample, evaluate, compare)}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``limner``: bad use and bad input end with one line on stderr and exit code 2."""
    try:
        _parse(_gather_settings(list(sys.argv[1:] if argv is None else argv)))()
    except LimnerError as error:
        print(f"limner: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("limner: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


def _deferred(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    """The command with its arguments bound instead of called: parsing is one thing, running another."""

    @functools.wraps(command)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def _parse(arguments: list[str]) -> Callable[[], None]:
    """The command that ``arguments`` name.

    Raises:
        LimnerError: They cannot be parsed; tyro's box of text is folded into one line.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in COMMANDS.items()},
                prog="limner",
                description="The classic deep generative models of images, measured by the same yardstick.",
                args=arguments or ["--help"],
            )
    except SystemExit as error:
        if not error.code:
            raise
        lines = [line.strip("│╭╰╮╯─ \n") for line in said.getvalue().splitlines()[1:]]
        message = " ".join(itertools.takewhile(bool, itertools.dropwhile(lambda line: not line, lines)))
        command = f"{arguments[0]} " if arguments and arguments[0] in COMMANDS else ""
        raise LimnerError(f"{message.rstrip('.:')}; see limner {command}--help") from error


def _gather_settings(arguments: list[str]) -> list[str]:
    """``--set a=1 --set b=2`` as ``--set a=1 b=2`` at the end: both spellings may be used, and mixed."""
    rest: list[str] = []
    settings: list[str] = []
    taking = False  # the words before were --set and its values
    for word in arguments:
        if word == "--set":
            taking = True
        elif word.startswith("--set="):
            settings.append(word.removeprefix("--set="))
        elif taking and not word.startswith("-") and ("=" in word or not settings):
            settings.append(word)
        else:
            taking = False
            rest.append(word)
    return [*rest, "--set", *settings] if settings else rest


def _size(text: str | None) -> tuple[int, int] | None:
    """``28`` or ``20x28`` (width × height) as (height, width)."""
    if text is None:
        return None
    sides = text.lower().replace("×", "x").split("x")
    if not 1 <= len(sides) <= 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise LimnerError(f"--size {text}: write one number (32) or WIDTHxHEIGHT (20x28)")
    return int(sides[-1]), int(sides[0])


def _spread(n: int, most: int) -> torch.Tensor:
    """At most ``most`` positions of ``n``, evenly spread: a sorted source shows all its classes."""
    import torch

    return torch.arange(n) if n <= most else torch.linspace(0, n - 1, most).round().long()


def _describe(images: ImageSet) -> dict[str, Any]:
    c, h, w = images.shape
    counts = {name: len(split) for name, split in images.splits.items()}
    return {
        "source": images.source,
        "pictures": sum(counts.values()),
        "splits": counts,
        "size": f"{w}×{h} (width × height)",
        "channels": c,
        "levels": images.levels,
        "labels": list(images.label_names),
        "in_memory": all(split.store.in_memory for split in images.splits.values()),
        "broken": [{"file": b.path, "reason": b.reason} for b in images.broken],
        "notes": list(images.notes),
    }


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {n:,}" for name, n in value.items())
    if isinstance(value, list):
        shown = [f"{v['file']}: {v['reason']}" if isinstance(v, dict) else str(v) for v in value[:20]]
        more = [f"… and {len(value) - 20} more"] if len(value) > 20 else []
        long = any(len(s) > 24 for s in shown)
        return ("\n" if long else ", ").join(shown + more)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _figure(value: float | None, digits: int, sign: str = "") -> str:
    return "" if value is None else f"{sign}{value:.{digits}f}"


def _print_json(value: Any) -> None:
    print(json_module.dumps(value, ensure_ascii=False))


def _print_table(rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        for i, line in enumerate(text.split("\n")):
            print(f"{name if i == 0 else '':{width}}  {line}")


def _print_outcome(run: Run) -> None:
    outcome = run.outcome
    if outcome is None or outcome.interrupted:
        print(f"limner: stopped and saved; go on with `limner resume {run.name}`", file=sys.stderr)
        sys.exit(130)
    print(run.folder / "report.html")
