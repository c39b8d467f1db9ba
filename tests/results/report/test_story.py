"""A story is told as far as the folder goes, and says what it lacks."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autosd.files import write_json
from autosd.results.report.figures import FIGURES
from autosd.results.report.remains import UNKNOWN
from autosd.results.report.story import Story, controls
from autosd.results.state import read
from autosd.search.study import StudyFolder

from .studies import EPOCHS, study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study of eight trials, every fourth pruned; not to be changed."""
    root = tmp_path_factory.mktemp("runs")
    return study(root, lambda params: 0.7 + 0.1 * len(params), 8, stopped=4)


@pytest.fixture
def folder(made: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of it that may be damaged."""
    shutil.copytree(made.path, tmp_path / "hand")
    return StudyFolder.open(tmp_path / "hand")


def tell(folder: StudyFolder) -> Story:
    return Story.read(StudyFolder.open(folder.path))


def test_a_finished_study_is_told_whole_and_as_status_tells_it(root: Path):
    story = Story.read(StudyFolder.find("tiny", root))
    state = read("tiny", root)
    assert story.missing == ()
    assert story.counts == state.counts
    assert story.winner.score == state.winner.score
    assert story.use.share == state.utilisation
    assert story.finalists[0].label == story.winner.label
    assert [one.finalist for one in story.compared] == list(story.finalists)
    assert story.images == {"train": 500, "val": 500, "select": 500, "test": 297}
    assert story.readings == ()
    assert {"torch", "optuna"} <= story.environment["versions"].keys()
    assert story.retrained is None
    assert story.ensembled is None


def test_efforts_are_those_of_the_learning_curves(root: Path):
    story = Story.read(StudyFolder.find("tiny", root))
    assert story.efforts.keys() == {one.lineage for one in story.trials}
    first = story.efforts[0]
    assert (first.epochs, first.forwards, first.cost) == (1, 500, 1.0)
    assert first.metrics["top1"] == pytest.approx(story.trials[0].value, abs=1e-6)


def test_reading_changes_nothing(folder: StudyFolder):
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    tell(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


def test_without_a_database_trials_are_told_from_their_folders(folder: StudyFolder):
    whole = tell(folder)
    (folder.path / "study.db").unlink()
    story = tell(folder)
    assert "study.db: no such database" in story.missing[0]
    assert "Trials are told from their folders" in story.missing[0]
    for old, new in zip(whole.trials, story.trials, strict=True):
        assert (new.number, new.family, new.state) == (old.number, old.family, old.state)
        assert new.params == pytest.approx(old.params)
        assert dict(new.curve) == pytest.approx(dict(old.curve))
    assert [one.why for one in story.trials if one.state == "pruned"] == [UNKNOWN] * 2
    assert [row.family for row in story.rows] == [row.family for row in whole.rows]
    assert (story.counts.complete, story.counts.pruned) == (6, 2)
    assert story.use.share is None


def test_a_database_that_is_cut_short_is_said(folder: StudyFolder):
    file = folder.path / "study.db"
    file.write_bytes(file.read_bytes()[:2000])
    story = tell(folder)
    assert "study.db" in story.missing[0]
    assert len(story.trials) == 8


@pytest.mark.parametrize("name", ["environment.json", "split.json"])
@pytest.mark.parametrize("content", [None, "{", "[]", "\x00"])
def test_a_file_that_is_missing_or_broken_is_named(folder: StudyFolder, name: str, content: str):
    (folder.path / name).unlink(missing_ok=True)
    if content is not None:
        (folder.path / name).write_text(content)
    story = tell(folder)
    (said,) = [line for line in story.missing if name in line]
    assert ("missing" if content is None else "cannot be read") in said
    assert story.winner is not None
    assert read(str(folder.path), folder.path.parent).winner == story.winner


def test_counts_that_are_none_are_named(folder: StudyFolder):
    write_json(folder.path / "split.json", {"counts": 3, "test_readings": 4})
    story = tell(folder)
    assert [line.partition(":")[0] for line in story.missing if "split" in line] == [
        "split.json"
    ] * 2
    assert (story.images, story.readings) == ({}, ())
    assert story.winner is not None


def test_files_are_named_as_they_lie_in_the_folder(folder: StudyFolder):
    (folder.path / "study.db").unlink()
    (said,) = [line for line in tell(folder).missing if "no such database" in line]
    assert said.startswith("study.db: ")


def test_broken_curves_are_counted_in_one_line(folder: StudyFolder):
    for number in range(6):
        (folder.trial(number) / "history.jsonl").write_text("{}\n")
    (folder.trial(6) / "history.jsonl").unlink()
    story = tell(folder)
    (said,) = [line for line in story.missing if "history.jsonl" in line]
    assert "trials/ 0000, 0001, 0002, 0003, 0004 and 2 more" in said
    assert story.efforts.keys() == {7}
    assert story.efforts[7].epochs == EPOCHS // 2


def test_a_broken_confirmation_leaves_the_rest(root: Path):
    folder = StudyFolder.find("tiny", root)
    (folder.finalists / "chosen.json").write_text('{"confirmed": true}')
    story = Story.read(folder)
    assert any("finalists/" in line for line in story.missing)
    assert story.finalists == ()
    assert len(story.trials) == 4


def test_a_confirmation_that_goes_on_is_no_result(root: Path):
    folder = StudyFolder.find("tiny", root)
    path = folder.finalists / "chosen.json"
    write_json(path, {**json.loads(path.read_text()), "confirmed": False})
    story = Story.read(folder)
    assert any("has not ended" in line for line in story.missing)
    assert story.winner.confirmed is False
    path.unlink()
    assert any("chosen.json is missing" in line for line in Story.read(folder).missing)
    definition = folder.definition.model_copy(update={"trials": 9})
    unfinished = StudyFolder(folder.path, definition, folder.space, folder.url)
    assert not any("chosen.json" in line for line in Story.read(unfinished).missing)


def test_broken_tables_of_later_commands_are_named(folder: StudyFolder):
    for name in ("retrain", "ensemble"):
        (folder.path / name).mkdir()
        (folder.path / name / "results.json").write_text("{}")
    story = tell(folder)
    assert (story.retrained, story.ensembled) == (None, None)
    assert sum("results.json" in line for line in story.missing) == 2


def test_a_damaged_study_still_has_its_figures(folder: StudyFolder):
    for name in ("study.db", "environment.json"):
        (folder.path / name).unlink()
    story = tell(folder)
    drawn = {name for name, draw in FIGURES.items() if draw(story) is not None}
    assert {"leaderboard", "best_by_trials", "learning_curves"} <= drawn
    assert "utilisation" not in drawn


def test_a_study_without_trials_is_told(folder: StudyFolder):
    (folder.path / "study.db").unlink()
    shutil.rmtree(folder.path / "trials")
    story = tell(folder)
    assert (story.trials, story.winner, story.counts.counted) == ((), None, 0)
    assert all(draw(story) is None for draw in FIGURES.values())


def test_controls_are_those_of_the_shipped_space():
    assert {"cross_entropy", "cutmix", "label_smoothing", "ema"} <= controls()
    assert "masd" not in controls()


def test_the_report_loads_neither_torch_nor_ray():
    code = (
        "import sys; from autosd.results.report import figures, story; "
        "sys.exit(bool({'torch', 'ray', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
