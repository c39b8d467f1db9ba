import json
from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.results.best import replace, restore, write_from_confirmation
from autosd.results.outcome import winner
from autosd.search.study import StudyFolder


def fill(text: str):
    return lambda folder: (folder / "file").write_text(text)


def test_the_folder_is_replaced_whole(tmp_path: Path):
    best = tmp_path / "best"
    replace(best, fill("one"))
    (best / "left over").write_text("old")
    replace(best, fill("two"))
    assert [path.name for path in best.iterdir()] == ["file"]
    assert (best / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_failure_leaves_the_old_one(tmp_path: Path):
    def fail(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise OSError("disk full")

    best = tmp_path / "best"
    replace(best, fill("one"))
    with pytest.raises(OSError, match="disk full"):
        replace(best, fail)
    assert (best / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path):
    best = tmp_path / "best"
    replace(best, fill("one"))
    best.rename(tmp_path / ".best.old")

    def fail(folder: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace(best, fail)
    assert (best / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_the_old_folder_that_a_kill_left_behind_goes_when_the_new_one_is_in_place(tmp_path: Path):
    for name in ("best", ".best.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    restore(tmp_path / "best")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    assert (tmp_path / "best/file").read_text() == "best"


def test_a_retrained_student_survives_a_kill_between_the_renames(root: Path):
    folder = StudyFolder.find("tiny", root)
    facts = folder.best / "metrics.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "origin": "retrain"}))
    folder.best.rename(root / "tiny/.best.old")
    assert write_from_confirmation(folder, winner(folder))
    assert json.loads(facts.read_text())["origin"] == "retrain"


def test_the_card_follows_the_finalists_while_the_winner_stays(root: Path):
    folder = StudyFolder.find("tiny", root)
    card = folder.best / "README.md"
    new = card.read_text()
    card.write_text(new.replace("## How its recipe compares", "## Of an earlier search"))
    assert write_from_confirmation(folder, winner(folder))
    assert card.read_text() == new


def test_a_recipe_with_another_seed_than_its_student_is_named(root: Path):
    folder = StudyFolder.find("tiny", root)
    recipe = folder.best / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("seed: 1000", "seed: 10"))
    with pytest.raises(AutosdError, match=r"seed is 1000, recipe.yaml says 10\).*put back"):
        write_from_confirmation(folder, winner(folder))
