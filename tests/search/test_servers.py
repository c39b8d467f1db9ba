"""Studies in a database server: PostgreSQL and MariaDB, real ones, killed and restarted drivers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import servers
import sqlalchemy
from optuna.trial import FrozenTrial

from autosd.search import address, census, ledger, store
from autosd.search.study import StudyFolder, close

DRIVE = Path(__file__).with_name("drive.py")
TRIALS = 24

pytestmark = [pytest.mark.slow, pytest.mark.db]


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with getattr(servers, request.param)() as url:
        yield url


def start(root: Path, url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(DRIVE), str(root), "--trials", str(TRIALS), "--name", root.name]
    command += ["--storage", url]
    return subprocess.Popen(command, env={**os.environ, "SLEEP": "0.005"})


def trials(root: Path, url: str) -> list[FrozenTrial]:
    study = StudyFolder.find(root.name, root, storage=url).load()
    try:
        return ledger.trials(study)
    finally:
        close(study)


def finished(found: list[FrozenTrial]) -> dict[int, tuple[object, ...]]:
    return {
        t.number: (t.state, t.value, json.dumps(t.params), tuple(t.intermediate_values.items()))
        for t in found
        if t.state.is_finished()
    }


def kill(root: Path, url: str, moment: float) -> dict[int, tuple[object, ...]]:
    """Run for a moment, then SIGKILL; what is finished after it."""
    process = start(root, url)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    begun = (root / root.name / "study.yaml").exists()
    return finished(trials(root, url)) if begun else {}


def test_killed_driver_loses_and_doubles_nothing(tmp_path: Path, url: str) -> None:
    root, stream = tmp_path / "kills", random.Random(3)
    before: dict[int, tuple[object, ...]] = {}
    for _ in range(6):
        after = kill(root, url, stream.uniform(0.8, 2.5))
        assert {number: after.get(number) for number in before} == before
        before = after
    assert start(root, url).wait(timeout=300) == 0
    found = trials(root, url)
    after = finished(found)
    assert {number: after.get(number) for number in before} == before
    assert len(after) == len(found)
    counting = [
        trial
        for trial in found
        if not trial.user_attrs.get("superseded") and "duplicate_of" not in trial.user_attrs
    ]
    assert len(counting) == TRIALS
    assert len({census.lineage(trial) for trial in counting}) == TRIALS


def test_a_server_that_is_restarted_between_two_commands_is_found_again(
    tmp_path: Path, url: str
) -> None:
    """A connection of the pool that the server closed is replaced without an error."""
    folder = tmp_path / "pool"
    storage = store.open_storage(address.storage_url(folder, url))
    study = optuna.create_study(storage=storage, study_name="pool")
    try:
        with storage.engine.connect() as connection:
            end_sessions(connection)
        study.tell(study.ask(), 0.25)
        assert study.best_value == 0.25
    finally:
        optuna.delete_study(study_name="pool", storage=storage)
        store.close(storage)


def end_sessions(connection: sqlalchemy.Connection) -> None:
    """Close every other session of this user, as a restart of the server does."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where pid <> pg_backend_pid() and usename = current_user"
        )
        return
    own = connection.exec_driver_sql("select connection_id()").scalar()
    others = connection.exec_driver_sql("select id from information_schema.processlist")
    for (number,) in others.fetchall():
        if number != own:
            connection.exec_driver_sql(f"kill {number}")


def autosd(*words: object, cwd: Path, password: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from autosd.cli.main import main; main()", *map(str, words)]
    secret = {"AUTOSD_STORAGE_PASSWORD": password} if password else {}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **secret},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_command_line_keeps_a_study_in_a_server_and_no_password_anywhere(
    tmp_path: Path, url: str
) -> None:
    quick = [
        "--trials",
        8,
        "--epochs",
        2,
        "--set",
        "finalists.count=1",
        "--set",
        "finalists.seeds=1",
    ]
    begun = autosd(
        "search", "--name", "served", "--storage", url, *quick, "--inline", "--json", cwd=tmp_path
    )
    assert begun.returncode == 0, begun.stderr
    found = json.loads(begun.stdout)["trials"]
    assert found["complete"] + found["pruned"] == 8
    status = autosd("status", "served", "--json", cwd=tmp_path, password=servers.PASSWORD)
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["complete"] == found["complete"]
    assert not (tmp_path / "runs/served/study.db").exists()
    files = [path for path in (tmp_path / "runs/served").rglob("*") if path.is_file()]
    assert not [path for path in files if servers.PASSWORD.encode() in path.read_bytes()]
    assert servers.PASSWORD not in begun.stdout + begun.stderr


def test_a_wrong_password_is_one_clear_line(tmp_path: Path) -> None:
    with servers.mariadb() as url:
        wrong = url.replace(servers.PASSWORD, "wr0ng-and-secret")
        refused = autosd("search", "--storage", wrong, "--inline", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: storage mysql")
    assert "Access denied" in refused.stderr
    assert "wr0ng-and-secret" not in refused.stderr
