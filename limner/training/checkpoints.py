"""What a run leaves on the disk: weights to use, and the state to go on from. No pickles.

``model.safetensors`` holds the best weights and their moving average (``weights.*``, ``ema.*``) with the step and the
validation metric that chose them in its header. ``state.safetensors`` holds everything that a resumed run needs,
numbers included, in one file, so that a kill between two files can never leave halves that do not fit;
``state.json`` repeats the numbers for people.

A file carries a digest of its own bytes, and is read once: header and tensors are of one version, and whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.files import write_bytes, write_text

__all__ = ["load_model", "read_header", "read_tensors", "restore_module", "save_model", "save_state", "with_prefix"]

MODEL, STATE, STATE_JSON = "model.safetensors", "state.safetensors", "state.json"
DIGEST = re.compile(rb'\\"blake2b\\": \\"([\da-f]{32})\\"')  # in the header: of everything else in the file


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` under ``prefix.name``, detached, on the CPU, contiguous."""
    return {f"{prefix}.{k}": v.detach().cpu().contiguous() for k, v in tensors.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """One safetensors file with ``header`` as JSON in its metadata, written whole or not at all."""
    file = save(dict(tensors), metadata={"limner": json.dumps({"blake2b": "0" * 32, **header})})
    before, after = _around_digest(file)
    write_bytes(path, before, _digest(before, after), after)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file; its digest is checked, which older files do not have.

    Raises:
        LimnerError: The file is missing, damaged or not limner's.
    """
    if not path.is_file():
        raise LimnerError(f"{path} is missing: the run has saved no such state yet")
    try:
        file = path.read_bytes()  # once: another process may replace it meanwhile
        tensors = load(file)
        header = json.loads(json.loads(_entries(file))["__metadata__"]["limner"])
        if not isinstance(header, dict):
            raise TypeError("limner")
        if "blake2b" in header and header.pop("blake2b").encode() != _digest(*_around_digest(file)):
            raise ValueError("digest")
        return tensors, header
    except (SafetensorError, LookupError, AttributeError, TypeError, ValueError, RecursionError, OSError) as error:
        what = f"{path} is damaged or was not written by limner ({type(error).__name__})"
        raise LimnerError(f"{what}: put back a copy of it, or train a new run") from error


def read_header(path: Path) -> dict[str, Any]:
    """The header of a file alone; fails as ``read_tensors`` does."""
    return read_tensors(path)[1]


def _entries(file: bytes) -> bytes:
    """The JSON that a safetensors file begins with: metadata, and where each tensor lies."""
    return file[8 : 8 + int.from_bytes(file[:8], "little")]


def _around_digest(file: bytes) -> tuple[memoryview, memoryview]:
    """What comes before the digest of a file, and what comes after it."""
    if (found := DIGEST.search(_entries(file))) is None:
        raise ValueError("digest")
    return memoryview(file)[: 8 + found.start(1)], memoryview(file)[8 + found.end(1) :]


def _digest(*parts: memoryview) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest().encode()


def save_model(folder: Path, model: nn.Module, averaged: nn.Module, header: Mapping[str, Any]) -> None:
    """The weights to keep: ``model`` as trained and ``averaged``, the ones that are used."""
    tensors = with_prefix("weights", model.state_dict()) | with_prefix("ema", averaged.state_dict())
    write_tensors(folder / MODEL, tensors, header)


def load_model(folder: Path, model: nn.Module) -> dict[str, Any]:
    """Load the averaged weights of the run in ``folder`` into ``model``; gives the file's header.

    Raises:
        LimnerError: The file is missing, damaged, or made for another model.
    """
    tensors, header = read_tensors(folder / MODEL)
    restore_module(model, "ema", tensors, folder / MODEL)
    if not isinstance(header.setdefault("step", 0), int):
        raise LimnerError(f"{folder / MODEL} is damaged: its step is {header['step']!r}: put back a copy of it")
    return header


def restore_module(module: nn.Module, prefix: str, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load ``prefix.*`` of ``tensors`` (read from ``path``) into ``module``; every name and shape must fit.

    Raises:
        LimnerError: A tensor is missing, left over, of another shape or type, or not finite.
    """
    own = {k.removeprefix(f"{prefix}."): v for k, v in tensors.items() if k.startswith(f"{prefix}.")}
    for name, tensor in module.state_dict().items():
        if name in own and own[name].dtype != tensor.dtype:
            raise LimnerError(f"{path} does not fit this model: {name} is {own[name].dtype}, not {tensor.dtype}")
        if name in own and not own[name].isfinite().all():
            raise LimnerError(f"{path}: {prefix}.{name} is NaN or infinite: put back a copy of it, or train a new run")
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        detail = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise LimnerError(f"{path} does not fit this model: {detail}") from error


def save_state(folder: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Everything to go on from: one file for the machine, and its numbers once more for people."""
    write_tensors(folder / STATE, tensors, numbers)
    write_text(folder / STATE_JSON, json.dumps(numbers, indent=2) + "\n")
