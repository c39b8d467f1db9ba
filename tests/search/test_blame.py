"""Which kind of fault an exception is, and what of a hang is known."""

import errno
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy.exc
import torch

from autosd.errors import AutosdError, DataUnreadable, EngineLost, TrialDiverged
from autosd.files import write_text
from autosd.search import store
from autosd.search.blame import halted, kind_of, reason_of
from autosd.search.jobs import Job
from autosd.search.limit import hung, limited


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, "No space left on device")
KINDS = [
    (ValueError("a bug"), "error"),
    (SystemExit(1), "error"),
    (FileNotFoundError(errno.ENOENT, "No such file"), "error"),
    (TrialDiverged(3, 0, {"kd": float("inf")}), "diverged"),
    (MemoryError(), "memory"),
    (torch.OutOfMemoryError("CUDA out of memory"), "memory"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
    (RuntimeError("CUDA error: an illegal memory access"), "worker"),
    (FULL, "disk"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
    (OSError(errno.EIO, "Input/output error"), "disk"),
    (caused(AutosdError("x: cannot be written"), FULL), "disk"),
    (DataUnreadable("gone"), "data"),
    (caused(DataUnreadable("too large"), MemoryError()), "memory"),
]


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=lambda one: str(one)[:30])
def test_an_exception_is_a_fault_of_one_kind(error: BaseException, kind: str) -> None:
    assert kind_of(error) == kind


def test_an_allocation_that_fails_for_real_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**50)
    assert kind_of(failed.value) == "memory"


def test_our_own_errors_need_no_class_in_their_reason() -> None:
    assert reason_of(AutosdError("x.npz: gone")) == "x.npz: gone"
    assert reason_of(KeyError("x")) == "KeyError: 'x'"


def test_a_disk_that_takes_nothing_ends_a_run_so_that_it_can_go_on(tmp_path: Path) -> None:
    database = sqlite3.OperationalError("database or disk is full")
    wrapped = sqlalchemy.exc.OperationalError("INSERT", {}, database)
    lost = halted(caused(RuntimeError("commit"), caused(wrapped, database)))
    assert isinstance(lost, EngineLost)
    assert "database or disk is full" in str(lost)
    assert "run the same command again" in str(lost)
    (tmp_path / "folder").mkdir()
    with pytest.raises(AutosdError) as failed:
        write_text(tmp_path / "folder", "a folder is in the way")
    assert halted(failed.value) is None
    assert halted(ValueError("a bug")) is None


def test_a_database_that_another_process_holds_ends_a_run_so_that_it_can_go_on(
    tmp_path: Path,
) -> None:
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with (
            closing(sqlite3.connect(tmp_path / "study.db", timeout=0)) as waiting,
            pytest.raises(sqlite3.OperationalError) as failed,
        ):
            waiting.execute("CREATE TABLE cats (name TEXT)")
    told = [
        halted(caused(RuntimeError("commit"), failed.value)),
        store.broken(tmp_path / "study.db", failed.value),
    ]
    for lost in told:
        assert isinstance(lost, EngineLost)
        assert "database is locked; another process holds the database" in str(lost)
        assert "run the same command again" in str(lost)


@pytest.mark.parametrize("kind", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_database_server_that_is_lost_ends_a_run_so_that_it_can_go_on(kind: str) -> None:
    pytest.importorskip(kind.partition("+")[2])
    with pytest.raises(sqlalchemy.exc.OperationalError) as failed:
        sqlalchemy.create_engine(f"{kind}://me:secret@127.0.0.1:1/x").connect()
    lost = halted(caused(RuntimeError("storage"), failed.value))
    assert isinstance(lost, EngineLost)
    assert "the database server was lost (" in str(lost)
    assert "run the same command again when it answers" in str(lost)
    assert "secret" not in str(lost)


HANGS = """
import sys, time
from autosd.search.jobs import Job
from autosd.search.limit import limited

def waits_for_ever():
    time.sleep(1000)

job = Job("a", {}, sys.argv[1], epoch_seconds=0.3)
with limited(job):
    pass
with limited(job):
    waits_for_ever()
"""


def test_a_process_that_hangs_ends_itself_and_says_where(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HANGS, str(tmp_path)], timeout=60)
    assert done.returncode == 1
    fault = hung(Job("a", {}, str(tmp_path), epoch_seconds=0.3))
    assert (fault["kind"], fault["why"]) == (
        "hung",
        "hung: an epoch took longer than 0.3 s (epoch_seconds)",
    )
    assert "in waits_for_ever" in fault["traceback"]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_limited_where_nothing_is_known(tmp_path: Path) -> None:
    with limited(Job("a", {}, str(tmp_path))):
        assert list(tmp_path.iterdir()) == []
