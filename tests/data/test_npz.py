import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autosd.data.loading import check_data, load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec, SplitSpec

Write = Callable[..., Path]
SMALL = SplitSpec(val=20, select=20)


def spec(path: Path, **more: object) -> DataSpec:
    return DataSpec.model_validate({"name": f"npz:{path}", "split": SMALL, **more})


def fault(path: Path) -> str:
    """What loading says; always one line for each fault, each with the file."""
    with pytest.raises(AutosdError) as error:
        load_data(spec(path))
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return "\n".join(line.removeprefix(f"{path}: ") for line in lines)


def test_images_and_labels_belong_together(npz: Write, arrays: dict[str, np.ndarray]) -> None:
    data = load_data(spec(npz()), with_test=True)
    assert data.counts == {"train": 160, "val": 20, "select": 20, "test": 60}
    assert data.image_shape == (3, 8, 8)
    assert data.class_names == tuple("0123456789")
    for part in ("train", "val", "select"):
        dataset, rows = data.part(part), data.rows[part]
        assert np.array_equal(dataset.images[dataset.rows], arrays["train_images"][rows])
        assert np.array_equal(dataset.labels, arrays["train_labels"][rows])
    test = data.part("test")
    assert np.array_equal(test.images[test.rows], arrays["test_images"])
    assert np.array_equal(test.labels, arrays["test_labels"])


def test_mean_and_deviation_are_those_of_the_training_part(npz: Write) -> None:
    data = load_data(spec(npz()))
    train = data.part("train")
    pixels = train.images[train.rows].reshape(-1, 3) / 255
    assert np.allclose(data.mean, pixels.mean(0), rtol=1e-12)
    assert np.allclose(data.std, pixels.std(0), rtol=1e-12)


def test_labels_may_be_a_column_and_grey_images_have_no_channel(
    npz: Write, arrays: dict[str, np.ndarray]
) -> None:
    grey = {f"{part}_images": arrays[f"{part}_images"][..., 0] for part in ("train", "test")}
    column = {f"{part}_labels": arrays[f"{part}_labels"][:, None] for part in ("train", "test")}
    data = load_data(spec(npz(**grey, **column)))
    assert data.image_shape == (1, 8, 8)
    assert (data.augment.crop, data.augment.flip) == (0, False)


def test_colour_images_are_cropped_and_flipped_by_default(npz: Write) -> None:
    data = load_data(spec(npz()))
    assert (data.augment.crop, data.augment.flip, data.augment.erase) == (1, True, 0.0)


def test_an_official_val_part_becomes_val(npz: Write, arrays: dict[str, np.ndarray]) -> None:
    path = npz(val_images=arrays["test_images"][:30], val_labels=arrays["test_labels"][:30])
    data = load_data(DataSpec(name=f"npz:{path}"))
    val = data.part("val")
    assert np.array_equal(val.images[val.rows], arrays["test_images"][:30])
    assert data.counts == {"train": 170, "val": 30, "select": 30, "test": 60}


def test_a_missing_test_part_is_divided_off(npz: Write) -> None:
    data = load_data(spec(npz(test_images=None, test_labels=None)), with_test=True)
    assert data.counts["test"] == 33
    parts = [set(data.rows[part].tolist()) for part in data.rows]
    assert len(set.union(*parts)) == 200 == sum(map(len, parts))


@pytest.mark.parametrize("kind", ["U", "S"])
def test_names_of_classes_are_read_with_odd_characters(npz: Write, kind: str) -> None:
    names = ["T-shirt/top", "ä ö", "日本", "a,b", "{x}", "'", '"', "e\nf", "", "9"]
    stored = np.array([name.encode() for name in names] if kind == "S" else names)
    assert load_data(spec(npz(label_names=stored))).class_names == tuple(names)


def test_the_images_of_the_test_part_are_not_read_without_leave(npz: Write) -> None:
    path = npz()
    damage(path, "test_images.npy")
    data = load_data(spec(path))
    assert data.counts["test"] == 60
    with pytest.raises(AutosdError, match="'test' was not loaded and may not be read"):
        data.part("test")
    with pytest.raises(AutosdError, match="'test' was not loaded"):
        data.part("train", "test")
    with pytest.raises(AutosdError, match="test_images: cannot be read"):
        load_data(spec(path), with_test=True)


def damage(path: Path, member: str) -> None:
    """Flip bytes in the middle of one array, so that reading it fails its checksum."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    middle = info.header_offset + 300 + info.file_size // 2
    content[middle : middle + 8] = bytes(255 - value for value in content[middle : middle + 8])
    path.write_bytes(content)


def test_the_fingerprint_is_that_of_content_and_split(
    npz: Write, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    path = npz()
    first = load_data(spec(path)).fingerprint
    assert load_data(spec(path), with_test=True).fingerprint == first
    copy = tmp_path / "copy.npz"
    copy.write_bytes(path.read_bytes())
    assert load_data(spec(copy)).fingerprint == first
    assert load_data(spec(path, split={"seed": 1})).fingerprint != first
    assert load_data(spec(path, image_size=16), cache=tmp_path).fingerprint != first
    changed = arrays["train_images"].copy()
    changed[0, 0, 0, 0] += 1
    assert load_data(spec(npz(train_images=changed))).fingerprint != first


def test_another_size_is_made_once_and_mapped(npz: Write, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    sized = spec(npz(), image_size=12)
    data = load_data(sized, cache=tmp_path / "c", progress=lambda *args: told.append(args))
    assert data.image_shape == (3, 12, 12)
    assert told == [("resizing small", 200, 200)]
    assert isinstance(data.development.images, np.memmap)
    again = load_data(sized, cache=tmp_path / "c", progress=lambda *args: told.append(args))
    assert len(told) == 1
    assert np.array_equal(again.development.images, data.development.images)


class Bomb:
    """Leaves a file behind if anyone unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.path, "executed"))


