"""Tiny copies of the files of some sets, in the places where torchvision looks for them."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosd.data.catalogue import CATALOGUE
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec

SMALL = {"val": 4, "select": 4}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def spec(name: str, root: Path, **split: object) -> DataSpec:
    return DataSpec.model_validate({"name": name, "root": str(root), "split": {**SMALL, **split}})


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (shade, 0, 255 - shade)).save(path)


def idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array in the format of the MNIST files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_a_set_that_cannot_be_had_is_one_line_with_folder_and_files(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(AutosdError) as error:
        load_data(spec(name, tmp_path))
    said = str(error.value)
    assert said.startswith(f"{name}: not in {tmp_path}, and cannot be downloaded (")
    assert CATALOGUE[name].expects in said
    assert len(said.splitlines()) == 1
    assert len(said) < 600


def test_the_default_place_is_the_data_folder_of_the_cache(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=f"not in {tmp_path}/data, "):
        load_data(DataSpec(name="cifar10"), cache=tmp_path)


@pytest.fixture
def mnist(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> Path:
    """The real digits, small, as the files of Kuzushiji-MNIST."""
    images = np.kron(digits[0], np.ones((3, 3), dtype=np.uint8))
    labels = digits[1].astype(np.uint8)
    raw = tmp_path / "KMNIST" / "raw"
    idx(raw / "train-images-idx3-ubyte", images[:100])
    idx(raw / "train-labels-idx1-ubyte", labels[:100])
    idx(raw / "t10k-images-idx3-ubyte", np.resize(images, (10_000, 24, 24)))
    idx(raw / "t10k-labels-idx1-ubyte", np.resize(labels, 10_000))
    return tmp_path


def test_arrays_are_taken_as_they_are(mnist: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    data = load_data(spec("kmnist", mnist, val=20, select=20), with_test=True)
    assert data.image_shape == (1, 24, 24)
    assert data.counts == {"train": 60, "val": 20, "select": 20, "test": 10_000}
    assert len(data.class_names) == 10
    assert (data.augment.crop, data.augment.flip) == (0, False)
    test = data.part("test")
    assert np.array_equal(test.labels[:1797], digits[1])
    assert np.array_equal(test.images[test.rows[5], ::3, ::3, 0], digits[0][5])


def test_the_test_part_of_arrays_is_opened_only_with_leave(mnist: Path) -> None:
    wanted = spec("kmnist", mnist, val=20, select=20)
    whole = load_data(wanted, with_test=True).fingerprint
    raw = mnist / "KMNIST" / "raw"
    (raw / "t10k-images-idx3-ubyte").write_bytes(b"")
    assert load_data(wanted).fingerprint == whole
    idx(raw / "t10k-images-idx3-ubyte", np.zeros((7, 24, 24), dtype=np.uint8))
    with pytest.raises(AutosdError, match="kmnist: 7 images in test instead of 10000"):
        load_data(wanted, with_test=True)


def eurosat(root: Path) -> None:
    for label, name in enumerate(("Forest", "River")):
        for k in range(9):
            picture(root / "eurosat" / "2750" / name / f"{name}_{k}.png", 100 * label)


def food101(root: Path) -> None:
    for part, count in {"train": 6, "test": 2}.items():
        listed = {}
        for label, name in enumerate(("apple_pie", "waffles")):
            listed[name] = [f"{name}/{part}{k}" for k in range(count)]
            for path in listed[name]:
                picture(root / "food-101" / "images" / f"{path}.jpg", 100 * label)
        (root / "food-101" / "meta").mkdir(exist_ok=True)
        (root / "food-101" / "meta" / f"{part}.json").write_text(json.dumps(listed))


def oxford_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for part, count in {"trainval": 6, "test": 2}.items():
        lines = []
        for label, name in enumerate(("Abyssinian", "great_pyrenees")):
            for k in range(count):
                picture(folder / "images" / f"{name}_{part}{k}.jpg", 100 * label)
                lines.append(f"{name}_{part}{k} {label + 1} 1 1")
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(lines))


def dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for part in ("train", "val", "test"):
        lines = [f"{name}/{name}_{part}{k}.jpg" for name in ("banded", "woven") for k in range(4)]
        for line in lines:
            picture(folder / "images" / line, 100 * line.startswith("woven"))
        (folder / "labels" / f"{part}1.txt").write_text("\n".join(lines))


def caltech101(root: Path) -> None:
    folder = root / "caltech101" / "101_ObjectCategories"
    (folder / "BACKGROUND_Google").mkdir(parents=True)
    for label, name in enumerate(("anchor", "yin_yang")):
        for k in range(8):
            picture(folder / name / f"image_{k + 1:04d}.jpg", 100 * label)


def caltech256(root: Path) -> None:
    folder = root / "caltech256" / "256_ObjectCategories"
    for label, name in enumerate(("001.ak47", "002.american-flag")):
        for k in range(8):
            picture(folder / name / f"{label + 1:03d}_{k + 1:04d}.jpg", 100 * label)


def gtsrb(root: Path) -> None:
    folder = root / "gtsrb"
    for label in range(43):
        for k in range(3):
            path = folder / "GTSRB" / "Training" / f"{label:05d}" / f"{k}.ppm"
            picture(path, 100 * (label == 1))
    picture(folder / "GTSRB" / "Final_Test" / "Images" / "00000.ppm", 100)
    (folder / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;1\n")


@pytest.mark.parametrize(
    ("make", "classes", "counts"),
    [
        (eurosat, ("Forest", "River"), (7, 4, 4, 3)),
        (food101, ("apple_pie", "waffles"), (4, 4, 4, 4)),
        (oxford_pets, ("Abyssinian", "Great Pyrenees"), (4, 4, 4, 4)),
        (dtd, ("banded", "woven"), (8, 4, 4, 8)),
        (caltech101, ("anchor", "yin_yang"), (5, 4, 4, 3)),
        (caltech256, ("001.ak47", "002.american-flag"), (5, 4, 4, 3)),
        (gtsrb, tuple(str(sign) for sign in range(43)), (43, 43, 43, 1)),
    ],
)
def test_image_files_are_decoded_to_the_cache(
    tmp_path: Path,
    make: Callable[[Path], None],
    classes: tuple[str, ...],
    counts: tuple[int, ...],
) -> None:
    make(tmp_path)
    sizes = {"val": counts[1], "select": counts[2]}
    data = load_data(spec(make.__name__, tmp_path, **sizes), cache=tmp_path / "c", with_test=True)
    assert data.class_names == classes
    assert tuple(data.counts.values()) == counts
    assert data.image_shape == (3, 12, 12)
    for part in data.rows:
        dataset = data.part(part)
        shade = dataset.images[dataset.rows, 6, 6, 0].astype(int)
        assert np.all((shade > 50) == (dataset.labels == 1))
