"""Moved training images: how far, how often, and the same again after a resume."""

import pytest
import torch
from lightning_fabric import Fabric

from limner.data import Batch, MemoryStore, Split
from limner.models.recipes import AdversarialConfig, TrainingConfig
from limner.models.vae import VAE, VAEConfig
from limner.training.augmentation import augmented, bent_places, moved
from limner.training.loop import train
from limner.training.objectives import SingleLoss


def colours(n, height=6, width=5):
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_image_moves_down_and_right_and_its_edges_are_repeated():
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]], dtype=torch.uint8)
    offsets = torch.tensor([[1, 0], [0, 1], [-1, -1], [0, 0], [5, -5]]).view(5, 2, 1, 1)
    assert moved(image.expand(5, -1, -1, -1), offsets)[:, 0].tolist() == [
        [[1, 2, 3], [1, 2, 3]],
        [[1, 1, 2], [4, 4, 5]],
        [[5, 6, 6], [5, 6, 6]],
        [[1, 2, 3], [4, 5, 6]],
        [[3, 3, 3], [3, 3, 3]],
    ]


def test_channels_and_neighbours_move_each_as_one():
    images = colours(4)
    found = moved(images, torch.tensor([[1, 2]] * 4).view(4, 2, 1, 1))
    assert torch.equal(found[:, :, 1:, 2:], images[:, :, :-1, :-2])


def test_a_field_is_smooth_and_rounded_up_with_the_chance_of_its_fraction():
    level = bent_places(torch.full((10_000, 2, 5, 5), 1.3), 9, 7, torch.rand(10_000, 2, 1, 1)).float()
    assert level.shape == (10_000, 2, 9, 7)
    assert set(level.flatten().tolist()) == {1.0, 2.0}
    assert level.mean().item() == pytest.approx(1.3, abs=0.02)
    slope = torch.arange(-2.0, 3.0).expand(1, 2, 5, 5)  # from -2 to 2 along the rows: a pixel further each
    assert bent_places(slope, 3, 5, torch.full((1, 2, 1, 1), 0.5))[0, 0].tolist() == [[-2, -1, 0, 1, 2]] * 3


def test_a_bent_image_has_the_levels_of_the_data_and_most_of_its_pixels():
    rows = torch.arange(28, dtype=torch.uint8).view(1, 1, 28, 1).expand(200, 3, 28, 28)
    bent = augmented(Batch(rows), TrainingConfig(augment="elastic"), 1.0, 0).images
    far = (bent.int() - rows.int())[:, :, 8:20]
    assert torch.equal(bent[:, 0], bent[:, 2])
    assert far.float().std().item() == pytest.approx(0.9, abs=0.15)  # 1 at knots, less between them, and the rounding
    assert (far.diff(dim=3).abs() <= 2).all()
    assert len(far.flatten(1).unique(dim=0)) > 190


@pytest.mark.parametrize(("factor", "part"), [(1.0, 24 / 25), (0.5, 0.4 * 24 / 25), (1 / 6, 0), (0.0, 0)])
def test_moves_become_rarer_with_the_learning_rate(factor, part):
    batch = Batch(colours(4000), torch.arange(4000))
    config = TrainingConfig(augment="shift=2")
    other = augmented(batch, config, factor, 7)
    assert other.labels is batch.labels
    differs = (other.images != batch.images).flatten(1).any(1).float().mean().item()
    assert differs == pytest.approx(part, abs=0.03 if part else 0)


def test_they_are_a_function_of_seed_and_step():
    batch = Batch(colours(64))
    first = augmented(batch, TrainingConfig(augment="shift=1"), 1.0, 3).images
    torch.manual_seed(5)
    assert torch.equal(first, augmented(batch, TrainingConfig(augment="shift=1"), 1.0, 3).images)
    assert not torch.equal(first, augmented(batch, TrainingConfig(augment="shift=1"), 1.0, 4).images)
    assert not torch.equal(first, augmented(batch, TrainingConfig(augment="shift", seed=1), 1.0, 3).images)
    assert augmented(batch, TrainingConfig(), 1.0, 3) is batch
    assert augmented(batch, TrainingConfig(augment="shift=1,elastic"), 0.0, 3) is batch
    bent = [
        augmented(batch, TrainingConfig(augment=f"shift=1,elastic={elastic}"), 1.0, 3).images
        for elastic in (1.0, 1.0, 0.5)
    ]
    assert torch.equal(bent[0], bent[1])
    assert not torch.equal(bent[0], bent[2])


def test_a_run_begins_with_moved_images_and_ends_with_the_datas_own(tmp_path):
    images = 255 * torch.eye(9, dtype=torch.uint8).view(9, 1, 3, 3)[4:5].expand(40, -1, -1, -1)  # a dot in the middle
    config = TrainingConfig(
        augment="shift", epochs=30, batch_size=40, warmup_steps=0, cooldown=0.5, sample_images=0, precision="float32"
    )
    seen = []

    class Watched(SingleLoss):
        def step(self, batch, factor, step):
            seen.append((batch.images[:, 0, 1, 1] == 255).float().mean().item())
            return super().step(batch, factor, step)

    split = Split(MemoryStore(images))
    model = VAE(VAEConfig(latent=1, network="dense", hidden=4), (1, 3, 3), 2)
    train(Watched(model, config, Fabric(accelerator="cpu", devices=1)), split, split, tmp_path)
    assert sum(seen[:15]) / 15 == pytest.approx(1 / 9, abs=0.05)
    assert 1 / 9 < sum(seen[15:28]) / 13 < 0.9
    assert seen[28:] == [1.0] * 2


def test_half_of_the_images_are_mirrored_to_the_end():
    batch = Batch(colours(2000))
    for factor in (1.0, 0.01):
        images = augmented(batch, TrainingConfig(augment="flip"), factor, 3).images
        mirrored = (images == batch.images.flip(-1)).flatten(1).all(1)
        assert torch.equal(images[~mirrored], batch.images[~mirrored])
        assert mirrored.double().mean().item() == pytest.approx(0.5, abs=0.04)
    both = augmented(batch, TrainingConfig(augment="flip,shift"), 1.0, 3).images
    assert not torch.equal(both, images)
    assert augmented(batch, AdversarialConfig(augment="cutout"), 1.0, 3) is batch
