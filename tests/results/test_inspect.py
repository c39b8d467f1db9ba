"""Data sets as `autosd inspect` sees them, against sets whose faults are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec
from autosd.results.inspect import Inspected, data_spec, inspect
from autosd.results.inspect_picture import draw, save

HOSTILE = "</script><img onerror=alert(1)>"


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def arrays(tmp_path: Path) -> Callable[..., Inspected]:
    """Inspect 40 + 10 images of two classes, after some of their pixels were set."""

    def make(change: Callable[[np.ndarray, np.ndarray], None], **spec: object) -> Inspected:
        train, test = noise(40, 6, 6, 3), 255 - noise(10, 6, 6, 3)
        change(train, test)
        np.savez(
            tmp_path / "set.npz",
            train_images=train,
            train_labels=np.arange(40) % 2,
            test_images=test,
            test_labels=np.arange(10) % 2,
            label_names=np.array([HOSTILE, "plain"]),
        )
        name = f"npz:{tmp_path / 'set.npz'}"
        return inspect(DataSpec(name=name, **spec), cache=tmp_path / "cache")

    return make


def nothing(train: np.ndarray, test: np.ndarray) -> None:
    """Leave all images as they are."""


def test_counts_split_and_moments_are_those_of_a_study(arrays, tmp_path):
    found = arrays(nothing, image_size=4)
    spec = DataSpec(name=f"npz:{tmp_path / 'set.npz'}", image_size=4)
    data = load_data(spec, cache=tmp_path / "cache")
    assert {part: sum(sizes) for part, sizes in found.counts.items()} == data.counts
    assert (found.split_hash, found.mean, found.std) == (data.split_hash, data.mean, data.std)
    assert (found.shape, found.width.most, found.height.least) == ((4, 4, 3), 6, 6)
    assert found.counts["test"] == (5, 5)
    assert (found.imbalance, found.grey, found.twins.groups) == (1.0, 0.0, 0)


def test_equal_images_are_found_within_and_between_parts(arrays):
    def change(train: np.ndarray, test: np.ndarray) -> None:
        train[2] = train[0]
        test[4] = test[6] = train[0]
        train[5] = train[8]

    twins = arrays(change).twins
    assert (twins.groups, twins.conflicts) == (2, 1)
    assert twins.examples[0].conflict
    assert set(twins.examples[0].images) == {"row 5", "row 8"}
    assert sum(twins.within.values()) + sum(twins.between.values()) >= 4
    assert twins.within["test"] == 1
    holders = [part for part in twins.examples[1].parts if part != "test"]
    for part in set(holders):
        assert twins.between[part, "test"] == 2


def test_one_pixel_apart_is_not_the_same(arrays):
    def change(train: np.ndarray, test: np.ndarray) -> None:
        train[2] = train[0]
        train[2, 0, 0, 0] ^= 1

    assert arrays(change).twins.groups == 0


def test_grey_images_are_counted_outside_test(arrays):
    def change(train: np.ndarray, test: np.ndarray) -> None:
        train[:10] = train[:10, ..., :1]
        test[:] = test[..., :1]

    assert arrays(change).grey == pytest.approx(10 / 40)


def test_the_picture_shows_train_alone_and_any_name_is_only_text(arrays, tmp_path):
    def change(train: np.ndarray, test: np.ndarray) -> None:
        test[:] = (255, 0, 0)
        train[:] = (0, 0, 255)

    found = arrays(change)
    names = ("\x1b[31m\u202e" + HOSTILE * 50 + "\n" + "\ud800", "日本語")
    picture = draw(names, found.samples)
    save(picture, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as again:
        colours = {colour for _, colour in again.getcolors(1 << 16)}
    assert (0, 0, 255) in colours
    assert (255, 0, 0) not in colours


def test_many_classes_are_drawn_evenly_chosen():
    samples = {label: [noise(3, 2, 1)] for label in range(500)}
    picture = draw([str(label) for label in samples], samples)
    assert picture.width * picture.height < 4_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of pictures of several sizes, one file damaged and one no picture."""
    for name, count in (("ants", 9), ("bees", 6)):
        (tmp_path / "insects" / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(noise(10 + number, 20, 3))
            picture.save(tmp_path / f"insects/{name}/{number}.png")
    whole = (tmp_path / "insects/ants/0.png").read_bytes()
    (tmp_path / "insects/ants/0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "insects/bees/notes.txt").write_text("no picture")
    return tmp_path / "insects"


def test_a_folder_with_faults_is_told_about_whole(folder, tmp_path):
    found = inspect(DataSpec(name=f"folder:{folder}"), cache=tmp_path / "cache")
    assert len(found.unreadable) == 2
    assert "0.png" in found.unreadable[0]
    assert "notes.txt: not an image" in found.unreadable[1]
    assert (found.width.least, found.width.most) == (20, 20)
    assert (found.height.least, found.height.median, found.height.most) == (10, 13, 18)
    assert sum(map(sum, found.counts.values())) == 16
    assert found.twins.groups == 5
    assert "bees/5.png" in {image for twin in found.twins.examples for image in twin.images}
    assert not (tmp_path / "cache").exists()


def test_a_set_that_cannot_be_split_is_still_described(folder, tmp_path):
    for path in sorted((folder / "bees").iterdir())[2:]:
        path.unlink()
    found = inspect(DataSpec(name=f"folder:{folder}"), cache=tmp_path / "cache")
    assert "class 'bees' has 2" in found.fault
    assert found.split_hash is None
    assert found.counts == {"train": (9, 2)}
    assert found.imbalance == 4.5


def test_a_folder_without_any_image_is_refused(folder, tmp_path):
    for path in folder.rglob("*.png"):
        path.write_text("empty")
    with pytest.raises(AutosdError, match="none of 16 files is an image"):
        inspect(DataSpec(name=f"folder:{folder}"), cache=tmp_path / "cache")


def test_data_is_named_directly_by_a_study_or_by_a_recipe(tmp_path):
    (tmp_path / "study.yaml").write_text("name: s\nrecipe: {data: {name: digits, image_size: 16}}")
    (tmp_path / "recipe.yaml").write_text("data: digits")
    assert data_spec("digits", tmp_path, {}).name == "digits"
    assert data_spec(str(tmp_path / "study.yaml"), tmp_path, {}).image_size == 16
    sets = {"data.image_size": 12, "data.split.seed": 3}
    spec = data_spec(str(tmp_path / "recipe.yaml"), tmp_path, sets)
    assert (spec.image_size, spec.split.seed) == (12, 3)
    assert data_spec("cifar100_resnet20", tmp_path, {}).name == "cifar100"


def test_other_settings_and_wrong_values_are_refused_in_the_users_words(tmp_path):
    with pytest.raises(AutosdError, match="--set epochs: only settings of the data"):
        data_spec("digits", tmp_path, {"epochs": 3})
    with pytest.raises(AutosdError, match=r"--set data.image_size: .*not 'big'"):
        data_spec("digits", tmp_path, {"data.image_size": "big"})
