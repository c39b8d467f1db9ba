"""A search that is killed or stopped at any moment goes on with the same command."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from autosd.search import ledger
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder, close

TRIALS = 8
SEARCH = ["search", "--epochs", "3", "--trials", str(TRIALS), "--space", "label_smoothing"]
SETTINGS = ["--set", "finalists.count=1", "--set", "finalists.seeds=1"]
FINISHED = ("complete", "pruned", "diverged")


def start(command: list[str], here: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, *SEARCH, *SETTINGS, *more],
        cwd=here,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: subprocess.Popen[str], seconds: float = 120) -> tuple[str, str]:
    """What it said; a process (or a worker with its pipes) that never ends fails the test."""
    try:
        return process.communicate(timeout=seconds)
    finally:
        process.kill()


def epochs(study: Path) -> int:
    """Epochs on record, of trials and finalists."""
    return sum(len(path.read_text().splitlines()) for path in study.glob("*/*/history.jsonl"))


def wait_for(process: subprocess.Popen[str], study: Path, count: int) -> bool:
    """Wait until so many epochs are on record; false where the process ended before."""
    while process.poll() is None:
        if epochs(study) >= count:
            return True
        time.sleep(0.005)
    return False


def finished(study: Path) -> dict[int, TrialRecord]:
    if not (study / "study.yaml").exists():
        return {}
    found = StudyFolder.open(study).records(hidden=True)
    return {record.number: record for record in found if record.state in FINISHED}


def survive(command: list[str], autosd, here: Path, kills: int, seed: int) -> None:
    """Kill the driver at random epochs, run the same command again, and look at the record."""
    study, draw, before = here / "runs/digits", random.Random(seed), {}
    for _ in range(kills):
        process = start(command, here)
        alive = wait_for(process, study, epochs(study) + draw.randint(0, 6))
        time.sleep(draw.uniform(0, 0.2))
        process.kill()
        ended(process)
        now = finished(study)
        assert before.items() <= now.items()
        before = now
        if not alive:
            break
    done = autosd(*SEARCH, *SETTINGS, "--json")
    assert done.returncode == 0, done.stderr
    after = finished(study)
    assert before.items() <= after.items()
    check_whole(study, json.loads(done.stdout))


def check_whole(study: Path, said: dict[str, object]) -> None:
    """The planned number, each once, nothing running or waiting, no hole in a curve."""
    folder = StudyFolder.open(study)
    record = folder.load()
    now = ledger.counts(record)
    close(record)
    assert (now.running, now.waiting) == (0, 0)
    visible = folder.records()
    assert {record.state for record in visible} <= {*FINISHED, "failed"}
    assert len(visible) == TRIALS
    assert len({record.lineage for record in visible}) == TRIALS
    for record in visible:
        if record.state == "complete":
            assert [epoch for epoch, _ in record.curve] == [1, 2, 3]
    assert sum(said["trials"].values()) == TRIALS  # type: ignore[attr-defined]
    assert (study / "best/model.safetensors").is_file()


def test_three_kills_of_the_driver_lose_and_change_nothing(command, autosd, here):
    survive(command, autosd, here, kills=3, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_kills_of_the_driver_lose_and_change_nothing(command, autosd, here, seed):
    survive(command, autosd, here, kills=10, seed=seed)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGHUP, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_it_with_one_line_that_says_how_to_go_on(command, autosd, here, sent, code):
    process = start(command, here, "--inline")
    assert wait_for(process, here / "runs/digits", 2)
    process.send_signal(sent)
    out, err = ended(process, 30)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("interrupted; to go on: autosd search --epochs 3")
    said = json.loads(autosd("status", "digits", "--json").stdout)
    assert said["running"] == 0
    assert said["waiting"] > 0


def test_status_tells_the_truth_after_a_kill(command, autosd, here):
    process = start(command, here, "--inline")
    assert wait_for(process, here / "runs/digits", 2)
    process.kill()
    ended(process)
    said = json.loads(autosd("status", "digits", "--json").stdout)
    assert said["running"] == 0


def test_a_second_search_of_the_same_study_is_refused_and_names_the_first(command, autosd, here):
    process = start(command, here, "--inline")
    assert wait_for(process, here / "runs/digits", 1)
    second = autosd(*SEARCH, *SETTINGS)
    process.kill()
    ended(process)
    assert second.returncode == 2
    assert str(process.pid) in second.stderr
