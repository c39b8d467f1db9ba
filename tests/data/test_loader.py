import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autosd.data.batches import Batch
from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.data.loading import load_data
from autosd.data.pixels import Resident, Streamed, place
from autosd.errors import AutosdError
from autosd.recipe import AugmentSpec, DataSpec
from autosd.streams import Clock

STRONG = AugmentSpec(crop=2, flip=True, policy="trivial", erase=0.5)


@pytest.fixture(scope="module")
def digits_data() -> Data:
    return load_data(DataSpec(name="digits"))


@pytest.fixture
def mapped(folder: Callable[[dict[str, int]], Path], tmp_path: Path) -> Data:
    """Colour images in a mapped file: 20 to train."""
    root = folder({"train/a": 14, "train/b": 14, "test/a": 1})
    spec = {"name": f"folder:{root}", "split": {"val": 4, "select": 4}}
    return load_data(DataSpec.model_validate(spec), cache=tmp_path / "c")


def clock(loader: Loader, epoch: int = 0, seed: int = 7) -> Clock:
    return Clock(seed, 10, loader.steps_per_epoch, epoch)


def equal(first: Batch, second: Batch) -> bool:
    names = ("images", "labels", "index", "view", "source")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def test_an_epoch_has_every_row_once_with_its_label(digits_data: Data) -> None:
    train = digits_data.part("train")
    loader = Loader(train, digits_data, batch_size=64)
    batches = list(loader.epoch(clock(loader)))
    assert loader.steps_per_epoch == len(batches) == 8
    assert [batch.fresh for batch in batches] == [64] * 7 + [52]
    index = torch.cat([batch.index for batch in batches])
    assert torch.equal(index.sort().values, torch.arange(500))
    labels = torch.cat([batch.labels for batch in batches])
    assert torch.equal(labels, torch.from_numpy(train.labels)[index])


def test_batches_say_where_their_rows_are_from(digits_data: Data) -> None:
    loader = Loader(digits_data.part("train"), digits_data, batch_size=64)
    batch = next(loader.epoch(clock(loader)))
    assert torch.equal(batch.source, torch.arange(64))
    assert not batch.view.any()
    assert batch.mix is None


def test_the_order_follows_from_seed_and_epoch(digits_data: Data) -> None:
    loader = Loader(digits_data.part("train"), digits_data, batch_size=64)

    def order(epoch: int, seed: int) -> list[int]:
        return [k for b in loader.epoch(clock(loader, epoch, seed)) for k in b.index.tolist()]

    assert order(1, 7) == order(1, 7)
    assert order(1, 7) != order(2, 7)
    assert order(1, 7) != order(1, 8)


def test_an_unaugmented_batch_is_the_normalised_image(digits_data: Data) -> None:
    train = digits_data.part("train")
    loader = Loader(train, digits_data, batch_size=64)
    batch = next(loader.epoch(clock(loader)))
    raw = train.images[train.rows[batch.index.numpy()]][..., 0] / 255
    expected = (raw - digits_data.mean[0]) / digits_data.std[0]
    assert batch.images.shape == (64, 1, 8, 8)
    assert batch.images.dtype == torch.float32
    assert np.allclose(batch.images[:, 0].numpy(), expected, atol=1e-5)


def test_batches_of_colour_images_are_channels_last(mapped: Data) -> None:
    loader = Loader(mapped.part("train"), mapped, batch_size=8, augment=STRONG)
    batch = next(loader.epoch(clock(loader)))
    for images in (batch.images, batch.draw(batch.index, 1), next(loader.plain())[0]):
        assert images.stride() == (8 * 8 * 3, 1, 8 * 3, 3)


def test_plain_gives_the_order_of_the_data_set(digits_data: Data) -> None:
    val = digits_data.part("val")
    loader = Loader(val, digits_data, augment=STRONG)
    batches = list(loader.plain(batch_size=200))
    assert [len(labels) for _, labels in batches] == [200, 200, 100]
    labels = torch.cat([labels for _, labels in batches])
    assert torch.equal(labels, torch.from_numpy(val.labels))
    images = torch.cat([images for images, _ in batches])
    raw = torch.from_numpy(val.images[val.rows]).permute(0, 3, 1, 2) / 255
    expected = (raw - digits_data.mean[0]) / digits_data.std[0]
    assert torch.allclose(images, expected.float(), atol=1e-5)


