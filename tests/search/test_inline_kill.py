"""T5: a driver killed at random moments, and the same command again each time."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from autosd.search import census, ledger
from autosd.search.study import StudyFolder, close

DRIVE = Path(__file__).with_name("drive.py")
TRIALS, EPOCHS = 24, 8


def start(root: Path) -> subprocess.Popen[bytes]:
    """The driver in a process of its own."""
    command = [sys.executable, str(DRIVE), str(root), "--trials", str(TRIALS)]
    return subprocess.Popen(command, env={**os.environ, "SLEEP": "0.005"})


def trials(root: Path) -> list[FrozenTrial]:
    """What the storage says, read as any reader would."""
    if not (root / "s" / "study.yaml").exists():
        return []
    study = StudyFolder.find("s", root).load()
    try:
        return ledger.trials(study)
    finally:
        close(study)


def finished(root: Path) -> dict[int, tuple[object, ...]]:
    """Finished trials by number, with everything that must never change."""
    return {
        t.number: (t.state, t.value, json.dumps(t.params), tuple(t.intermediate_values.items()))
        for t in trials(root)
        if t.state.is_finished()
    }


def kill(root: Path, moment: float) -> dict[int, tuple[object, ...]]:
    """Run for a moment, then SIGKILL; what is finished after it."""
    process = start(root)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return finished(root)


def check_kills(root: Path, kills: int, seed: int) -> None:
    stream = random.Random(seed)
    before: dict[int, tuple[object, ...]] = {}
    for _ in range(kills):
        after = kill(root, stream.uniform(0.4, 2.0))
        assert {number: after.get(number) for number in before} == before
        before = after
    assert start(root).wait() == 0
    after = finished(root)
    assert {number: after.get(number) for number in before} == before
    check_invariants(root)


def check_invariants(root: Path) -> None:
    """The plan is full, nothing runs or waits, no lineage counts twice, curves have no holes."""
    found = trials(root)
    superseded = [t for t in found if t.user_attrs.get("superseded")]
    counting = [t for t in found if t not in superseded and "duplicate_of" not in t.user_attrs]
    assert all(t.state.is_finished() for t in found)
    assert len(counting) == TRIALS
    assert max(collections.Counter(map(census.lineage, counting)).values()) == 1
    assert all(t.state is TrialState.FAIL for t in superseded)
    for trial in counting:
        epochs = list(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))
        assert trial.state is not TrialState.COMPLETE or len(epochs) == EPOCHS
        lines = (root / f"s/trials/{census.lineage(trial):04d}/history.jsonl").read_text()
        assert [json.loads(line)["epoch"] for line in lines.splitlines()] == epochs


def test_killed_driver_loses_and_doubles_nothing(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=4, seed=1)


@pytest.mark.slow
def test_twenty_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=20, seed=2)
