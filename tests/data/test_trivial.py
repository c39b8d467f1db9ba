"""TrivialAugment: every operation against Pillow, groups, streams, and data left alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms import TrivialAugmentWide

from autosd.data import trivial
from autosd.data.trivial import LEVELS, OPERATIONS, apply_groups, group_sizes, trivial_augment
from autosd.streams import generator

CPU = torch.device("cpu")
SIDE = 32
EXACT = {"identity", "posterize", "solarize", "equalize"}
TIES = 0.05  # at 135 degrees many places lie between two pixels


def images(channels: int, count: int = 4, height: int = SIDE, width: int = SIDE + 4) -> Tensor:
    """Smooth pictures with some noise, so that histograms and edges are those of pictures."""
    numbers = np.random.default_rng(0)
    down = np.linspace(0, 3, height)[:, None, None]
    across = np.linspace(0, 4, width)[None, :, None]
    phase = numbers.uniform(0, 6, (count, 1, 1, channels))
    waves = 110 + 70 * np.sin(down + across + phase) * np.cos(2 * across - phase)
    noisy = waves + numbers.normal(0, 15, (count, height, width, channels))
    return torch.from_numpy(noisy.clip(20, 240).astype(np.uint8))


def picture(row: Tensor) -> Image.Image:
    values = row.numpy()
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def strength(level: int, sign: int) -> float:
    return sign * level / LEVELS


def affine(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


PILLOW: dict[str, Callable[[Image.Image, int, int], Image.Image]] = {
    "shear_x": lambda image, n, s: affine(image, 1, 0.99 * strength(n, s), 0, 0, 1, 0),
    "shear_y": lambda image, n, s: affine(image, 1, 0, 0, 0.99 * strength(n, s), 1, 0),
    "translate_x": lambda image, n, s: affine(image, 1, 0, int(32 * strength(n, s)), 0, 1, 0),
    "translate_y": lambda image, n, s: affine(image, 1, 0, 0, 0, 1, int(32 * strength(n, s))),
    "rotate": lambda image, n, s: image.rotate(135 * strength(n, s)),
    "brightness": lambda image, n, s: ImageEnhance.Brightness(image).enhance(
        1 + 0.99 * strength(n, s)
    ),
    "color": lambda image, n, s: ImageEnhance.Color(image).enhance(1 + 0.99 * strength(n, s)),
    "contrast": lambda image, n, s: ImageEnhance.Contrast(image).enhance(1 + 0.99 * strength(n, s)),
    "sharpness": lambda image, n, s: ImageEnhance.Sharpness(image).enhance(
        1 + 0.99 * strength(n, s)
    ),
    "posterize": lambda image, n, s: ImageOps.posterize(image, 8 - round(n / 5)),
    "solarize": lambda image, n, s: ImageOps.solarize(image, 255 - 8.5 * n),
    "auto_contrast": lambda image, n, s: ImageOps.autocontrast(image),
    "equalize": lambda image, n, s: ImageOps.equalize(image),
    "identity": lambda image, n, s: image,
}


def alone(operation: str, pixels: Tensor, level: int, sign: int) -> Tensor:
    """All rows under one operation."""
    sizes = [len(pixels) * (name == operation) for name in OPERATIONS]
    every = torch.ones(len(pixels), dtype=torch.int64)
    return apply_groups(pixels, level * every, sign * every, sizes)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_is_that_of_pillow(operation: str, channels: int) -> None:
    pixels = images(channels)
    for level in (0, 1, 7, 15, 22, 30):
        for sign in (1, -1):
            ours = alone(operation, pixels, level, sign)
            assert ours.dtype == torch.uint8
            for row, changed in zip(pixels, ours, strict=True):
                other = np.asarray(PILLOW[operation](picture(row), level, sign))
                gap = np.abs(changed.numpy().astype(int) - other.reshape(changed.shape))
                if operation in trivial.GEOMETRY:
                    assert (gap > 0).mean() < TIES
                else:
                    assert gap.max() <= (0 if operation in EXACT else 1)


def test_the_space_is_the_wide_one_of_torchvision() -> None:
    space = TrivialAugmentWide()._augmentation_space(LEVELS + 1)
    theirs = {name.lower(): float(values.abs().max()) for name, (values, _) in space.items()}
    assert len(theirs) == len(OPERATIONS)
    assert set(theirs) == {name.replace("_", "") for name in OPERATIONS}
    assert theirs["shearx"] == pytest.approx(trivial.SHEAR)
    assert theirs["translatex"] == trivial.SHIFT
    assert theirs["rotate"] == trivial.DEGREES
    assert theirs["sharpness"] == pytest.approx(trivial.STRENGTH)
    assert space["Posterize"][0].min() == 8 - trivial.BITS


@pytest.mark.parametrize("operation", ["auto_contrast", "equalize"])
def test_a_constant_image_stays_as_it_is(operation: str) -> None:
    pixels = torch.full((2, 8, 8, 3), 77, dtype=torch.uint8)
    assert torch.equal(alone(operation, pixels, 0, 1), pixels)


def test_a_small_image_is_moved_by_no_more_than_its_side() -> None:
    pixels = images(1, height=8, width=8)
    assert not alone("translate_x", pixels, 30, 1).any()
    half = alone("translate_x", pixels, 15, -1)
    assert torch.equal(half[:, :, 4:], pixels[:, :, :4])


def drawn(pixels: Tensor, step: int = 0) -> Tensor:
    return trivial_augment(
        pixels, generator(CPU, 0, 0, step, "trivial.0"), generator(CPU, 0, 0, step, "groups")
    )


@pytest.mark.parametrize("batch", [1, 5, 14, 33])
def test_equal_streams_augment_equally_and_the_data_are_left_alone(batch: int) -> None:
    pixels = images(3, count=batch)
    kept = pixels.clone()
    first, again, later = drawn(pixels), drawn(pixels), drawn(pixels, step=1)
    assert torch.equal(pixels, kept)
    assert first.shape == pixels.shape
    assert first.is_contiguous()
    assert torch.equal(first, again)
    assert batch == 1 or not torch.equal(first, later)


def test_each_row_stays_at_its_place() -> None:
    levels = torch.arange(40, dtype=torch.uint8) * 5 + 20
    flat = levels[:, None, None, None].expand(-1, 8, 8, 3).contiguous()
    untouched = (drawn(flat) == flat).flatten(1).all(1)
    assert untouched.float().mean() > 0.2


def test_every_row_has_every_operation_equally_often() -> None:
    tries, batch = 4000, 5
    counts = torch.zeros(len(OPERATIONS))
    for step in range(tries):
        sizes = group_sizes(batch, generator(CPU, 0, 0, step, "groups"))
        assert sum(sizes) == batch
        assert max(sizes) - min(sizes) <= 1
        counts += torch.tensor(sizes)
    expected = tries * batch / len(OPERATIONS)
    assert (counts - expected).abs().max() < 5 * expected**0.5