def test_plain_batches_of_large_images_are_bounded(
    digits_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autosd.data.loader.PLAIN_VALUES", 10 * 8 * 8)
    loader = Loader(digits_data.part("val"), digits_data)
    assert [len(labels) for _, labels in loader.plain()] == [10] * 50
    assert [len(labels) for _, labels in loader.plain(batch_size=5)] == [5] * 100


@pytest.mark.parametrize("augment", [STRONG, AugmentSpec(crop=0, flip=False)])
def test_resident_and_streamed_batches_are_equal_bit_for_bit(
    mapped: Data, augment: AugmentSpec
) -> None:
    train = mapped.part("train")
    loaders = [
        Loader(train, mapped, batch_size=8, augment=augment, resident_share=share)
        for share in (1.0, 0.0)
    ]
    assert isinstance(loaders[0]._pixels, Resident)
    assert isinstance(loaders[1]._pixels, Streamed)
    for epoch in range(3):
        here, there = (list(loader.epoch(clock(loader, epoch))) for loader in loaders)
        assert len(here) == len(there) == 3
        for first, second in zip(here, there, strict=True):
            assert equal(first, second)
            other = first.index.flip(0)
            assert torch.equal(first.draw(other, 1), second.draw(other, 1))
    for first, second in zip(loaders[0].plain(7), loaders[1].plain(7), strict=True):
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])


def test_an_epoch_that_is_left_early_leaves_no_thread(mapped: Data) -> None:
    loader = Loader(mapped.part("train"), mapped, batch_size=4, resident_share=0.0)
    epoch = loader.epoch(clock(loader))
    next(epoch)
    epoch.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("autosd-prefetch")]


def test_arrays_in_memory_are_used_where_they_are(digits_data: Data) -> None:
    train = digits_data.part("train")
    pixels = place(train, torch.device("cpu"), 0.25)
    assert isinstance(pixels, Resident)
    assert pixels._images.data_ptr() == train.images.ctypes.data


def test_augmentation_follows_from_seed_epoch_step_view_and_position(digits_data: Data) -> None:
    loader = Loader(digits_data.part("train"), digits_data, batch_size=64, augment=STRONG)
    first, second = list(loader.epoch(clock(loader)))[:2]
    again = next(loader.epoch(clock(loader)))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.draw(first.index, 0), first.images)
    assert torch.equal(first.draw(first.index, 1), again.draw(first.index, 1))
    assert not torch.equal(first.draw(first.index, 1), first.images)
    assert not torch.equal(first.draw(first.index, 1), first.draw(first.index, 2))
    assert not torch.equal(first.draw(first.index, 1), second.draw(first.index, 1))
    moved = first.draw(first.index.roll(1), 1)
    assert not torch.equal(moved.roll(-1, 0), first.draw(first.index, 1))


def test_the_images_are_never_changed(digits_data: Data) -> None:
    train = digits_data.part("train")
    before = train.images.copy()
    for augment in (STRONG, AugmentSpec(crop=0, flip=False)):
        loader = Loader(train, digits_data, batch_size=64, augment=augment)
        for batch in loader.epoch(clock(loader)):
            batch.draw(batch.index, 1).add_(1)
            batch.images.mul_(2)
    assert np.array_equal(train.images, before)


@pytest.mark.parametrize(
    ("batch_size", "drop_single", "steps", "dropped"),
    [
        (499, True, 1, 1),
        (499, False, 2, 0),
        (498, True, 2, 0),
        (500, True, 1, 0),
        (900, True, 1, 0),
    ],
)
def test_a_last_batch_of_one_row_is_dropped_where_asked(
    digits_data: Data, batch_size: int, drop_single: bool, steps: int, dropped: int
) -> None:
    loader = Loader(
        digits_data.part("train"), digits_data, batch_size=batch_size, drop_single=drop_single
    )
    sizes = [len(batch.index) for batch in loader.epoch(clock(loader))]
    assert (len(sizes), loader.steps_per_epoch, loader.dropped) == (steps, steps, dropped)
    assert sum(sizes) == 500 - dropped


def test_batches_of_one_row_are_refused_where_they_cannot_be_trained(digits_data: Data) -> None:
    with pytest.raises(AutosdError, match="batch_size 1 with 500 training images"):
        Loader(digits_data.part("train"), digits_data, batch_size=1, drop_single=True)
    loader = Loader(digits_data.part("train"), digits_data, batch_size=1)
    assert loader.steps_per_epoch == 500


@pytest.mark.gpu
def test_a_gpu_gets_the_same_unaugmented_bits(mapped: Data) -> None:
    plain = AugmentSpec(crop=0, flip=False)
    train = mapped.part("train")
    here = Loader(train, mapped, batch_size=8, augment=plain)
    for share in (0.0, 1.0):
        there = Loader(
            train, mapped, batch_size=8, augment=plain, device="cuda", resident_share=share
        )
        pairs = zip(here.epoch(clock(here)), there.epoch(clock(there)), strict=True)
        assert all(torch.equal(a.images, b.images.cpu()) for a, b in pairs)
