"""The small half of ``python -m benchmarks.samplers``: what is drawn has the model's own probabilities."""

import pytest

from benchmarks import samplers

DRAWS = 4000


def test_every_sampler_draws_each_image_as_often_as_it_is_probable():
    ps = {}
    for name, size in (
        ("pixelcnn", "2×2 of four levels"),
        ("patch-pixelcnn of patches", "2×4 binary"),
        ("made of three orders", "3×3 binary"),
        ("multi-scale-pixelrnn", "2×2 of four levels"),
    ):
        ps |= {tuple(record.values())[:4]: record["p"] for record in samplers.checks(DRAWS, [name], [size])}
    assert len(ps) > 30
    assert [sampler for sampler, p in ps.items() if not p > samplers.SIGNIFICANCE / len(ps)] == []


@pytest.mark.parametrize("fault", samplers.FAULTS)
def test_a_planted_fault_is_caught(fault):
    assert samplers.caught(fault, DRAWS)
