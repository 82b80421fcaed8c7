"""Files of tensors: what is read is what was written, and everything else is refused by the file's name."""

import json

import pytest
import torch
from torch import nn

from limner.errors import LimnerError
from limner.training import checkpoints
from limner.training.checkpoints import (
    load_model,
    read_header,
    read_tensors,
    restore_module,
    save_model,
    save_state,
    with_prefix,
    write_tensors,
)

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.tensor([True, False]), "empty": torch.zeros(0, 3)}
HEADER = {"step": 7, "validation": {"nll": 1.5}, "text": "ä \\ \" '"}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def test_tensors_and_header_come_back(tmp_path):
    write_tensors(tmp_path / "a", TENSORS, HEADER)
    tensors, header = read_tensors(tmp_path / "a")
    assert same(tensors, TENSORS)
    assert header == HEADER == read_header(tmp_path / "a")


def test_the_digest_is_of_all_other_bytes(tmp_path):
    """A change of any byte is noticed, but in the name of the digest: then it is a file of an older version."""
    path, tensors = tmp_path / "a", {"a": torch.arange(3.0)}
    write_tensors(path, tensors, {"step": 7})
    whole = path.read_bytes()
    write_tensors(tmp_path / "b", tensors, {"step": 7})
    assert (tmp_path / "b").read_bytes() == whole
    name = range(whole.index(b"blake2b"), whole.index(b"blake2b") + 7)
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        if i in name:
            read, header = read_tensors(path)
            assert same(read, tensors)
            assert header["step"] == 7
        else:
            with pytest.raises(LimnerError, match="damaged or was not written by limner"):
                read_tensors(path)


def test_a_file_of_an_older_version_has_no_digest(tmp_path):
    from safetensors.torch import save_file

    save_file(TENSORS, tmp_path / "a", metadata={"limner": json.dumps({"step": 3})})
    tensors, header = read_tensors(tmp_path / "a")
    assert same(tensors, TENSORS)
    assert header == {"step": 3}
    save_file(TENSORS, tmp_path / "a", metadata={"limner": json.dumps([{"step": 3}])})
    with pytest.raises(LimnerError, match="TypeError"):
        read_tensors(tmp_path / "a")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(LimnerError, match="is missing: the run has saved no such state yet"):
        read_tensors(tmp_path / "a")


def test_tensors_are_kept_apart_from_the_model(tmp_path):
    model = nn.Linear(3, 2)
    kept = with_prefix("x", {"w": model.weight, "turned": model.weight.T})
    assert list(kept) == ["x.w", "x.turned"]
    assert not any(t.requires_grad for t in kept.values())
    assert all(t.is_contiguous() for t in kept.values())


def test_both_weights_are_kept_and_the_averaged_ones_used(tmp_path):
    model, averaged, other = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)
    save_model(tmp_path, model, averaged, {"step": 5})
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_model(tmp_path, other) == {"step": 5}
    assert torch.equal(other.weight, averaged.weight)
    tensors, _ = read_tensors(tmp_path / "model.safetensors")
    assert torch.equal(tensors["weights.weight"], model.weight)
    save_model(tmp_path, model, averaged, {})
    assert load_model(tmp_path, other) == {"step": 0}
    save_model(tmp_path, model, averaged, {"step": "5"})
    with pytest.raises(LimnerError, match="is damaged: its step is '5'"):
        load_model(tmp_path, other)


def test_what_does_not_fit_is_named(tmp_path):
    good = with_prefix("ema", nn.Linear(3, 2).state_dict()) | {"weights.weight": torch.zeros(9)}
    restore_module(nn.Linear(3, 2), "ema", good, tmp_path)
    for change, words in (
        ({"ema.bias": None}, r'does not fit this model: Missing key\(s\).*"bias"'),
        ({"ema.more": torch.zeros(1)}, r'does not fit this model: Unexpected key\(s\).*"more"'),
        ({"ema.bias": torch.zeros(3)}, r"does not fit this model: size mismatch for bias"),
        ({"ema.bias": torch.zeros(2).double()}, r"does not fit this model: bias is torch.float64, not torch.float32"),
        ({"ema.bias": torch.tensor([0.0, torch.inf])}, r"ema.bias is NaN or infinite"),
        ({"ema.bias": torch.tensor([0.0, torch.nan])}, r"ema.bias is NaN or infinite"),
    ):
        bad = {k: v for k, v in (good | change).items() if v is not None}
        with pytest.raises(LimnerError, match=words):
            restore_module(nn.Linear(3, 2), "ema", bad, tmp_path)


def test_the_numbers_are_written_again_for_people(tmp_path):
    save_state(tmp_path, TENSORS, {"step": 3, "log": {"loss": [1.5, 2]}})
    tensors, header = read_tensors(tmp_path / checkpoints.STATE)
    assert same(tensors, TENSORS)
    assert header == {"step": 3, "log": {"loss": [1.5, 2]}}
    assert (tmp_path / "state.json").read_text() == json.dumps(header, indent=2) + "\n"
