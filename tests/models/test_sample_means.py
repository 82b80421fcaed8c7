"""The means of p(x|z), beside the images that are drawn from it."""

import pytest
import torch

from limner.errors import LimnerError
from limner.models import families, family
from limner.models.contracts import SampleMeans
from limner.sampling import sample

NAMES = [name for name, f in families().items() if issubclass(f.model, SampleMeans)]


@pytest.mark.parametrize("name", NAMES)
def test_means_are_those_of_what_the_samples_are_drawn_from(name):
    """Draws of one code average to its mean: the codes of equal seeds are equal, whatever the uniforms."""
    chosen = family(name)
    torch.manual_seed(0)
    config = chosen.recipe("default", (1, 8, 8)).network
    model = chosen.model(config, (1, 8, 8), 2).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    drawn = sample(model, 20, generator=torch.Generator().manual_seed(3))
    means = sample(model, 20, generator=torch.Generator().manual_seed(3), means=True)
    assert torch.equal(means[:5], sample(model, 5, generator=torch.Generator().manual_seed(3), means=True))
    p = means.double() / 255
    deviation = (p * (1 - p)).sum().sqrt()
    assert abs(float((drawn.double() / 255 - p).sum())) < 4 * float(deviation)
    assert set(drawn.unique().tolist()) == {0, 255}
    assert len(means.unique()) > 10


def test_what_has_no_means_says_so():
    made = family("made")
    model = made.model(made.config(), (1, 4, 4), 2)
    with pytest.raises(LimnerError, match=r"MADE draws no image from a p\(x\|z\)"):
        sample(model, 2, means=True)
