"""A driver that was stopped and comes back late writes nothing into a study that another has.

Real processes, halted by SIGSTOP: on one machine, where the lock file was removed or the folder was
restored from a copy meanwhile, and with a database server, whose owner's row was taken over.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.results.glance import glance
from autosd.results.state import sweep_if_free
from autosd.results.stopping import stop
from autosd.search import ledger
from autosd.search.address import PASSWORD_VARIABLE
from autosd.search.lock import StudyLocked
from autosd.search.study import StudyFolder, close

from ..search import servers
from .invariants import Witness

DRIVE = Path(__file__).parents[1] / "search" / "drive.py"
TRIALS, EPOCHS = 16, 8
VALID = 4.0


@contextlib.contextmanager
def driver(root: Path, *words: object, sleep: float) -> Iterator[subprocess.Popen[str]]:
    """A driver in a process of its own, which is gone at the end, stopped or not."""
    command = [sys.executable, DRIVE, root, "--trials", TRIALS, "--valid", VALID, *words]
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, "SLEEP": str(sleep)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def wait_for_a_trial(process: subprocess.Popen[str], study: Path) -> None:
    """Wait until the driver of a study is at its third trial."""
    until = time.monotonic() + 120
    while not (study / "trials/0002/history.jsonl").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)


def held(database: Path) -> bool:
    """Whether another process writes to a database in a file; a server has none here."""
    if not database.exists():
        return False
    with contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as mine:
        try:
            mine.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        mine.execute("ROLLBACK")
    return False


def halt_in_a_trial(process: subprocess.Popen[str], study: Path) -> None:
    """Stop the driver of a study at its third trial, between two files and two transactions.

    One that has asked whether the study is its own and is stopped before the rename ends the write;
    one that is stopped while it holds the database lets nobody else have it.
    """
    wait_for_a_trial(process, study)
    process.send_signal(signal.SIGSTOP)
    while any(study.glob("trials/*/.*")) or held(study / "study.db"):
        process.send_signal(signal.SIGCONT)
        time.sleep(0.003)
        process.send_signal(signal.SIGSTOP)


def come_back(process: subprocess.Popen[str]) -> str:
    """Let a stopped driver go on; what it says at its end, which is no success."""
    process.send_signal(signal.SIGCONT)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 2, said
    return said


def whole(study: Path, storage: str | None = None) -> dict[str, object]:
    """All that a driver could change: trials and study in the database, and every file."""
    loaded = StudyFolder.open(study, storage=storage).load()
    try:
        trials = [(t.state, t.value, t.params, t.user_attrs) for t in ledger.trials(loaded)]
        record = {"trials": trials, "study": loaded.user_attrs}
    finally:
        close(loaded)
    return record | {
        str(path): path.read_bytes()
        for path in study.rglob("*")
        if path.is_file() and not path.name.startswith("study.db")
    }


def remove_lock(study: Path) -> None:
    """As somebody who thinks that a lock file is left over."""
    (study / ".lock").unlink()


def restore_from_copy(study: Path) -> None:
    """The folder is another one of the same name, with a copy of the lock file in it."""
    shutil.copytree(study, study.with_name("copy"))
    shutil.rmtree(study)
    study.with_name("copy").rename(study)


def check_late(root: Path, meanwhile: Callable[[Path], None], *words: object) -> None:
    """One driver is stopped, another does the rest of the study, the first one comes back."""
    study = root / "s"
    with driver(root, *words, sleep=0.02) as late:
        halt_in_a_trial(late, study)
        meanwhile(study)
        with driver(root, *words, sleep=0.001) as second:
            assert second.wait(120) == 0, second.communicate()[1]
        witness = Witness(study, EPOCHS)
        witness.end(TRIALS)
        before = whole(study)
        assert "s: was taken over by another process" in come_back(late)
        assert whole(study) == before
        witness.end(TRIALS)
        assert not witness.faults, witness.faults


def test_a_driver_that_comes_back_after_its_lock_was_removed_writes_nothing(tmp_path: Path) -> None:
    check_late(tmp_path, remove_lock)


@pytest.mark.slow
def test_a_driver_that_comes_back_to_a_restored_folder_writes_nothing(tmp_path: Path) -> None:
    check_late(tmp_path, restore_from_copy)


@pytest.mark.slow
def test_a_stopped_driver_keeps_its_study_and_the_second_is_told_how_to_end_it(
    tmp_path: Path,
) -> None:
    study = tmp_path / "s"
    with driver(tmp_path, sleep=0.02) as first:
        halt_in_a_trial(first, study)
        with driver(tmp_path, sleep=0.02) as second:
            said = second.communicate(timeout=60)[1]
        assert second.returncode == 2
        assert f"is being run by process {first.pid} on" in said
        assert f"kill -CONT {first.pid}" in said
        first.send_signal(signal.SIGCONT)
        assert first.wait(120) == 0
    witness = Witness(study, EPOCHS)
    witness.end(TRIALS)
    assert not witness.faults, witness.faults


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database server of our own."""
    with getattr(servers, request.param)() as address:
        yield address


@pytest.mark.slow
@pytest.mark.db
def test_a_server_knows_one_driver_and_a_late_one_writes_nothing(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two folders stand for two machines: neither sees the lock of the other."""
    one, two = tmp_path / "one", tmp_path / "two"
    with driver(one, "--storage", url, sleep=0.5) as late:
        wait_for_a_trial(late, one / "s")
        shutil.copytree(one / "s", two / "s")
        with driver(two, "--storage", url, sleep=0.001) as refused:
            said = refused.communicate(timeout=60)[1]
        assert refused.returncode == 2
        assert f"s: is being run by process {late.pid} on" in said
        assert f"is being run by process {late.pid} on" in who_runs(two / "s", url)
        seen = glance(StudyFolder.open(two / "s", storage=url)).owner
        assert seen is not None
        assert seen.pid == late.pid
        if servers.PASSWORD in url:  # which is not stored
            with pytest.raises(AutosdError, match=rf"^storage .*; .* from {PASSWORD_VARIABLE}$"):
                stop("s", two)
            monkeypatch.setenv(PASSWORD_VARIABLE, servers.PASSWORD)
        with pytest.raises(StudyLocked, match=f"with autosd stop {one / 's'};"):
            stop("s", two)
        late.send_signal(signal.SIGSTOP)
        time.sleep(VALID)
        with driver(two, "--storage", url, sleep=0.001) as second:
            assert second.wait(120) == 0, second.communicate()[1]
        before = whole(two / "s", url)
        assert "s: was taken over by another process" in come_back(late)
        assert whole(two / "s", url) == before
        assert who_runs(two / "s", url) == "nobody runs it"


def who_runs(study: Path, storage: str) -> str:
    """What `autosd status` says of it."""
    return sweep_if_free(StudyFolder.open(study, storage=storage))


@pytest.mark.slow
@pytest.mark.db
def test_a_driver_that_ends_leaves_the_server_to_the_next_at_once(tmp_path: Path, url: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for root, killed in ((one, True), (one, False), (two, False)):
        with driver(root, "--storage", url, sleep=0.01) as process:
            if killed:
                halt_in_a_trial(process, root / "s")
                process.kill()
                process.wait()
                continue
            assert process.wait(120) == 0, process.communicate()[1]
        shutil.copytree(one, two, dirs_exist_ok=True)
