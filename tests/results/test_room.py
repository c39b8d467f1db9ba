"""A run that its disk has no room for is refused before anything is written."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.results.forecast import forecast
from autosd.results.found import search
from autosd.results.retrain import retrain
from autosd.results.room import of_search, search_bytes, written
from autosd.search.ready import Ready, check


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with a megabyte left."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))


@pytest.fixture(scope="module")
def ready() -> Ready:
    definition = {
        "name": "new",
        "recipe": {"data": "digits", "model": "resnet8", "epochs": 1},
        "space": "label_smoothing",
        "trials": 4,
    }
    return check(StudyDefinition.parse(definition))


def test_a_search_without_room_writes_nothing_and_names_folder_need_and_free(ready, full, tmp_path):
    with pytest.raises(AutosdError, match=r"new: about 0\.\d\d GB are needed there and 0\.00 GB"):
        search(ready, tmp_path, engine="inline")
    assert list(tmp_path.iterdir()) == []


def test_a_retraining_without_room_is_refused_before_test_is_read(root, full):
    before = (root / "tiny/split.json").read_text()
    with pytest.raises(AutosdError, match="retrain: about"):
        retrain("tiny", root, seeds=1, engine="inline")
    assert (root / "tiny/split.json").read_text() == before


def test_a_complete_study_needs_no_room(found, root, full):
    definition = found.outcome.folder.definition
    done = search(check(definition), root, engine="inline")
    assert not done.outcome.worked


def test_what_is_foreseen_is_not_below_what_is_written(found):
    folder = found.outcome.folder
    data = load_data(folder.definition.recipe.data)
    foreseen, there = search_bytes(folder.definition, data, slots=1), written(folder.path)
    assert there <= foreseen <= 4 * there


def test_what_is_written_already_counts(found, root):
    definition = found.outcome.folder.definition
    data = load_data(definition.recipe.data)
    fresh, begun = (of_search(definition, data, 1, where) for where in (Path("/nowhere"), root))
    assert begun.needed == pytest.approx(fresh.needed - written(root / "tiny"))


def test_a_dry_run_says_what_is_needed_and_free(ready, full, tmp_path):
    expected = forecast(ready, tmp_path)
    assert not expected.enough
    assert expected.free == 1_000_000
