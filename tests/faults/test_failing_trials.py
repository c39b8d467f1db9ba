"""Trials that fail in every way, in studies of the real command line."""

import ctypes
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial

from .invariants import Witness
from .living import HANG, Living, living, wait_for

UNSOUND = f"{Path(__file__).with_name('unsound.py')}:Unsound"
EPOCHS = 2
SEARCH = ["search", "digits", "--model", UNSOUND, "--space", "label_smoothing", "--name", "u"]
SEARCH += ["--epochs", str(EPOCHS), "--set", "finalists.count=0", "--set", "pruner=none"]
LIMIT = 30.0
"""Longest that an epoch may take where one hangs; the others take a second or so."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Living]:
    (tmp_path / "tickets").mkdir()
    with living(tmp_path, TICKETS=str(tmp_path / "tickets"), FATES="{}") as found:
        yield found


def search(place: Living, *more: str, fates: dict[int, str] | None = None) -> int:
    """Search to the end, whatever it is; the exit code."""
    place.environment["FATES"] = json.dumps(fates or {})
    return place.start(*SEARCH, *more).wait(HANG)


def status(place: Living) -> dict[str, Any]:
    """What `autosd status --json` says."""
    code = place.start("status", "u", "--json").wait(HANG)
    assert code == 0, place.said()
    said: dict[str, Any] = json.loads(place.said().splitlines()[-1])
    return said


def check(place: Living, planned: int) -> list[FrozenTrial]:
    """All trials, of which what must hold does."""
    witness = Witness(place.study("u"), EPOCHS)
    trials = witness.end(planned)
    assert not witness.faults, witness.faults
    return trials


def together(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether two trials ran at the same time."""
    begun, ended = zip(
        *((t.datetime_start, t.datetime_complete) for t in (one, other)), strict=True
    )
    return bool(max(begun) < min(ended))


@pytest.mark.slow
@pytest.mark.ray
def test_with_a_fifth_of_the_trials_failing_in_all_ways_the_study_ends_and_says_why(
    place: Living,
) -> None:
    fates = {2: "raise", 5: "nan", 8: "inf", 11: "host", 14: "device", 17: "kill", 20: "hang"}
    fates |= {23: "exit"}
    limit = ["--set", f"epoch_seconds={LIMIT:g}"]
    assert search(place, "--trials", "30", "--slots", "2", *limit, fates=fates) == 0, place.said()
    trials = check(place, 30)
    now = status(place)
    assert Counter(one["kind"] for one in now["failures"]) == {"error": 2, "diverged": 2}
    assert Counter(one["kind"] for one in now["retried"]) == {"memory": 2, "worker": 1, "hung": 1}
    assert (now["complete"], now["pruned"], now["failed"]) == (26, 2, 2)
    for one in (*now["failures"], *now["retried"]):
        told = (place.study("u") / one["file"]).read_text()
        assert f"trial {one['trial']}: {one['kind']}: {one['reason']}" in told
        assert one["kind"] == "worker" or "Traceback" in told or "most recent call first" in told
    hung = next(one for one in now["retried"] if one["kind"] == "hung")
    assert "in _hang" in (place.study("u") / hung["file"]).read_text()
    alone = [t for t in trials if "memory" in t.user_attrs.get("failed_before", ())]
    assert [t.state.name for t in alone] == ["COMPLETE"] * 2
    for one in alone:
        assert not [t.number for t in trials if t.number != one.number and together(one, t)]


@pytest.mark.slow
@pytest.mark.ray
def test_worker_that_is_stopped_is_ended_by_the_driver(place: Living) -> None:
    """Nothing in it runs any more in its second epoch, so it cannot end itself."""
    limit = ["--set", "epoch_seconds=20"]
    code = search(place, "--trials", "4", "--slots", "2", *limit, fates={3: "stop"})
    assert code == 0, place.said()
    check(place, 4)
    (retried,) = status(place)["retried"]
    assert (retried["kind"], retried["state"]) == ("hung", "failed")


@pytest.mark.slow
@pytest.mark.ray
def test_worker_killed_by_the_memory_monitor_is_out_of_memory(
    place: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.environment["RAY_memory_usage_threshold"] = "0.01"
    assert search(place, "--trials", "2", "--slots", "1") == 0, place.said()
    now = status(place)
    assert [one["kind"] for one in now["failures"]] == ["memory"] * 2
    assert [one["kind"] for one in now["retried"]] == ["memory"] * 2
    assert "ran low on memory" in now["failures"][0]["reason"]


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of 700 MB."""
    path = Path(f"/sys/fs/cgroup/memory/autosd-test-{os.getpid()}")
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    (path / "memory.limit_in_bytes").write_text(str(700 * 2**20))
    yield path
    path.rmdir()


@pytest.mark.slow
@pytest.mark.ray
def test_worker_killed_by_the_kernel_is_out_of_memory(place: Living, group: Path) -> None:
    place.environment["GROUP"] = str(group)
    assert search(place, "--trials", "3", "--slots", "1", fates={1: "kernel"}) == 0, place.said()
    check(place, 3)
    (retried,) = status(place)["retried"]
    assert (retried["kind"], "by the kernel" in retried["reason"]) == ("memory", True)


@pytest.mark.slow
@pytest.mark.ray
def test_data_that_disappear_stop_the_study_and_nothing_counts(place: Living) -> None:
    source = place.root / "some.npz"
    write_images(source, 400)
    words = ["search", "--data", f"npz:{source}", "--model", UNSOUND, "--space", "label_smoothing"]
    words += ["--name", "u", "--epochs", str(EPOCHS), "--trials", "8", "--slots", "1"]
    words += ["--set", "finalists.count=0", "--set", "pruner=none"]
    place.environment |= {"FATES": json.dumps({2: "hang"})}
    process = place.start(*words)
    assert wait_for(lambda: (place.root / "tickets/2").exists(), process)
    away = source.rename(place.root / "away.npz")
    for worker in place.workers():
        worker.kill()
    assert process.wait(HANG) == 75, place.said()
    assert f"the data cannot be read here: {source}" in place.said()
    now = status(place)
    assert (now["complete"], now["failed"], now["running"], now["failures"]) == (2, 0, 0, [])
    assert place.start(*words).wait(HANG) == 2
    assert str(source) in place.said()
    away.rename(source)
    place.finish(*words)
    check(place, 8)


def write_images(path: Path, count: int) -> None:
    """Random images of two classes."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, 8, 8), dtype=np.uint8)
    np.savez(path, train_images=images, train_labels=np.arange(count) % 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 90 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=90m", "tmpfs", str(path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    ctypes.CDLL(None).umount2(os.fsencode(path), 2)  # even while a late process holds a file


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [["--inline"], pytest.param(["--slots", "2"], marks=pytest.mark.ray)]
)
def test_full_disk_stops_the_study_and_nothing_is_lost(
    place: Living, small_disk: Path, engine: list[str]
) -> None:
    (place.root / "runs").symlink_to(small_disk)
    witness = Witness(place.study("u"), EPOCHS)
    words = [*SEARCH, "--trials", "12", *engine]
    process = place.start(*words)
    assert wait_for(lambda: (place.root / "tickets/4").exists(), process)
    ballast = small_disk / "ballast"
    fill(ballast)
    assert process.wait(HANG) == 75, place.said()
    assert "Traceback" not in place.said()
    assert "run the same command again" in place.said()
    ballast.unlink()
    witness.look()
    place.finish(*words)
    witness.end(12)
    assert not witness.faults, witness.faults


def fill(path: Path) -> None:
    """Leave no byte free."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