@pytest.mark.parametrize(
    "key", ["train_images", "train_labels", "test_labels", "val_images", "label_names"]
)
def test_a_pickle_inside_is_refused_and_not_executed(
    npz: Write, tmp_path: Path, arrays: dict[str, np.ndarray], key: str
) -> None:
    trap = tmp_path / "trap"
    bomb = np.empty(200, dtype=object)
    bomb[:] = [Bomb(trap)] * 200
    more = {"val_labels": arrays["train_labels"]} if key == "val_images" else {}
    said = fault(npz(**{key: bomb}, **more))
    assert f"{key} holds pickled objects, which are never loaded; save plain arrays" in said
    assert not trap.exists()


def test_a_bare_pickle_or_text_is_no_npz_file(tmp_path: Path) -> None:
    trap, path = tmp_path / "trap", tmp_path / "evil.npz"
    path.write_bytes(pickle.dumps(Bomb(trap)))
    assert fault(path).startswith("not an npz file")
    path.write_text("hello")
    assert fault(path).startswith("not an npz file")
    assert not trap.exists()


def test_a_truncated_file_is_no_npz_file(npz: Write) -> None:
    path = npz()
    path.write_bytes(path.read_bytes()[:5000])
    assert fault(path).startswith("not an npz file")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert fault(tmp_path / "absent.npz") == "no such file"


def test_a_header_that_promises_more_than_there_is_is_refused(npz: Write) -> None:
    path = npz()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    huge = members["train_images.npy"].replace(b"(200, 8", b"(900, 8")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**members, "train_images.npy": huge}.items():
            archive.writestr(name, content)
    assert fault(path) == "train_images: 38400 bytes instead of 172800"


def faulty(**changes: np.ndarray | None) -> dict[str, np.ndarray | None]:
    return changes


TEN = np.arange(200) % 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (faulty(train_images=None), "train_images missing; the file has test_images, test_labels"),
        (faulty(train_labels=None), "train_labels missing; the file has"),
        (faulty(test_labels=None), "test_labels is missing, though test_images is there"),
        (faulty(test_images=None), "test_images is missing, though test_labels is there"),
        (
            faulty(train_images=np.zeros((200, 8, 8, 3))),
            "train_images must be uint8, not float64",
        ),
        (
            faulty(train_images=np.zeros((200, 64), dtype=np.uint8)),
            "train_images must be [N, H, W] or [N, H, W, 1 or 3], not [200, 64]",
        ),
        (
            faulty(train_images=np.zeros((200, 8, 8, 4), dtype=np.uint8)),
            "train_images must be [N, H, W] or [N, H, W, 1 or 3], not [200, 8, 8, 4]",
        ),
        (
            faulty(train_images=np.zeros((0, 8, 8, 3), dtype=np.uint8)),
            "train_images is empty: [0, 8, 8, 3]",
        ),
        (
            faulty(test_images=np.zeros((60, 9, 8, 3), dtype=np.uint8)),
            "test_images [60, 9, 8, 3] differs in size from train_images [200, 8, 8, 3]",
        ),
        (faulty(train_labels=TEN[:199]), "train_images has 200 rows, train_labels 199"),
        (faulty(train_labels=np.int64(3)), "train_images has 200 rows, train_labels none"),
        (
            faulty(train_labels=np.zeros((200, 14), dtype=np.uint8)),
            "train_labels: one label per image is needed, [N] or [N, 1], not [200, 14]",
        ),
        (faulty(train_labels=TEN / 2), "train_labels: labels must be integers, not float64"),
        (faulty(train_labels=TEN - 1), "train_labels: label -1 is out of range"),
        (
            faulty(train_labels=TEN.astype(np.uint64) + 2**63),
            "train_labels: label 9223372036854775817 is out of range",
        ),
        (
            faulty(train_labels=np.zeros(200, dtype=np.int64)),
            "train_labels: only one class ('0'); at least two are needed",
        ),
        (
            faulty(train_labels=np.where(TEN == 4, 11, TEN)),
            "train_labels: no image has label 4, yet labels go up to 11",
        ),
        (
            faulty(
                train_labels=np.where(TEN == 4, 5, TEN), label_names=np.array(list("abcdefghij"))
            ),
            "train_labels: no image of class 'e'",
        ),
        (
            faulty(label_names=np.array(list("abcdefghi"))),
            "train_labels: label 9 is out of range; there are 9 classes, 0 to 8",
        ),
        (
            faulty(test_labels=np.full(60, 10)),
            "test_labels: label 10 is out of range; there are 10 classes, 0 to 9",
        ),
        (faulty(label_names=np.arange(10)), "label_names must be strings [K], not int64 [10]"),
    ],
)
def test_a_fault_names_file_and_key(
    npz: Write, changes: dict[str, np.ndarray | None], said: str
) -> None:
    assert said in fault(npz(**changes))


def test_all_faults_of_a_file_are_reported_together(npz: Write) -> None:
    path = npz(train_labels=TEN[:199], test_labels=None)
    with pytest.raises(AutosdError) as error:
        check_data(spec(path))
    assert len(str(error.value).splitlines()) == 2


def test_fewer_images_than_the_parts_need_are_said_clearly(
    npz: Write, arrays: dict[str, np.ndarray]
) -> None:
    few = {f"train_{what}": arrays[f"train_{what}"][:20] for what in ("images", "labels")}
    with pytest.raises(AutosdError, match=r"too few images: class .* each class needs at least 3"):
        load_data(DataSpec(name=f"npz:{npz(**few)}"))
