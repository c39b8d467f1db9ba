"""`autosd enqueue` and `autosd trials`, on a study without a driver and in a search."""

import csv
import io
import json
from pathlib import Path

import pytest

from autosd.recipe import StudyDefinition
from autosd.search import ledger
from autosd.search.lock import StudyLock
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close, lock_path
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

VALUES = {
    "name": "small",
    "recipe": {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 64},
    "space": "label_smoothing",
    "trials": 3,
    "finalists": {"count": 0},
}
MINE = "strategies: [label_smoothing: {smoothing: 0.2}]\n"


@pytest.fixture
def study(here: Path) -> StudyFolder:
    """A study of two families whose defaults wait; nobody drives it."""
    space = Space.read("label_smoothing", discover(), check_combination, stages=3)
    definition = StudyDefinition.parse(VALUES)
    with StudyLock(lock_path(here / "runs", "small")):
        folder = StudyFolder.prepare(here / "runs", definition, space)
        loaded = folder.load(read_only=False)
        ledger.enqueue_defaults(loaded, space)
        close(loaded)
    (here / "mine.yaml").write_text(MINE)
    return folder


def test_a_recipe_is_asked_for_tried_and_then_known(study, invoke, here, assert_documented):
    done = invoke("enqueue", "small", "mine.yaml", "--json")
    said = json.loads(done.stdout)
    assert_documented("enqueue", said)
    assert (said["same_as"], said["room"], said["planned"]) == (None, 1, 3)
    assert json.loads(invoke("status", "small", "--json").stdout)["queued"] == 1
    assert "asked   1 by `autosd enqueue`" in invoke("status", "small").stdout
    assert invoke("search", "runs/small/study.yaml", "--inline").exit_code == 0
    assert not list((here / "runs/small/queue").iterdir())
    listed = json.loads(invoke("trials", "small", "--json").stdout)
    assert_documented("trials", listed)
    assert [trial["origin"] for trial in listed["trials"]] == ["default", "default", "user"]
    assert listed["trials"][2]["params"] == {"label_smoothing.smoothing": 0.2}
    again = invoke("enqueue", "small", "mine.yaml")
    assert "trial 2 (complete, " in again.stdout
    assert "nothing to try" in again.stdout
    assert not list((here / "runs/small/queue").iterdir())
    check_csv(invoke, here)


def check_csv(invoke, here: Path) -> None:
    """The same trials as a file, on standard output, and as a table."""
    assert invoke("trials", "small", "--csv", "trials.csv").exit_code == 0
    written = (here / "trials.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [row["label_smoothing.smoothing"] for row in rows] == ["", "0.1", "0.2"]
    assert invoke("trials", "small", "--csv", "-").stdout == written
    shown = invoke("trials", "small").stdout
    assert "smoothing 0.2" in shown
    assert "complete" in shown


def test_a_full_plan_says_how_to_make_room(study, invoke, here):
    for smoothing in (0.15, 0.25):
        (here / "mine.yaml").write_text(MINE.replace("0.2", str(smoothing)))
        done = invoke("enqueue", "small", "mine.yaml", "--dir", "runs")
        assert done.exit_code == 0
    assert "the plan of 3 trials is full" in done.stdout
    assert "`autosd search small --trials 4`" in done.stdout


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("strategies: [label_smoothing: {smoothing: 0.9}]", "0.9 is outside the range 0"),
        ("strategies: [masd]", "no family of this study trains masd"),
        ("{strategies: [label_smoothing], epochs: 7}", "epochs: 7 in the recipe, 1 in this study"),
        ("strategies: [label_smoothin]", "Did you mean 'label_smoothing'?"),
        ("epochs: 1", "strategies: is missing"),
        ("- masd", "a mapping of keys to values is needed"),
    ],
)
def test_what_the_study_cannot_try_is_refused_before_anything_is_written(
    study, invoke, here, text, fault
):
    (here / "mine.yaml").write_text(text)
    done = invoke("enqueue", "small", "mine.yaml")
    assert done.exit_code == 2
    assert fault in done.stderr
    assert not (here / "runs/small/queue").exists()


def test_json_and_csv_do_not_share_standard_output(study, invoke):
    done = invoke("trials", "small", "--csv", "-", "--json")
    assert done.exit_code == 2
    assert "--csv -" in done.stderr
