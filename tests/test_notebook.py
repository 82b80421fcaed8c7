"""The notebook of the examples runs, cell by cell, and is stored without outputs."""

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

NOTEBOOK = Path(__file__).parents[1] / "examples" / "your_own_images.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_it_is_a_notebook_of_version_4_without_outputs(notebook):
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    for cell in notebook["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        fields |= {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == fields
        assert all(isinstance(line, str) for line in cell["source"])
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def test_it_runs(notebook, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_RUNS", raising=False)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    there = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), there)
    assert "exact draws" in capsys.readouterr().out
    assert there["samples"].shape == (16, 1, 12, 12)
    assert there["completions"].images.shape == (6, 1, 12, 12)
    given = torch.from_numpy(there["images"][0, :6])
    assert (there["completions"].images[:, 0, :6] == given).all()
    assert there["codes"].shape == (500, 2)
    likely, odd = (there["pixelcnn"].log_prob(there[name]) for name in ("test", "noise"))
    assert likely.min() > odd.max()
    assert (tmp_path / "runs" / "shapes-vae" / "report.html").is_file()
    assert isinstance(there["limner"].grid(there["samples"]), Image.Image)
    assert repr(there["vae"]).endswith("step 144, finished)")  # 12 epochs of 12 batches
