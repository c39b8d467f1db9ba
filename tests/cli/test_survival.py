"""A search that is interrupted ends with one line, and a second one is refused.

Kills at every moment, and what must hold after them, are in `tests/faults`.
"""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

SEARCH = ["search", "--epochs", "3", "--trials", "8", "--space", "label_smoothing"]
SETTINGS = ["--set", "finalists.count=1", "--set", "finalists.seeds=1"]


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
