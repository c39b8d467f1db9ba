"""The commands that operate a study: exit codes, words, JSON."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autosd.cli.main import app
from autosd.results.retrying import search_command
from autosd.search.study import StudyFolder

Run = Callable[..., Result]


@pytest.fixture
def run(root: Path) -> Run:
    """Run a command on the folder of studies that holds `tiny`."""

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--dir", str(root)])

    return invoke


def fail(root: Path, number: int, reason: str) -> None:
    """Let a trial be one that failed for good."""
    with sqlite3.connect(root / "tiny/study.db") as connection:
        trial = connection.execute("select trial_id from trials where number = ?", [number])
        (key,) = trial.fetchone()
        connection.execute("update trials set state = 'FAIL' where trial_id = ?", [key])
        connection.execute("delete from trial_values where trial_id = ?", [key])
        connection.execute(
            "insert into trial_user_attributes (trial_id, key, value_json) values (?, 'why', ?)",
            [key, json.dumps(reason)],
        )
    connection.close()


def test_stopping_what_nobody_runs_is_done_already(run, assert_documented):
    done = run("stop", "tiny")
    assert (done.exit_code, done.stdout) == (0, "tiny: nobody runs it\n")
    said = json.loads(run("stop", "tiny", "--json").stdout)
    assert_documented("stop", said)
    assert said == {"study": "tiny", "driver": None, "ended": True, "seconds": 0.0}


def test_a_request_that_is_not_waited_for_names_whom_it_reaches(run, root):
    with StudyFolder.find("tiny", root).lock() as lock:
        done = run("stop", "tiny", "--no-wait", "--json")
        assert (root / "tiny/.stop").is_file()
    assert f"asked {lock.owner} to stop after the epochs in progress" in done.stderr
    said = json.loads(done.stdout)
    assert said["driver"] == {"host": lock.owner.host, "pid": lock.owner.pid}
    assert said["ended"] is False


def test_a_failed_trial_is_put_in_the_queue_and_the_plan_stays(run, root, assert_documented):
    fail(root, 2, "MemoryError: full")
    first = run("retry", "tiny", "--failed", "--dry-run")
    assert "trial 2 (label_smoothing) failed: MemoryError: full" in first.stdout
    assert "1 trial would be tried again" in first.stdout
    said = json.loads(run("retry", "tiny", "--failed", "--json").stdout)
    assert_documented("retry", said)
    assert [one["trial"] for one in said["trials"]] == [2]
    assert said["command"] == f"autosd search tiny --dir {root}"
    state = json.loads(run("status", "tiny", "--json").stdout)
    assert (state["planned"], state["complete"], state["failed"], state["waiting"]) == (4, 3, 0, 1)
    assert "no such trial" in run("retry", "tiny", "--failed").stdout


@pytest.mark.parametrize("place", [["--dir", "/old/place"], ["--dir=/old/place"], []])
def test_the_command_that_goes_on_names_where_the_study_lies_now(root, tmp_path, place):
    moved = tmp_path / "moved"
    (root / "tiny").rename(moved)
    began = ["/old/bin/autosd", "search", *place, "tiny.yaml", "--trials", "4"]
    (moved / "environment.json").write_text(json.dumps({"command": began}))
    said = search_command(StudyFolder.open(moved), root)
    assert said == f"autosd search tiny.yaml --trials 4 --dir {tmp_path}"


def test_what_is_to_be_tried_again_has_to_be_said(run):
    done = run("retry", "tiny")
    assert done.exit_code == 2
    assert "error: say what is to be tried again: --failed, --diverged" in done.stderr


def test_a_whole_study_exits_0_and_a_damaged_one_1(run, root, assert_documented):
    good = run("verify", "tiny", "--json")
    assert good.exit_code == 0
    said = json.loads(good.stdout)
    assert_documented("verify", said)
    assert said["replayed"]["equal"] is True
    (root / "tiny/best/model.safetensors").write_bytes(b"")
    bad = run("verify", "tiny", "--no-replay")
    assert bad.exit_code == 1
    assert bad.stdout.startswith("wrong: best/model.safetensors: is not the file that was written")
    assert "tiny: 1 thing wrong" in bad.stdout
    assert_documented("verify", json.loads(run("verify", "tiny", "--no-replay", "--json").stdout))


def test_cleaning_asks_first_and_json_only_looks(run, root, assert_documented):
    students = ["clean", "tiny", "--also", "students"]
    assert run(*students).exit_code == 2
    said = json.loads(run(*students, "--json").stdout)
    assert_documented("clean", said)
    assert (said["removed"], said["bytes"] > 0) == (False, True)
    assert "nothing was removed" in run(*students, "--dry-run").stdout
    assert "stays; --also checkpoints" in run("clean", "tiny").stdout
    assert "MB freed" in run(*students, "--yes").stdout


def test_watching_what_nobody_runs_ends_at_once_and_writes_nothing(run, root):
    before = {path: path.stat().st_mtime_ns for path in (root / "tiny").rglob("*")}
    done = run("status", "tiny", "--watch")
    assert done.exit_code == 0
    assert "tiny: nobody runs it" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (root / "tiny").rglob("*")} == before
    refused = run("status", "tiny", "--watch", "--json")
    assert "--watch and --json exclude each other" in refused.stderr
