"""T6 and the storage: paths, modes, readers, broken files, the lock."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from autosd.errors import AutosdError, NotAllowed
from autosd.search import address, store
from autosd.search.lock import StudyLock, StudyLocked, lock_if_free, read_owner
from autosd.search.store import StorageBroken

HOLD = """
import sys, time
from pathlib import Path
from autosd.search.lock import StudyLock
with StudyLock(Path(sys.argv[1])) as lock:
    print(lock.token, flush=True)
    time.sleep(600)
"""


def filled(folder: Path) -> str:
    """The URL of a storage with a study of two trials."""
    url = address.storage_url(folder)
    storage = store.open_storage(url)
    study = optuna.create_study(storage=storage, study_name="s")
    for value in (0.1, 0.2):
        study.tell(study.ask(), value)
    store.close(storage)
    return url


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock; returns once it does."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == token(path)
    return process


def token(path: Path) -> str | None:
    """What a worker compares its own with."""
    owner = read_owner(path)
    return None if owner is None else owner.token


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_paths_are_absolute_and_relative_ones_start_in_the_study_folder(tmp_path: Path) -> None:
    assert address.storage_url(tmp_path) == f"sqlite:///{tmp_path}/study.db"
    assert address.storage_url(tmp_path, "sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert address.storage_url(tmp_path, "sqlite:////data/b.db") == "sqlite:////data/b.db"


@pytest.mark.parametrize(
    "url",
    [
        "journal:///x",
        "sqlite://",
        "sqlite:///:memory:",
        "study.db",
        "oracle://u:secret@h/d",
        "postgresql://me:secret@db:port/s",
    ],
)
def test_other_kinds_of_storage_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(AutosdError, match="storage: ") as caught:
        address.storage_url(tmp_path, url)
    assert "secret" not in str(caught.value)


def test_a_server_gets_the_driver_that_is_tried(tmp_path: Path) -> None:
    url = address.storage_url(tmp_path, "postgresql://me:geheim@db/studies")
    assert url == "postgresql+psycopg://me:geheim@db/studies"
    assert address.storage_url(tmp_path, "mysql+pymysql://db/s") == "mysql+pymysql://db/s"


def test_a_password_is_never_shown() -> None:
    for url in ("postgresql://me:geheim@db/s", "postgresql://me@db/s?password=geheim"):
        assert "geheim" not in address.shown(url)
        assert "geheim" not in address.without_password(url)
        assert "db/s" in address.without_password(url)
    assert "geheim" not in address.shown("postgresql://me:geheim@db:notaport/s")


def test_a_password_on_a_command_line_is_never_shown() -> None:
    words = ["--storage", "mysql://me:geheim@db/s", "--storage=postgresql://me:geheim@db/s"]
    shown = [address.shown_word(word) for word in words]
    assert shown == ["--storage", "mysql://me:***@db/s", "--storage=postgresql://me:***@db/s"]


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(AutosdError, match=r"pip install 'psycopg\[binary\]'") as caught:
        store.open_storage("postgresql+psycopg://me:geheim@db/s")
    assert "geheim" not in str(caught.value)


def test_sqlite_writes_ahead_and_a_closed_study_is_one_file(tmp_path: Path) -> None:
    url = address.storage_url(tmp_path)
    storage = store.open_storage(url)
    study = optuna.create_study(storage=storage, study_name="s")
    with storage.engine.connect() as connection:
        modes = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous")
        ]
    assert modes == ["wal", 1]
    study.tell(study.ask(), 0.5)
    assert (tmp_path / "study.db-wal").stat().st_size > 0
    store.close(storage)
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "study.db").read_bytes())
    again = optuna.load_study(study_name="s", storage=f"sqlite:///{copy}")
    assert again.best_value == 0.5


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a folder? with 100% #odd & ünusual=names"
    assert len(optuna.load_study(study_name="s", storage=store.open_storage(filled(folder))).trials)
    assert (folder / "study.db").is_file()


def test_a_reader_cannot_write_and_sees_what_is_committed(tmp_path: Path) -> None:
    url = filled(tmp_path)
    writer = optuna.load_study(study_name="s", storage=store.open_storage(url))
    reader = optuna.load_study(study_name="s", storage=store.open_storage(url, read_only=True))
    writer.tell(writer.ask(), 0.7)
    assert [trial.value for trial in reader.trials] == [0.1, 0.2, 0.7]
    with pytest.raises(optuna.exceptions.StorageInternalError):
        reader.set_user_attr("x", 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_reader_opens_a_study_on_a_read_only_disk(tmp_path: Path) -> None:
    url = filled(tmp_path)
    tmp_path.chmod(0o555)
    study = optuna.load_study(study_name="s", storage=store.open_storage(url, read_only=True))
    assert len(study.trials) == 2
    tmp_path.chmod(0o755)


def test_a_reader_leaves_nothing_behind(tmp_path: Path) -> None:
    url = filled(tmp_path)
    storage = store.open_storage(url, read_only=True)
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 2
    store.close(storage)
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_a_reader_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=r"study\.db: no such database"):
        store.open_storage(address.storage_url(tmp_path), read_only=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_named_with_the_way_out(
    tmp_path: Path, read_only: bool
) -> None:
    (tmp_path / "study.db").write_bytes(b"this is no database at all, " * 100)
    with pytest.raises(StorageBroken, match=r"study\.db: not readable.*start the study anew"):
        store.open_storage(address.storage_url(tmp_path), read_only=read_only)


def test_damage_inside_the_database_is_named(tmp_path: Path) -> None:
    url = filled(tmp_path)
    file = tmp_path / "study.db"
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StorageBroken, match=r"study\.db: not readable"), store.readable(url):
        optuna.load_study(study_name="s", storage=store.open_storage(url, read_only=True))


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    with pytest.raises(StorageBroken, match=r"study\.db: not readable.*no such table"):
        store.open_storage(address.storage_url(tmp_path), read_only=True)


def test_a_folder_in_the_place_of_its_journal_is_no_full_disk(tmp_path: Path) -> None:
    url = filled(tmp_path)
    (tmp_path / "study.db-wal").mkdir()
    with pytest.raises(NotAllowed, match=r"and of study\.db, study\.db-wal, .* files"):
        store.open_storage(url)


def test_a_server_s_word_on_a_password_comes_with_where_it_is_taken_from() -> None:
    url = "postgresql+psycopg://u@localhost/db"
    for reason, hint in (("password authentication failed", True), ("deadlock detected", False)):
        with pytest.raises(AutosdError, match=reason) as refused, store.readable(url):
            raise ValueError(reason)
        assert str(refused.value).endswith("AUTOSD_STORAGE_PASSWORD") is hint


def test_the_lock_says_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "study" / ".lock"
    with StudyLock(path) as lock:
        owner = read_owner(path)
        assert owner is not None
        assert (owner.host, owner.pid) == (socket.gethostname(), os.getpid())
        assert abs(owner.since - time.time()) < 60
        assert token(path) == lock.token
        assert not os.get_inheritable(lock._file.fileno())
    assert token(path) is None


def test_a_second_process_is_refused_and_told_the_owner(tmp_path: Path) -> None:
    path = tmp_path / "digits" / ".lock"
    process = hold(path)
    try:
        with pytest.raises(StudyLocked) as caught, StudyLock(path, wait=0.1):
            pass
        said = str(caught.value)
        assert f"process {process.pid} on {socket.gethostname()}" in said
        assert said.startswith("digits: is being run by")
        assert caught.value.exit_code == 2
        with lock_if_free(path) as lock:
            assert lock is None
        assert read_owner(path).pid == process.pid
    finally:
        end(process)


def test_the_lock_is_free_after_sigkill_and_the_token_changes(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    process = hold(path)
    before = token(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert token(path) == before
    with StudyLock(path) as lock:
        assert token(path) == lock.token != before


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with StudyLock(path):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        with StudyLock(path, wait=0.0):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_reader_takes_a_free_lock_only_for_its_block(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with lock_if_free(path) as lock:
        assert lock is not None
        with pytest.raises(StudyLocked), StudyLock(path, wait=0.0):
            pass
    with StudyLock(path, wait=0.0):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"host": "a"})])
def test_a_lock_file_with_anything_in_it_has_no_owner(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lock").write_text(text)
    assert read_owner(tmp_path / ".lock") is None
