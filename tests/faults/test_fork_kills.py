"""A fork that is killed at random moments, and the same command again each time."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autosd.search.study import StudyFolder

from ..search import drive

KILLS, TRIALS = 12, 40
FORK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import drive
from autosd.data.loading import load_data
from autosd.search.fork import planned
from autosd.search.forked import announce, copy
from autosd.search.lock import StudyLock
from autosd.search.ready import Ready
from autosd.search.study import StudyFolder, lock_path, study_path

root = Path(sys.argv[1])
wanted = drive.definition(90, "new")
data = load_data(wanted.recipe.data)
with StudyLock(lock_path(root, "new")) as lock:
    plan = planned(Ready(wanted, drive.SPACE, data), root, "s", None)
    print("begun", flush=True)
    if plan is not None:
        announce(study_path(root, "new"), "s")
        folder = StudyFolder.prepare(root, wanted, drive.SPACE)
        folder.split.check(data.counts, data.fingerprint)
        copy(plan, folder, lock.check)
"""


def start(root: Path) -> subprocess.Popen[str]:
    """A fork in a process of its own, at the moment before it writes."""
    drives = str(Path(drive.__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", FORK, str(root), drives], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def contents(folder: Path) -> dict[str, str]:
    """Digests of the files of a trial."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "recipe.yaml"
    }


@pytest.mark.slow
def test_a_fork_that_is_killed_at_any_moment_copies_every_trial_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autosd.data.loading import load_data

    monkeypatch.setitem(os.environ, "SLEEP", "0")
    drive.run(tmp_path, drive.definition(TRIALS), "inline", 1)
    source = StudyFolder.find("s", tmp_path)
    data = load_data(source.definition.recipe.data)
    source.split.check(data.counts, data.fingerprint)
    stream, cut = random.Random(5), 0
    for _ in range(KILLS):
        process = start(tmp_path)
        time.sleep(stream.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        cut += process.returncode == -signal.SIGKILL
    assert cut, "every fork was over before it was killed"
    process = start(tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 0
    check(source, StudyFolder.find("new", tmp_path))


def check(source: StudyFolder, new: StudyFolder) -> None:
    """Every finished trial is there once, with value, curve and files."""
    copied: dict[Any, Any] = {
        one.attributes["forked_from"]: one for one in new.records(hidden=True)
    }
    there = {one.number: one for one in source.records() if one.state in ("complete", "pruned")}
    assert len(new.records(hidden=True)) == len(copied)
    assert copied.keys() == there.keys()
    for number, old in there.items():
        one = copied[number]
        assert (one.state, one.value, one.curve) == (old.state, old.value, old.curve)
        assert contents(new.trial(one.number)) == contents(source.trial(old.lineage))
    assert not list((new.path / "trials").glob(".*"))
