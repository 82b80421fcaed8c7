"""Who looks at which images: training leaves the test split alone."""

import traceback
from dataclasses import replace

import pytest

from limner import workbench
from limner.data import Split
from limner.data.imageset import MemoryStore
from limner.evaluation import features


class Watched(MemoryStore):
    """Notes which functions of limner asked for its images."""

    def take(self, indices):
        takers.append([f.name for f in traceback.extract_stack() if "limner" in f.filename])
        return super().take(indices)


takers = []


@pytest.mark.parametrize(("model", "settings"), [("gan", ["keep=best"]), ("vae", [])])
def test_training_takes_no_image_of_the_test_split(tmp_path, tiny, monkeypatch, model, settings):
    monkeypatch.setattr(features, "EPOCHS", 1)
    digits = workbench.load_data("digits")
    test = digits.splits["test"]
    watched = Split(Watched(test.store.images), test.labels)
    data = replace(digits, splits={**digits.splits, "test": watched})
    takers.clear()
    run = workbench.train(model, data, runs=tmp_path, epochs=0.1, settings=[*tiny[model], "evaluations=1", *settings])
    assert (run.folder / "report.html").is_file()
    others = [names for names in takers if "_fingerprint" not in names]  # which notices that the data has changed
    assert others == []
    if model == "vae":  # the watch works
        run.evaluate(limit=10, importance_samples=1)
        assert any("evaluate" in names for names in takers)
