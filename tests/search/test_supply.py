"""What a node lacks comes from the driver's machine: data sets, and files that recipes name."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.data.portable import describe, receive
from autosd.located import located
from autosd.models.build import build_student
from autosd.recipe import DataSpec, Recipe
from autosd.search.scratch import Scratch

NETWORK = """
from autosd.models.build import FAMILIES
from autosd.models.staged import StagedStudent

class Net(StagedStudent):
    def __init__(self, classes, image_shape):
        super().__init__("resnet8", FAMILIES["resnet8"](), classes, image_shape)
"""


def write_npz(path: Path) -> None:
    generator = np.random.default_rng(0)
    parts = {"train": 80, "val": 20, "test": 20}
    images = {
        f"{part}_images": generator.integers(0, 256, (n, 8, 8, 3)) for part, n in parts.items()
    }
    labels = {f"{part}_labels": np.arange(n) % 4 for part, n in parts.items()}
    np.savez(path, **{name: array.astype(np.uint8) for name, array in images.items()}, **labels)


def check_same(one: Data, other: Data) -> None:
    assert one.fingerprint == other.fingerprint
    assert (one.counts, one.mean, one.class_names) == (other.counts, other.mean, other.class_names)
    for part in ("train", "val", "select", "test"):
        own, theirs = one.part(part), other.part(part)
        assert np.array_equal(own.images[own.rows], theirs.images[theirs.rows])
        assert np.array_equal(own.labels, theirs.labels)


def test_a_data_set_sent_in_pieces_is_the_same(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz")
    data = load_data(DataSpec(name=f"npz:{tmp_path}/a.npz"), with_test=True)
    asked: list[tuple[str, int, int]] = []

    def read(pool: str, start: int, stop: int) -> np.ndarray:
        asked.append((pool, start, stop))
        return getattr(data, pool).images[start:stop]

    for _ in range(2):
        check_same(receive(describe(data), tmp_path / "copies", read), data)
    assert asked == [("development", 0, 100), ("test", 0, 20)]


def test_without_test_its_images_are_not_sent(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz")
    data = load_data(DataSpec(name=f"npz:{tmp_path}/a.npz"))
    sent = receive(
        describe(data), tmp_path / "copies", lambda pool, a, b: data.development.images[a:b]
    )
    assert sent.test is None
    assert len(list((tmp_path / "copies").glob("*.npy"))) == 1


@pytest.fixture
def depot_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Opens a depot in a folder; this process then stands elsewhere, with a cache of its own."""
    from autosd.search.raytune.local import LocalCore
    from autosd.search.raytune.supply import open_depot

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def opened(folder: Path) -> object:
        monkeypatch.chdir(folder)
        depot = open_depot()
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        return depot

    with Scratch() as scratch:
        core = LocalCore(1, 1, 0, scratch)
        core.start()
        yield opened
        core.stop()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_a_node_uses_what_it_has_and_copies_the_rest(tmp_path: Path, depot_in) -> None:
    from autosd.search.raytune.supply import Supplied

    home = tmp_path / "home"
    home.mkdir()
    write_npz(home / "a.npz")
    (home / "net.py").write_text(NETWORK)
    supplied = Supplied(depot_in(home))
    spec = DataSpec(name="npz:a.npz")
    copies = tmp_path / "cache/autosd/copies"

    original = supplied.data(spec, cache=None, with_test=True)
    assert not copies.exists()
    os.remove(home / "a.npz")  # the depot has read it: from here on the path leads nowhere
    check_same(supplied.data(spec, cache=None, with_test=True), original)
    assert len(list(copies.glob("*.npy"))) == 2

    recipe = Recipe.parse({"data": "digits", "model": "net.py:Net"})
    supplied.bring(recipe, Path())
    assert located("net.py").read_text() == NETWORK
    assert located("net.py").is_relative_to(copies)
    assert build_student(recipe.model, 4, (3, 8, 8), seed=0).spec.classes == 4
