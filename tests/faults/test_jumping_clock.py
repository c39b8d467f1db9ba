"""A wall clock that jumps by hours, forward and back, in the middle of a run: nothing changes.

Processes get a clock that this test shifts while they work (`jumping_clock.c`). Everything that
autosd measures or waits for is to use the monotonic clock; only dates for people may be odd.
"""

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from autosd.cli.main import main; main()"]
HOUR = 3600
JUMPS = (3 * HOUR, -5 * HOUR, 24 * HOUR, -400 * 24 * HOUR, 0, 90, -90)
HANG = 300.0
"""Seconds after which what should have happened never will."""
STUDY = """
name: timed
recipe: {data: digits, model: resnet8, epochs: 3, batch_size: 64}
space: label_smoothing
trials: 6
sampler: random
finalists: {count: 1, seeds: 1}
time_budget: 7200
"""


@dataclass
class Clock:
    """The clock of every process that is started with `environment`.

    Attributes:
        file: holds how many seconds it is ahead.
        library: the shim.
        jumps: how often it jumped.
    """

    file: Path
    library: Path
    jumps: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "LD_PRELOAD": str(self.library), "JUMPING_CLOCK": str(self.file),
                "OMP_NUM_THREADS": "1"}  # fmt: skip

    def set(self, seconds: int) -> None:
        """Jump to so many seconds ahead of the true time."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))

    def jump(self) -> None:
        """Jump every half second until `over`."""
        draw = random.Random(0)
        while not self.over.wait(0.5):
            self.set(draw.choice(JUMPS))
            self.jumps += 1


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("a clock that jumps needs a C compiler and Linux")
    made = tmp_path_factory.mktemp("clock") / "jumping_clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, timeout=HANG)
    return made


@pytest.fixture
def clock(library: Path, tmp_path: Path) -> Clock:
    file = tmp_path / "clock"
    file.write_bytes(struct.pack("=q", 0))
    return Clock(file, library)


@pytest.fixture
def jumping(clock: Clock) -> Iterator[Clock]:
    """A clock that jumps until the end of the test."""
    thread = threading.Thread(target=clock.jump, daemon=True)
    thread.start()
    yield clock
    clock.over.set()
    thread.join(HANG)


def autosd(folder: Path, clock: Clock | None, *words: str) -> str:
    """What a command prints; it has to succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if clock is None else clock.environment
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def outcome(folder: Path, clock: Clock | None = None) -> list[dict[str, Any]]:
    """Every trial without what depends on the speed of the machine."""
    trials = json.loads(autosd(folder, clock, "trials", "timed", "--json"))["trials"]
    apart = ("seconds", "started", "finished")
    return [{key: value for key, value in one.items() if key not in apart} for one in trials]


def seconds(folder: Path) -> list[float]:
    trials = json.loads(autosd(folder, None, "trials", "timed", "--json"))["trials"]
    return [one["seconds"] for one in trials]


def test_the_clock_of_a_process_jumps_and_what_it_waits_for_does_not(clock: Clock):
    clock.set(5 * HOUR)
    program = "import time, threading; a = time.monotonic(); threading.Event().wait(0.1); "
    program += "print(time.time(), time.monotonic() - a)"
    command = [sys.executable, "-c", program]
    said = subprocess.run(
        command, env=clock.environment, capture_output=True, text=True, timeout=60
    )
    now, waited = map(float, said.stdout.split())
    assert abs(now - time.time() - 5 * HOUR) < 60
    assert 0.1 <= waited < 60


@pytest.mark.slow
@pytest.mark.parametrize("engine", [["--inline"], pytest.param([], marks=pytest.mark.ray)])
def test_a_search_under_a_jumping_clock_is_the_search(
    tmp_path: Path, jumping: Clock, engine: list[str]
):
    folders = still, moved = tmp_path / "still", tmp_path / "moved"
    for folder in folders:
        folder.mkdir()
        (folder / "timed.yaml").write_text(STUDY)
    slots = [] if engine else ["--slots", "1"]
    begin = time.monotonic()
    autosd(moved, jumping, "search", "timed.yaml", *engine, *slots)
    took = time.monotonic() - begin
    autosd(still, None, "search", "timed.yaml", *engine, *slots)
    assert outcome(moved, jumping) == outcome(still)
    assert all(0 < one < took for one in seconds(moved))
    check_the_rest(moved, jumping, took)
    print(f"clock: {jumping.jumps} jumps of up to 400 days, the same 6 trials, {took:.0f} s")


def check_the_rest(folder: Path, clock: Clock, took: float) -> None:
    """Everything that looks at the study afterwards, under the same clock."""
    state = json.loads(autosd(folder, clock, "status", "timed", "--json"))
    assert (state["complete"] + state["pruned"], state["failed"], state["running"]) == (6, 0, 0)
    assert 0 < state["utilisation"] <= 1
    assert "whole" in autosd(folder, clock, "verify", "timed", "--no-replay")
    assert "nothing was left to do" in autosd(folder, clock, "search", "timed.yaml", "--inline")
    autosd(folder, clock, "status", "timed", "--watch")
    autosd(folder, clock, "report", "timed")
    autosd(folder, clock, "stop", "timed")
    assert list((folder / "runs/timed/trials").glob("*/error.txt")) == []


@pytest.mark.slow
def test_a_time_budget_counts_true_seconds(tmp_path: Path, jumping: Clock):
    (tmp_path / "timed.yaml").write_text(STUDY)
    begin = time.monotonic()
    autosd(tmp_path, jumping, "search", "timed.yaml", "--inline", "--trials", "100000",
           "--time-budget", "20s")  # fmt: skip
    took = time.monotonic() - begin
    state = json.loads(autosd(tmp_path, jumping, "status", "timed", "--json"))
    assert took > 20
    assert state["complete"] > 2
    print(f"clock: a budget of 20 s ended after {took:.0f} s with start-up and finalists")


@pytest.mark.slow
def test_a_request_to_stop_is_heard_whatever_the_clock_says(tmp_path: Path, jumping: Clock):
    (tmp_path / "timed.yaml").write_text(STUDY)
    search = subprocess.Popen(
        [*COMMAND, "search", "timed.yaml", "--inline", "--trials", "100000"],
        cwd=tmp_path,
        env=jumping.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        while not list((tmp_path / "runs/timed/trials").glob("*/history.jsonl")):
            assert search.poll() is None, search.communicate()
            time.sleep(0.1)
        autosd(tmp_path, jumping, "stop", "timed")
        assert search.wait(HANG) == 143
    finally:
        search.kill()
        search.communicate()
    assert json.loads(autosd(tmp_path, None, "status", "timed", "--json"))["running"] == 0
