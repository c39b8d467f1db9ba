"""What a watcher sees of a study, and that looking leaves no trace."""

import sqlite3
from pathlib import Path

import pytest

from autosd import yamlfile
from autosd.results.glance import Glance, glance, watch
from autosd.search.study import StudyFolder


@pytest.fixture
def tiny(root: Path) -> StudyFolder:
    return StudyFolder.find("tiny", root)


def set_state(folder: StudyFolder, number: int, state: str) -> None:
    with sqlite3.connect(folder.path / "study.db") as connection:
        connection.execute("update trials set state = ? where number = ?", [state, number])
    connection.close()


def test_a_finished_study_shows_its_finalists_and_the_watching_ends(tiny):
    (seen,) = watch(tiny)
    runs = len(list(tiny.finalists.glob("*/result.json")))
    assert seen.owner is None
    assert (seen.progress.stage, seen.progress.complete, seen.progress.planned) == (
        "finalists",
        runs,
        runs,
    )


def test_a_running_trial_is_seen_with_its_epoch(tiny):
    set_state(tiny, 3, "RUNNING")
    with tiny.lock() as lock:
        seen = glance(tiny)
    assert seen.owner == lock.owner
    assert (seen.progress.stage, seen.progress.complete) == ("search", 3)
    (running,) = seen.progress.running
    assert (running.key, running.name) == ("trials/0003", "label_smoothing")
    assert (running.epoch, running.epochs) == (1, 1)


def test_what_a_dead_driver_left_running_waits(tiny):
    set_state(tiny, 3, "RUNNING")
    seen = glance(tiny)
    assert seen.progress.running == ()
    assert seen.progress.waiting == 1


def test_runs_that_have_begun_after_the_search_are_seen(tiny):
    run = tiny.retrain / "cross_entropy-2000"
    run.mkdir(parents=True)
    (run / "job.json").write_text("{}")
    (run / "history.jsonl").write_text('{"epoch": 1, "epochs": 5}\n{"epoch": 2, "epochs": 5}\n')
    with tiny.lock():
        seen = glance(tiny)
    assert seen.progress.stage == "retrain"
    (running,) = seen.progress.running
    assert (running.name, running.epoch, running.epochs) == ("cross_entropy-2000", 2, 5)
    (run / "history.jsonl").unlink()
    (run / "recipe.yaml").write_text(yamlfile.dumps(tiny.definition.recipe.mapping()))
    with tiny.lock():
        (running,) = glance(tiny).progress.running
    assert (running.epoch, running.epochs) == (0, tiny.definition.recipe.epochs)


def test_the_watching_goes_on_while_somebody_runs_it(tiny):
    pauses: list[float] = []
    seen: list[Glance] = []
    lock = tiny.lock()
    lock.__enter__()
    for one in watch(tiny, pause=pauses.append):
        seen.append(one)
        if len(seen) == 2:
            lock.__exit__(None, None, None)
    assert [one.owner is None for one in seen] == [False, False, True]
    assert min(pauses) >= 1.0
