"""A network that the machine cannot train is refused before anything is allocated for it."""

import re

import pytest
import torch

from limner.config.settings import with_settings
from limner.errors import LimnerError
from limner.models import families
from limner.training import memory


@pytest.mark.parametrize("name", families())
def test_every_familys_parameters_are_counted_without_building_it(name, tiny, monkeypatch):
    family = families()[name]
    recipe = with_settings(family.recipe("default", (1, 8, 8)), tiny[name], name)

    def build():
        return family.model(recipe.network, (1, 8, 8), 17)

    parameters = sum(p.numel() for p in build().parameters())
    before = torch.get_rng_state()
    monkeypatch.setattr(memory, "_machine_memory", lambda: 20 * parameters)
    memory.check_fits(build)
    monkeypatch.setattr(memory, "_machine_memory", lambda: 20 * parameters - 1)
    with pytest.raises(LimnerError, match=f"has {parameters:,} parameters or more"):
        memory.check_fits(build)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.nn.modules.module._global_parameter_registration_hooks


def test_what_cannot_be_made_without_memory_is_not_checked():
    memory.check_fits(lambda: torch.ones(3).numpy())


@pytest.mark.parametrize(
    ("model", "setting", "said"),
    [
        ("vae", "hidden=1000000", r"has [0-9,]+ parameters or more, and training needs [0-9,]+ GB for them; this"),
        ("patch-pixelcnn", "blocks=1000000", "has more than 300 layers' weights and biases: choose a smaller network"),
        ("made", "orders=1000000", "orders=1000000 of 64 values each"),
    ],
)
def test_too_large_a_network_is_one_line(tmp_path, monkeypatch, refused, model, setting, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(memory, "MOST_TENSORS", 300)
    line = refused("train", model, "--quiet", "--set", setting)
    assert re.search(said, line)
    assert list(tmp_path.iterdir()) == []
