"""The owner of a study in its database: refused, taken over, fenced."""

import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from autosd.search import ledger, store
from autosd.search.lease import Lease, elsewhere
from autosd.search.lock import StudyLock, StudyLocked, TakenOver, holding, lock_if_free
from autosd.search.study import StudyFolder, close, refuse_if_run

from . import drive


@pytest.fixture
def shared(tmp_path: Path) -> tuple[StudyFolder, StudyFolder]:
    """A study whose database lies outside its folder, and a copy of the folder."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    one = StudyFolder.prepare(tmp_path / "one", drive.definition(3), drive.SPACE, storage=url)
    shutil.copytree(one.path, tmp_path / "two" / "s")
    return one, StudyFolder.open(tmp_path / "two" / "s")


def shift(folder: StudyFolder, seconds: float) -> None:
    """Move the last beat of the study's owner in time."""
    with store.plain_engine(folder.url).begin() as connection:
        connection.execute(
            sqlalchemy.text("update autosd_owners set beat = beat + :by"), {"by": seconds}
        )


def refusal(attempt: Callable[[], object]) -> str:
    """What the second one is told."""
    with pytest.raises(StudyLocked) as caught:
        attempt()
    return str(caught.value)


def written(folder: StudyFolder) -> int:
    """Trials in the database."""
    study = folder.load()
    try:
        return len(ledger.trials(study))
    finally:
        close(study)


def test_whom_the_lock_file_does_not_reach_is_refused_by_the_database(shared):
    one, two = shared
    with one.lock(), two.lock() as mine:
        close(one.load(read_only=False))
        said = refusal(lambda: two.load(read_only=False))
        assert f"s: is being run by process {os.getpid()} on {socket.gethostname()}" in said
        assert "if it was killed, the study is free in 1" in said
        assert f"end it on {socket.gethostname()} with autosd stop {one.path};" in said
        assert mine.lease is None
    with two.lock():
        close(two.load(read_only=False))


def test_a_second_command_is_refused_before_anything_heavy_is_imported(shared):
    one, two = shared
    refuse_if_run(two.path)
    with one.lock():
        close(one.load(read_only=False))
        assert f"process {os.getpid()} on" in refusal(lambda: refuse_if_run(two.path))


def test_the_owner_gives_its_row_back_at_its_end(shared):
    one, two = shared
    with one.lock():
        close(one.load(read_only=False))
        assert elsewhere(two.url, "s", two.lock_path) is not None
    assert elsewhere(two.url, "s", two.lock_path) is None
    assert holding(one.lock_path) is None


@pytest.mark.parametrize("seconds", [-1000.0, 1000.0])
def test_a_row_without_beats_or_of_a_clock_set_back_is_taken_and_its_owner_writes_nothing(
    shared, seconds
):
    one, two = shared
    with one.lock() as first, two.lock():
        late = one.load(read_only=False)
        late.ask()
        shift(one, seconds)
        owner = two.load(read_only=False)
        owner.ask()
        writes = (
            late.ask,
            lambda: late.set_user_attr("x", 1),
            lambda: late.tell(0, 0.5),
            lambda: late.enqueue_trial({}),
        )
        for write in writes:
            with pytest.raises(TakenOver, match=f"taken over by process {os.getpid()}"):
                write()
        first.check()  # its folder is its own
        owner.tell(1, 0.25)
        assert [trial.state.name for trial in owner.trials] == ["RUNNING", "COMPLETE"]
        assert "x" not in owner.user_attrs
        close(late)
        close(owner)
        first.lease.release()
        assert elsewhere(one.url, "s", one.lock_path) is not None, "the row of another was removed"


def test_a_driver_whose_lock_file_was_removed_or_replaced_writes_nothing(tmp_path):
    folder = StudyFolder.prepare(tmp_path, drive.definition(3), drive.SPACE)
    with folder.lock() as late:
        study = folder.load(read_only=False)
        copy = folder.path / "copy"
        shutil.copy(folder.lock_path, copy)
        copy.replace(folder.lock_path)
        with pytest.raises(TakenOver, match="writes nothing more"):
            study.ask()
        folder.lock_path.unlink()
        with pytest.raises(TakenOver, match="taken over by another process"):
            late.check()
        with folder.lock() as owner:
            close(folder.load(read_only=False))
            with pytest.raises(TakenOver, match=f"by process {os.getpid()}"):
                study.ask()
            close(study)
            assert holding(folder.lock_path) is owner
            owner.check()
    assert written(folder) == 0


def test_the_owner_that_a_kill_left_is_no_obstacle_where_its_lock_is_free(tmp_path):
    folder = StudyFolder.prepare(tmp_path, drive.definition(3), drive.SPACE)
    killed = StudyLock(folder.lock_path)
    with StudyLock(folder.lock_path) as lock:
        killed.owner = lock.owner
        close(folder.load(read_only=False))
        lock.lease = None  # as a kill: nothing is given back
    refuse_if_run(folder.path)
    shutil.move(folder.path, tmp_path / "moved")
    moved = StudyFolder.open(tmp_path / "moved")
    with moved.lock():
        close(moved.load(read_only=False))
    with lock_if_free(moved.lock_path) as free:
        assert free is not None


def test_of_many_that_take_a_row_at_once_one_has_it(shared, tmp_path):
    one, _ = shared
    won: list[Lease] = []
    refused: list[str] = []
    together = threading.Barrier(8)

    def take(number: int) -> None:
        path = tmp_path / str(number) / ".lock"
        with StudyLock(path) as lock:
            together.wait()
            try:
                won.append(Lease(lock, one.url, "s"))
            except StudyLocked as error:
                refused.append(str(error))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(refused) == 7
    won[0].release()


def test_the_beat_keeps_a_row_valid(shared):
    one, two = shared
    with StudyLock(one.lock_path, valid=0.4):
        close(one.load(read_only=False))
        for _ in range(5):
            threading.Event().wait(0.2)
            found = elsewhere(two.url, "s", two.lock_path)
            assert found is not None
            assert found.left > 0


def test_reading_is_never_fenced(shared):
    one, _ = shared
    with one.lock():
        study = one.load(read_only=False)
        one.lock_path.unlink()
        assert study.get_trials() == []
        assert isinstance(study, optuna.Study)
        close(study)
