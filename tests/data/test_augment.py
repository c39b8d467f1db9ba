from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosd.data.augment import Normalise, crop_and_flip, erase, erasing_size
from autosd.streams import generator

from ..strategies.golden import cases

CPU = torch.device("cpu")


def stream(seed: int = 0) -> torch.Generator:
    return generator(CPU, seed, 0, 0, "augment.0")


def pixels(batch: int, height: int, width: int, channels: int) -> torch.Tensor:
    """Every pixel of a row different from its neighbours, none 0."""
    count = batch * height * width * channels
    values = torch.arange(count, dtype=torch.int64) * 7 % 255 + 1
    return values.to(torch.uint8).view(batch, height, width, channels)


def crops_of(image: np.ndarray, pad: int, flip: bool) -> list[bytes]:
    """All images that one may become, written as slow loops."""
    height, width, channels = image.shape
    padded = np.zeros((height + 2 * pad, width + 2 * pad, channels), dtype=np.uint8)
    padded[pad : pad + height, pad : pad + width] = image
    found = []
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            cut = padded[top : top + height, left : left + width]
            found += [cut.tobytes(), cut[:, ::-1].tobytes()] if flip else [cut.tobytes()]
    return found


@given(
    st.integers(1, 6),
    st.integers(3, 6),
    st.integers(3, 6),
    st.sampled_from([1, 3]),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_each_row_becomes_one_of_its_own_crops(
    batch: int, height: int, width: int, channels: int, pad: int, flip: bool, seed: int
) -> None:
    before = pixels(batch, height, width, channels)
    kept = before.clone()
    after = crop_and_flip(before, pad, flip, stream(seed))
    assert after.shape == before.shape
    assert torch.equal(before, kept)
    for row in range(batch):
        assert after[row].numpy().tobytes() in crops_of(before[row].numpy(), pad, flip)


def test_all_crops_come_up_equally_often() -> None:
    image = pixels(1, 4, 4, 1)
    after = crop_and_flip(image.expand(18_000, -1, -1, -1), 1, True, stream())
    seen = [row.tobytes() for row in after.numpy()]
    counts = [seen.count(crop) for crop in crops_of(image[0].numpy(), 1, True)]
    assert sum(counts) == 18_000
    assert 800 < min(counts) <= max(counts) < 1200


def test_equal_streams_augment_equally_and_others_do_not() -> None:
    images = pixels(32, 8, 8, 3)
    first, again = (crop_and_flip(images, 2, True, stream()) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, crop_and_flip(images, 2, True, stream(1)))


def test_without_crop_and_flip_the_pixels_are_left_alone() -> None:
    images = pixels(4, 8, 8, 3)
    assert crop_and_flip(images, 0, False, stream()) is images


@pytest.mark.parametrize("case", cases("controls_and_competitors.json", "random_erasing_size"))
def test_the_size_of_an_erased_rectangle_meets_its_worked_values(case: Any) -> None:
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    shares = knobs["area_fraction"], knobs["aspect_h_over_w"]
    values = (torch.tensor(value, dtype=torch.float64) for value in shares)
    tall, wide, accepted = erasing_size(*values, inputs["H"], inputs["W"])
    assert {"h": tall, "w": wide, "accepted": accepted} == expected


def test_an_erased_row_loses_one_rectangle_of_2_to_40_percent() -> None:
    images = torch.rand(500, 3, 20, 30).to(memory_format=torch.channels_last) + 1
    kept = images.clone()
    after = erase(images, 1.0, stream())
    assert torch.equal(images, kept)
    shares = []
    for row, old in zip(after, images, strict=True):
        gone = (row == 0).all(0)
        assert torch.equal(row[:, ~gone], old[:, ~gone])
        down, right = gone.any(1), gone.any(0)
        assert torch.equal(gone, down[:, None] & right[None, :])
        assert all(is_one_run(side) for side in (down, right))
        shares.append(gone.float().mean().item())
    assert 0.01 < min(shares) < 0.06
    assert 0.34 < max(shares) < 0.45


def is_one_run(line: torch.Tensor) -> bool:
    """Whether all true positions stand side by side."""
    places = line.nonzero().flatten()
    return bool(len(places)) and int(places[-1] - places[0]) == len(places) - 1


def test_erasing_has_its_probability_and_keeps_the_layout() -> None:
    images = torch.ones(4000, 3, 8, 8).to(memory_format=torch.channels_last)
    after = erase(images, 0.3, stream())
    erased = (after == 0).flatten(1).any(1).float().mean().item()
    assert 0.26 < erased < 0.34
    assert after.stride() == images.stride()
    assert erase(images, 0.0, stream()) is images


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_images_have_mean_zero_deviation_one_and_channels_last(channels: int) -> None:
    raw = torch.randint(0, 256, (64, 9, 7, channels), dtype=torch.uint8)
    scaled = raw.double() / 255
    mean = tuple(scaled.mean((0, 1, 2)).tolist())
    std = tuple(scaled.std((0, 1, 2), unbiased=False).tolist())
    images = Normalise(mean, std, (9, 7), CPU)(raw)
    assert images.shape == (64, channels, 9, 7)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    expected = (scaled - torch.tensor(mean)) / torch.tensor(std)
    assert torch.allclose(images.double(), expected.permute(0, 3, 1, 2), atol=1e-5)
