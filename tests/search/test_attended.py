"""A run that somebody asks to stop, and who may ask."""

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autosd.errors import AutosdError, Stopped
from autosd.results.stopping import Ending, stop
from autosd.search import inline, ledger
from autosd.search.attended import Attended
from autosd.search.bridge import StudyBridge
from autosd.search.interrupts import raised
from autosd.search.jobs import Result
from autosd.search.lock import Owner, StudyLock
from autosd.search.meter import Meter
from autosd.search.progress import Quiet
from autosd.search.requests import (
    ask_to_stop,
    driver,
    refuse_if_driven,
    request_for,
    withdraw,
)
from autosd.search.study import StudyFolder, close, lock_path

from . import drive


class Heard(Quiet):
    """Knows when a request was heard."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.heard = threading.Event()

    def say(self, line: str) -> None:
        self.lines.append(line)
        self.heard.set()


class Asking(drive.FastWorker):
    """After its third epoch somebody asks; the epoch ends when the driver has heard it."""

    def __init__(self, ask: Callable[[], object], heard: threading.Event) -> None:
        self.ask, self.heard = ask, heard

    def step(self) -> Result:
        result = super().step()
        if result["epoch"] == 3 and self.job.key.endswith("0000"):
            self.ask()
            self.heard.wait(20)
        return result


def run(root: Path, ask: Callable[[Owner, Path], object], trials: int = 3) -> tuple[Heard, str]:
    """Run a study in which somebody asks; what was said, and how it ended."""
    watch, ended = Heard(), "done"
    with StudyLock(lock_path(root, "s")) as lock:
        folder = StudyFolder.prepare(root, drive.definition(trials), drive.SPACE)
        study = drive.opened(folder)
        try:
            bridge = StudyBridge(drive.search(folder, study, lock), Meter(1))
            attended = Attended(bridge, watch)
            worker = Asking(lambda: ask(lock.owner, lock.path), watch.heard)
            inline.run(attended, worker)
            attended.check()
        except Stopped as stopped:
            ended = str(stopped)
        except KeyboardInterrupt as interruption:
            ended = f"signal {interruption.args[0]}"
        finally:
            ledger.sweep(study)
            close(study)
    return watch, ended


def trials(root: Path) -> list[optuna.trial.FrozenTrial]:
    study = StudyFolder.find("s", root).load()
    try:
        return ledger.trials(study)
    finally:
        close(study)


def test_the_epoch_is_finished_and_its_trial_waits_with_its_checkpoint(tmp_path):
    watch, ended = run(tmp_path, lambda owner, lock: ask_to_stop(lock, owner, now=False))
    assert ended.startswith("stopped as process ")
    assert "the epochs in progress are finished and kept" in watch.lines[0]
    first, *others = trials(tmp_path)
    assert (first.state, first.user_attrs["why"]) == (TrialState.FAIL, "stopped as asked")
    assert list(first.intermediate_values) == [1, 2, 3]
    assert [other.state for other in others] == [TrialState.WAITING]
    assert (tmp_path / "s/trials/0000/last.pt").is_file()
    assert not (tmp_path / "s/.stop").exists()


def test_a_request_that_comes_at_the_end_of_a_stage_is_kept_for_the_next(tmp_path):
    with StudyLock(lock_path(tmp_path, "s")) as lock:
        folder = StudyFolder.prepare(tmp_path, drive.definition(1), drive.SPACE)
        study = drive.opened(folder)
        attended = Attended(StudyBridge(drive.search(folder, study, lock), Meter(1)), Quiet())
        attended.ask()
        ask_to_stop(lock.path, lock.owner, now=False)
        attended.close()
        close(study)
        assert request_for(lock.path, lock.token) is not None


def test_a_process_that_takes_the_lock_again_is_asked_again(tmp_path):
    (tmp_path / "s").mkdir()
    with StudyLock(lock_path(tmp_path, "s")) as lock:
        endings: list[Ending] = []
        asking = threading.Thread(target=lambda: endings.append(stop("s", tmp_path)))
        asking.start()
        for token in (lock.token, "next"):
            lock.path.write_text(json.dumps(asdict(replace(lock.owner, token=token))))
            while request_for(lock.path, token) is None:
                asking.join(0.02)
        assert endings == []
    asking.join()
    assert endings[0].ended
    assert not (tmp_path / "s/.stop").exists()


def test_a_request_to_another_driver_is_left_alone(tmp_path):
    with StudyLock(lock_path(tmp_path, "s")) as lock:
        ask_to_stop(lock.path, replace(lock.owner, token="another"), now=True)
        assert request_for(lock.path, lock.token) is None
        withdraw(lock.path, lock.token)
        assert request_for(lock.path, "another") is not None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"token": 1}'])
def test_what_is_no_request_is_ignored(tmp_path, content):
    (tmp_path / ".stop").write_text(content)
    assert request_for(tmp_path / ".lock", "t") is None


def test_an_urgent_request_interrupts_the_driver_as_a_signal_would(tmp_path):
    with raised():
        _, ended = run(tmp_path, lambda owner, lock: ask_to_stop(lock, owner, now=True))
    assert ended == f"signal {int(signal.SIGTERM)}"
    assert [one.state.name for one in trials(tmp_path)] == ["FAIL", "WAITING"]


def test_a_process_that_a_signal_would_kill_ends_at_its_epoch(tmp_path):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    watch, ended = run(tmp_path, lambda owner, lock: ask_to_stop(lock, owner, now=True))
    assert ended.startswith("stopped as process ")
    assert "the epochs in progress are finished" in watch.lines[0]


def test_who_runs_a_study_is_seen_without_touching_it(tmp_path):
    lock = lock_path(tmp_path, "s")
    assert driver(lock) is None
    assert not lock.parent.exists()
    with StudyLock(lock) as held:
        before = lock.read_bytes()
        assert driver(lock) == held.owner
        assert lock.read_bytes() == before
        said = f"s: is being run by process {held.owner.pid} on {held.owner.host} since 20"
        with pytest.raises(AutosdError, match=said):
            refuse_if_driven(lock)
    assert driver(lock) is None
    refuse_if_driven(lock)
