"""Spherical walks, arithmetic on averaged latents, the plane: on models so simple that the answer is known."""

import math

import pytest
import torch

from limner import sampling
from limner.errors import LimnerError
from limner.sampling import latent
from limner.sampling.latent import LabelledLatents

FACTORS = torch.tensor([[40.0, 0.0, 0.0], [0.0, 40.0, 0.0], [0.0, 0.0, 40.0]])


class Linear:
    """A decoder of one factor a pixel, 100 + 40 z, without an encoder: z is read off the image."""

    def latents(self, n, *, generator=None):
        return torch.randn(n, 3, generator=generator)

    def decode(self, z, labels=None):
        return (100 + z @ FACTORS).round().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 3)


class Encoder(Linear):
    """The same with its inverse."""

    def encode(self, images, labels=None):
        return (images.flatten(1).float() - 100) / 40

    def reconstruct(self, images, labels=None):
        return self.decode(self.encode(images))


class Autoencoder:
    """The same without a prior."""

    encode, decode, reconstruct = Encoder.encode, Linear.decode, Encoder.reconstruct


def angle(a, b):
    return torch.acos((torch.nn.functional.normalize(a, dim=-1) * torch.nn.functional.normalize(b, dim=-1)).sum(-1))


def test_slerp_keeps_ends_norms_and_pace():
    a, b = torch.randn(2, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    b = b * a.norm() / b.norm()
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    walk = sampling.slerp(a, b, t)
    torch.testing.assert_close(walk[0], a)
    torch.testing.assert_close(walk[-1], b)
    torch.testing.assert_close(walk.norm(dim=1), a.norm().expand(11))
    torch.testing.assert_close(angle(walk[:-1], walk[1:]), (angle(a, b) / 10).expand(10))


def test_slerp_of_different_lengths_passes_evenly_between_them():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    walk = sampling.slerp(a, b, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(walk, torch.tensor([[2.0, 0.0], [4.5**0.5, 4.5**0.5], [0.0, 4.0]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("b", [[3.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
def test_slerp_along_a_line(b):
    a, b = torch.tensor([1.0, 0.0]), torch.tensor(b)
    walk = sampling.slerp(a, b, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(walk, torch.stack([a, 0.75 * a + 0.25 * b, b]))


def test_slerp_of_equal_ends_stays_there_whatever_rounding_makes_of_their_angle():
    """The product of a unit vector with itself may round to more than 1, which has no arc cosine."""
    generator = torch.Generator().manual_seed(0)
    beyond = 0
    for _ in range(200):
        a = torch.randn(40, generator=generator)
        beyond += float((a / a.norm()) @ (a / a.norm())) > 1
        walk = sampling.slerp(a, a.clone(), torch.tensor([0.0, 0.5, 1.0]))
        torch.testing.assert_close(walk, a.expand(3, -1))
    assert beyond > 10


def test_interpolation_starts_and_ends_where_it_should():
    model = Linear()
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    images = sampling.interpolate(model, a, b, 3)
    assert images.flatten(1).tolist() == [[140, 100, 100], [128, 128, 100], [100, 140, 100]]
    assert torch.equal(sampling.interpolate(model, a, b, 2), images[[0, 2]])
    assert len(sampling.interpolate(model, a, b)) == 10
    with pytest.raises(LimnerError, match="not 1"):
        sampling.interpolate(model, a, b, 1)


def test_codes_without_a_prior_are_joined_by_a_line():
    """Half way the great circle is at (0.7, 0.7), the line at (0.5, 0.5)."""
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    images = sampling.interpolate(Autoencoder(), a, b, 3)
    assert images.flatten(1).tolist() == [[140, 100, 100], [120, 120, 100], [100, 140, 100]]


def test_a_traversal_changes_one_latent_a_row():
    base = torch.tensor([0.5, -0.5, 1.0])
    values = torch.tensor([[-1.0, 1.0], [0.0, 2.0]])
    images = sampling.traversal(Linear(), base, values, torch.tensor([2, 0]))
    assert images.flatten(1).tolist() == [[120, 80, 60], [120, 80, 140], [100, 80, 140], [180, 80, 140]]


def test_many_images_and_latents_go_through_in_parts():
    images = torch.randint(20, 180, (1203, 1, 1, 3), dtype=torch.uint8)
    codes = sampling.encode_all(Encoder(), images)
    assert torch.equal(codes, Encoder().encode(images))
    assert torch.equal(sampling.decode_all(Encoder(), codes), images)


def test_two_dimensional_codes_are_their_own_map():
    codes = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    found = sampling.latent_map(codes)
    assert torch.equal(found.points, codes)
    assert found.explained is None
    assert found.axes == ("z0", "z1")


def test_a_map_keeps_the_distances_of_codes_that_lie_in_a_plane():
    """Along two orthogonal directions of five with deviations 3 : 1, so 90 % and 10 % of the variance."""
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(5, 2, generator=generator, dtype=torch.float64))
    plane = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    plane, _ = torch.linalg.qr(plane - plane.mean(0))  # uncorrelated, of equal variance
    plane = plane * torch.tensor([3.0, 1.0], dtype=torch.float64)
    codes = plane @ basis.T + 7
    found = sampling.latent_map(codes)
    torch.testing.assert_close(torch.pdist(found.points), torch.pdist(codes))
    assert found.explained == pytest.approx((0.9, 0.1))
    assert found.axes == ("first principal component, 90% of the variance", "second, 10% of the variance")


@pytest.mark.parametrize("shape", [(10, 1), (1, 3)])
def test_a_map_needs_a_plane(shape):
    with pytest.raises(LimnerError, match=f"not {shape[1]} and {shape[0]}"):
        sampling.latent_map(torch.zeros(shape))


def image(*pixels):
    return torch.tensor(pixels, dtype=torch.uint8).view(-1, 1, 1, 3)


def test_arithmetic_on_codes_is_arithmetic_on_images():
    """What a linear model decodes of mean z is the mean image, so a - b + c can be said in pixels."""
    images = image([140, 100, 100], [160, 100, 100], [100, 120, 100], [100, 100, 180], [100, 140, 160])
    labels = torch.tensor([0, 0, 1, 2, 2])
    codes = sampling.labelled_latents(Encoder(), images, labels)
    assert codes.encoded
    found = sampling.analogy(Encoder(), codes, (0, 1, 2))
    assert found.counts == (2, 1, 2)
    assert found.means.flatten(1).tolist() == [[150, 100, 100], [100, 120, 100], [100, 120, 170], [150, 100, 170]]
    assert torch.equal(found.before, images[3:])
    assert found.after.flatten(1).tolist() == [[150, 80, 180], [150, 120, 160]]


def test_drawn_latents_get_the_class_of_their_neighbours():
    """Training images whose class is the sign of the first factor: so is that of the latents."""
    model = Linear()
    images = model.decode(model.latents(3000, generator=torch.Generator().manual_seed(1)))
    labels = (images[:, 0, 0, 0] > 100).long()
    found = sampling.labelled_latents(model, images, labels, 500, generator=torch.Generator().manual_seed(2))
    assert not found.encoded
    assert 300 < len(found.z) < 500  # those at the border are left out
    assert ((found.z[:, 0] > 0).long() == found.labels).double().mean() > 0.99


def test_averages_of_drawn_latents_are_brought_to_their_length():
    z = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.1]])
    found = sampling.analogy(Linear(), LabelledLatents(z, torch.arange(3), encoded=False), (0, 1, 2))
    assert found.means[0].flatten().tolist() == [169, 100, 100]  # 40 √3
    assert found.means[3].flatten().tolist() == [140, 60, 140]


def test_a_class_without_latents_is_named():
    codes = sampling.labelled_latents(Encoder(), image([100, 100, 100]), torch.tensor([4]))
    with pytest.raises(LimnerError, match="class 7"):
        sampling.analogy(Encoder(), codes, (4, 7, 4))


def test_nearly_parallel_latents_are_joined_by_a_line():
    """Below an angle of a ten-thousandth a great circle would be sin(x) / sin(x) of rounding; above it, it is one."""
    a, t = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.5]).double()
    for angle_, curved in ((1e-5, False), (0.5e-4, False), (2e-4, True), (torch.pi - 1e-5, False), (3.0, True)):
        b = 2 * torch.tensor([math.cos(angle_), math.sin(angle_)], dtype=torch.float64)
        half = sampling.slerp(a, b, t)[0]
        assert torch.equal(half, (a + b) / 2) != curved
        if curved:
            assert half.norm().item() == pytest.approx(1.5)


def test_a_mean_of_latents_shows_at_most_so_many_single_ones():
    z = torch.arange(36.0).view(12, 3) / 36
    found = sampling.analogy(Linear(), LabelledLatents(z, torch.zeros(12).long(), encoded=True), (0, 0, 0))
    assert found.counts == (12, 12, 12)
    assert torch.equal(found.before, Linear().decode(z[:8]))
    assert torch.equal(found.after, found.before)
    assert torch.equal(found.means, Linear().decode(z.mean(0).expand(4, 3)))


def test_five_neighbours_have_to_agree():
    """Of seven images the five nearest decide; where there are fewer, all."""
    near = image([100, 100, 100]).expand(4, 1, 1, 3)
    far = image([0, 0, 0], [255, 255, 255], [255, 0, 0])
    images = torch.cat([near, image([101, 100, 100]), far])

    class Middle(Linear):
        def latents(self, n, *, generator=None):
            return torch.zeros(n, 3)

    for fifth, kept in ((0, 6), (1, 0)):
        labels = torch.tensor([0, 0, 0, 0, fifth, 1, 1, 1])
        found = sampling.labelled_latents(Middle(), images, labels, 6)
        assert len(found.z) == len(found.labels) == kept
    found = sampling.labelled_latents(Middle(), images[:3], torch.zeros(3).long(), 6)
    assert found.labels.tolist() == [0] * 6
    assert len(sampling.labelled_latents(Middle(), images[:3], torch.zeros(3).long()).z) == 2000


def test_the_parts_are_of_so_many_images(monkeypatch):
    monkeypatch.setattr(latent, "images_at_once", lambda model, most: min(most, 7))

    class Watched(Encoder):
        def __init__(self):
            self.sizes = []

        def encode(self, images, labels=None):
            self.sizes.append((len(images), None if labels is None else labels.tolist()))
            return super().encode(images)

        def decode(self, z, labels=None):
            self.sizes.append((len(z), None if labels is None else labels.tolist()))
            return super().decode(z)

    model = Watched()
    codes = sampling.encode_all(model, image(*[[100, 100, 100]] * 15), torch.arange(15))
    sampling.decode_all(model, codes, 3)
    sampling.decode_all(model, codes[:7], torch.arange(7))
    assert model.sizes == [
        (7, list(range(7))), (7, list(range(7, 14))), (1, [14]), (7, [3] * 7), (7, [3] * 7), (1, [3]),
        (7, list(range(7))),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2)])
def test_a_map_of_few_codes(shape):
    found = sampling.latent_map(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert found.points.shape == (shape[0], 2)
    assert (found.explained is None) == (shape[1] == 2)
