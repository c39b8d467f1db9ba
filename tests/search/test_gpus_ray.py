"""Shares of logical GPUs on the real engine: one session of Ray, looked at from all sides."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpus
import pytest

from autosd.search import ledger
from autosd.search.needs import CONTEXT_BYTES, FILE
from autosd.search.study import StudyFolder, close

pytestmark = [pytest.mark.ray, pytest.mark.slow]
SCRIPT = Path(gpus.__file__)
HANG = 900.0
RUNS, TRIALS = 10, 6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a list of runs and a study were trained."""
    root = tmp_path_factory.mktemp("gpus")
    command = [sys.executable, str(SCRIPT), str(root), f"--runs={RUNS}", f"--trials={TRIALS}"]
    kept = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        command, env=kept | {"SLEEP": "0.1"}, timeout=HANG, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    return root


Stay = dict[str, Any]


def stays(root: Path) -> list[Stay]:
    """Who was on which GPU with which share, from its first step to its last."""
    lines = (root / "events").read_text().splitlines()
    found: dict[tuple[Any, ...], Stay] = {}
    for event in map(json.loads, lines):
        if event["what"] != "begin":  # Tune starts workers that it then has no use for
            stay = found.setdefault((event["key"], event["pid"]), {**event, "from": event["time"]})
            stay["to"] = event["time"]
    return list(found.values())


def together(root: Path) -> Iterator[list[Stay]]:
    """All that were on the same GPU at the moment when one of them had its first step."""
    every = stays(root)
    for one in every:
        yield [
            other
            for other in every
            if other["gpu"] == one["gpu"] and other["from"] <= one["from"] <= other["to"]
        ]


def test_no_gpu_has_more_jobs_than_it_has_memory_for(root: Path) -> None:
    for crowd in together(root):
        assert sum(one["share"] for one in crowd) <= 1 + 1e-6
        assert sum(one["bytes"] + CONTEXT_BYTES for one in crowd) <= gpus.TOTAL


def test_jobs_share_a_gpu_and_both_are_used(root: Path) -> None:
    assert max(map(len, together(root))) >= 2
    assert {stay["gpu"] for stay in stays(root)} == {"0", "1"}


def test_every_run_and_every_trial_comes_to_its_end_once(root: Path) -> None:
    assert len(list(root.glob("list/finalists/*/result.json"))) == RUNS
    study = StudyFolder.find("s", root).load()
    try:
        counts = ledger.counts(study)
        assert (counts.counted, counts.failed, counts.running, counts.waiting) == (TRIALS, 0, 0, 0)
        ends = [trial.user_attrs.get("ended") for trial in ledger.trials(study)]
        assert counts.superseded == ends.count("memory")
    finally:
        close(study)


def test_workers_serve_several_jobs_of_their_size(root: Path) -> None:
    steps = stays(root)
    assert max(Counter(stay["pid"] for stay in steps).values()) >= 2
    sizes = {(stay["pid"], stay["share"]) for stay in steps}
    assert len(sizes) == len({stay["pid"] for stay in steps})


def test_measurements_are_kept_with_each_study(root: Path) -> None:
    for name in ("list", "s"):
        table = json.loads((root / name / FILE).read_text())
        assert table["total_bytes"] == gpus.TOTAL
        assert {one["strategies"] for one in table["recipes"].values()} <= set(gpus.TIMES)
