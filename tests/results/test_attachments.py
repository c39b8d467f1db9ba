"""What the dashboard shows beside trials: looked at as its page asks for it."""

import json
from dataclasses import replace
from pathlib import Path

import optuna_dashboard
import pytest

from autosd.results.attachments import ATTACHED, HEIGHT, attach, on_dashboard
from autosd.results.note import COMMANDS, note, word
from autosd.results.report.figures import FIGURES
from autosd.results.report.story import Story
from autosd.results.retrained import Retrained, Row
from autosd.results.statistics import Difference, Summary
from autosd.search.study import StudyFolder, close

PLOTS = "dashboard:plot_data:"


@pytest.fixture(scope="module")
def story(found) -> Story:
    return Story.read(found.outcome.folder)


def attributes(folder: StudyFolder) -> dict[str, object]:
    study = folder.load()
    try:
        return study._storage.get_study_system_attrs(study._study_id)
    finally:
        close(study)


def test_a_search_ends_with_note_and_figures(found, story):
    known = attributes(found.outcome.folder)
    shown = {key.split(":")[2] for key in known if key.startswith(PLOTS)}
    drawn = {name for name in ATTACHED if FIGURES[name](story) is not None}
    assert shown == drawn
    assert {"best_by_trials", "best_by_compute", "learning_curves"} <= drawn
    assert optuna_dashboard.get_note(found.outcome.folder.load()) == note(story)


def test_attaching_again_replaces(root: Path):
    folder = StudyFolder.find("tiny", root)
    before = attributes(folder)
    with folder.lock():
        attach(folder)
    after = attributes(folder)
    version = "dashboard:note_ver"
    assert {**after, version: 0} == {**before, version: 0}


def test_a_figure_on_the_dashboard_has_its_heading_and_fits(story):
    for name in ATTACHED:
        figure = FIGURES[name](story)
        if figure is not None:
            shown = on_dashboard(figure)
            assert shown.layout.title.text == figure.layout.meta["title"]
            assert shown.layout.height <= HEIGHT
            assert (len(shown.data), shown.layout.paper_bgcolor) == (len(figure.data), "#ffffff")


def test_the_note_says_the_result_and_what_to_type(story):
    text = note(story)
    assert f"**Best: {story.winner.line}.**" in text
    assert "4 of 4 trials ended: 4 complete, 0 pruned, 0 failed" in text
    for command, rest, _ in COMMANDS:
        assert f"autosd {command} tiny{rest} " in text


def test_every_command_of_the_note_exists():
    from typer.testing import CliRunner

    from autosd.cli.main import app

    for command, rest, _ in COMMANDS:
        done = CliRunner().invoke(app, [command, "--help"])
        assert done.exit_code == 0
        assert all(option in done.stdout for option in rest.split() if option.startswith("--"))


def test_before_a_result_the_note_says_so(story):
    text = note(replace(story, winner=None, finalists=(), compared=()))
    assert "No trial is complete yet" in text
    assert "Best:" not in text


def test_after_retraining_the_note_has_its_table(story):
    score = Summary(0.9123, 0.004, 3)
    row = Row(
        recipe="masd-0002", roles=("winner",), family="masd", strategies=("masd",), n=3, planned=3,
        diverged=0, failed=0, metrics={"top1": score}, verdict="no difference shown",
        difference=Difference(0.01, -0.002, 0.022, 3, 0.02, ""), p_holm=None, verdict_holm="",
        declared=None, seconds=None, temperature=None, scaled={}, search=None, confirmed=None,
    )  # fmt: skip
    table = Retrained(
        "tiny", "resnet8", "digits", "top1", 1, (2000,), ("train",), 297, (row,), (), ()
    )
    line = "| masd-0002 | 91.2 ± 0.4 % | 3 | -0.2 to +2.2 | no difference shown |"
    assert line in note(replace(story, retrained=table))


def test_a_name_cannot_leave_its_place():
    assert word("a`<script>\n# b") == "`a'<script> # b`"


def test_a_note_is_small_enough_for_every_database(found):
    attrs = attributes(found.outcome.folder)
    assert max(len(json.dumps(value)) for value in attrs.values()) < 60_000
