"""A study that runs: stopped from outside, watched, refused to a second driver, and its log."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autosd.cli.log import MOST_BYTES, ROOT, study_log, terminal
from autosd.cli.main import app
from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.results.verify import verify
from autosd.search.lock import StudyLock
from autosd.search.space import Space
from autosd.search.study import StudyFolder, lock_path

SEARCH = ["search", "--inline", "--epochs", "12", "--trials", "1", "--space", "label_smoothing"]
SETTINGS = ["--set", "finalists.count=0"]


def start(command: list[str], here: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, *SEARCH, *SETTINGS],
        cwd=here,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_an_epoch(process: subprocess.Popen[str], study: Path) -> None:
    while not any(path.stat().st_size for path in study.glob("trials/*/history.jsonl")):
        assert process.poll() is None
        time.sleep(0.01)


def test_a_stopped_search_says_so_and_goes_on_as_if_it_had_not_been(command, here):
    process, study = start(command, here), here / "runs/digits"
    wait_for_an_epoch(process, study)
    stopped = CliRunner().invoke(app, ["stop", "digits", "--json"])
    out, err = process.communicate(timeout=60)
    assert stopped.exit_code == 0
    assert json.loads(stopped.stdout)["driver"]["pid"] == process.pid
    assert (process.returncode, out) == (143, "")
    assert err.splitlines()[-1].startswith("stopped as process ")
    assert "; to go on: autosd search --inline --epochs 12" in err.splitlines()[-1]
    log = (study / "study.log").read_text()
    assert "trials/0000 (trial 0) begins (cross_entropy)" in log
    assert "ended: interrupted: stopped as asked" in log
    done = CliRunner().invoke(app, [*SEARCH, *SETTINGS, "--json"])
    assert done.exit_code == 0, done.stderr
    found = verify("digits", here / "runs", replay=_trial_of_lineage_0(study))
    assert found.whole, found.faults
    assert found.replayed is not None
    assert found.replayed.epochs == 12
    assert found.counts is not None
    assert found.counts.superseded == 1


def _trial_of_lineage_0(study: Path) -> int:
    records = StudyFolder.open(study).records()
    return next(record.number for record in records if record.lineage == 0)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["stop", "digits", "--now"], []])
def test_an_interruption_gives_up_at_most_the_epoch_in_progress(command, here, words):
    process, study = start(command, here), here / "runs/digits"
    wait_for_an_epoch(process, study)
    if words:
        assert CliRunner().invoke(app, words).exit_code == 0
    else:
        process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    kept = (study / "trials/0000/history.jsonl").read_text()
    assert CliRunner().invoke(app, [*SEARCH, *SETTINGS]).exit_code == 0
    assert (study / "trials/0000/history.jsonl").read_text().startswith(kept)
    assert verify("digits", here / "runs", replay=_trial_of_lineage_0(study)).whole


SECOND = """
import sys
sys.argv = ["autosd", "search", "digits"]
from autosd.cli.main import main
try:
    main()
except SystemExit as end:
    print(end.code, [name for name in ("torch", "ray", "optuna_dashboard") if name in sys.modules])
"""


def test_a_second_search_is_refused_before_anything_heavy_is_imported(here):
    with StudyLock(lock_path(here / "runs", "digits")) as lock:
        second = subprocess.run(
            [sys.executable, "-c", SECOND], cwd=here, capture_output=True, text=True
        )
    assert second.stdout == "2 []\n"
    assert second.stderr.startswith(f"error: digits: is being run by {lock.owner}; wait for it")


@pytest.fixture
def study(tmp_path: Path):
    """The folder of a study whose lock this process holds, with the levels as in a command."""
    level = ROOT.level
    ROOT.setLevel(logging.INFO)
    with StudyLock(tmp_path / ".lock"):
        yield tmp_path
    ROOT.setLevel(level)


def test_a_log_begins_when_the_lock_is_there_and_has_what_was_said_before(tmp_path):
    ROOT.setLevel(logging.INFO)
    with study_log(tmp_path):
        logging.getLogger("autosd.data").info("decoding")
        assert not (tmp_path / "study.log").exists()
        with StudyLock(tmp_path / ".lock"):
            logging.getLogger("autosd.search").warning("first")
    lines = (tmp_path / "study.log").read_text().splitlines()
    assert [line.split(": ", 1)[1] for line in lines[1:3]] == ["decoding", "first"]
    assert lines[0].split()[2] == "INFO"


def test_a_process_without_the_lock_writes_no_log(tmp_path):
    other = {"host": "there", "pid": os.getpid(), "since": 0.0, "token": "t"}
    (tmp_path / ".lock").write_text(json.dumps(other))
    with study_log(tmp_path):
        logging.getLogger("autosd.search").warning("not mine")
    assert not (tmp_path / "study.log").exists()


def test_a_log_alone_keeps_no_study_from_beginning(here):
    (here / "runs/digits").mkdir(parents=True)
    (here / "runs/digits/study.log").write_text("killed at once\n")
    definition = StudyDefinition.parse({"name": "digits", "recipe": {"data": "digits"}})
    space = Space.parse({"families": {"cross_entropy": {"members": ["cross_entropy"]}}})
    assert StudyFolder.prepare(here / "runs", definition, space).path == here / "runs/digits"


def test_the_log_says_how_it_ended_and_a_bug_leaves_its_traceback(study):
    with pytest.raises(AutosdError), study_log(study):
        raise AutosdError("no room")
    with pytest.raises(ZeroDivisionError), study_log(study):
        _ = 1 / 0
    text = (study / "study.log").read_text()
    assert "ERROR   autosd.cli.log: ended: no room" in text
    assert "ZeroDivisionError: division by zero" in text


def test_the_log_stays_within_two_files(study):
    with study_log(study):
        for _ in range(3):
            for _ in range(6):
                logging.getLogger("autosd.search").info("x" * (MOST_BYTES // 5))
    sizes = {path.name: path.stat().st_size for path in study.glob("study.log*")}
    assert set(sizes) == {"study.log", "study.log.1"}
    assert max(sizes.values()) <= MOST_BYTES


@pytest.mark.parametrize("words", [["--debug", "best", "none"], ["best", "--debug", "none"]])
def test_debug_shows_where_an_error_came_from_wherever_it_stands(invoke, words):
    plain, shown = invoke("best", "none"), invoke(*words)
    assert (plain.exit_code, shown.exit_code) == (2, 2)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in shown.stderr
    assert shown.stderr.endswith(plain.stderr)


def test_warnings_of_the_library_are_notes_on_the_terminal(capsys):
    with terminal(debug=False):
        logging.getLogger("autosd.search.worker").warning("%s begins anew", "trials/0001")
        logging.getLogger("autosd.search.worker").info("quiet")
    assert capsys.readouterr().err == "note: trials/0001 begins anew\n"
