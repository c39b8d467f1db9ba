import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autosd.data.loading import check_data, data_names, load_data
from autosd.errors import AutosdError
from autosd.recipe import AugmentSpec, DataSpec


def test_digits_are_divided_as_promised() -> None:
    data = load_data(DataSpec(name="digits"), with_test=True)
    assert data.counts == {"train": 500, "val": 500, "select": 500, "test": 297}
    assert data.image_shape == (1, 8, 8)
    assert data.class_names == tuple("0123456789")
    assert data.development.images.max() == 255
    labels = np.concatenate([data.part(part).labels for part in data.rows])
    counted = np.bincount(labels)
    assert counted.sum() == 1797
    for part in data.rows:
        found = np.bincount(data.part(part).labels)
        assert np.all(np.abs(found - counted * data.counts[part] / 1797) <= 2)


def test_the_split_of_digits_never_changes() -> None:
    """Recorded: another split would make old studies and new ones incomparable."""
    data = load_data(DataSpec(name="digits"))
    assert (data.split_hash, data.fingerprint) == ("c1611ae32b01a895", "dd063c89cf6d838d")


def test_parts_can_be_joined() -> None:
    data = load_data(DataSpec(name="digits"), with_test=True)
    joined = data.part("train", "val", "select")
    assert (len(joined), len(joined.labels)) == (1500, 1500)
    assert joined.images is data.part("train").images
    everything = data.part("test", "train")
    test = data.part("test")
    assert len(everything) == 797
    assert np.array_equal(everything.images[everything.rows[:297]], test.images[test.rows])
    assert np.array_equal(everything.labels[:297], test.labels)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(AutosdError, match="no part named 'dev'; there are: train, val"):
        load_data(DataSpec(name="digits")).part("dev")


def test_what_a_recipe_leaves_open_of_augmentation_is_the_data_sets_own() -> None:
    data = load_data(DataSpec(name="digits"))
    assert data.augmentation(AugmentSpec(erase=0.5)) == AugmentSpec(crop=0, flip=False, erase=0.5)
    assert data.augmentation(AugmentSpec(crop=2)) == AugmentSpec(crop=2, flip=False)


def test_digits_can_be_had_at_another_size(tmp_path: Path) -> None:
    data = load_data(DataSpec(name="digits", image_size=16), cache=tmp_path)
    assert data.image_shape == (1, 16, 16)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digts", "no data set named 'digts'; there are: caltech101,"),
        ("digts", "Did you mean 'digits'?"),
        ("cifar-10", "Did you mean 'cifar10'?"),
        ("nzp:x.npz", "no kind of data named 'nzp'; there are: folder, npz. Did you mean 'npz'?"),
        ("npz:", "a path is missing, as in npz:PATH"),
        ("some/set.npz", "for a path write npz:some/set.npz"),
        ("some/folder", "for a path write folder:some/folder"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_what_does(name: str, said: str) -> None:
    with pytest.raises(AutosdError) as error:
        check_data(DataSpec(name=name))
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_every_known_name_passes_the_check() -> None:
    assert {"digits", "cifar10", "fashion_mnist", "food101"} <= set(data_names())
    for name in data_names():
        check_data(DataSpec(name=name))


def test_checking_and_loading_arrays_does_not_import_torch() -> None:
    code = (
        "import sys; from autosd.data.loading import check_data, load_data;"
        "from autosd.recipe import DataSpec; check_data(DataSpec(name='digits'));"
        "check_data(DataSpec(name='cifar10')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_relative_path_is_below_root(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=f"{tmp_path}/x.npz: no such file"):
        check_data(DataSpec(name="npz:x.npz", root=str(tmp_path)))


def test_a_missing_root_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=r"data\.root: .*absent: no such folder"):
        check_data(DataSpec(name="cifar10", root=str(tmp_path / "absent")))
    assert not list(tmp_path.iterdir())


def test_constant_images_can_be_normalised(tmp_path: Path) -> None:
    path = tmp_path / "flat.npz"
    images, labels = np.full((40, 4, 4), 9, dtype=np.uint8), np.arange(40) % 2
    np.savez(path, train_images=images, train_labels=labels)
    data = load_data(DataSpec(name=f"npz:{path}"))
    assert (data.mean, data.std) == ((9 / 255,), (1 / 255,))
