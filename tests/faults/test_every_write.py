"""Commands killed right before a write, at each of them in the end, and run again."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autosd.results.verify import verify

from .invariants import Witness

DYING = Path(__file__).with_name("dying.py")
STUDENT = Path(__file__).with_name("noting.py")
EPOCHS, TRIALS, NEVER = 2, 2, 10**9
SEARCH = [
    *["search", "digits", "--inline", "--space", "label_smoothing", "--model"],
    *[f"{STUDENT}:Noting", "--epochs", str(EPOCHS), "--trials", str(TRIALS)],
    *["--set", "batch_size=256", "--set", "finalists.count=1", "--set", "finalists.seeds=1"],
]
TOOLS = {
    "retrain": ["retrain", "digits", "--inline", "--seeds", "1", "--json"],
    "compare": [
        *["compare", "digits", "--inline", "--strategies", "cross_entropy,label_smoothing"],
        *["--epochs", "1", "--seeds", "2", "--json"],
    ],
    "ensemble": [
        *["ensemble", "digits", "--inline", "--size", "2", "--distill", "--seeds", "1", "--json"]
    ],
    "clean": ["clean", "digits", "--also", "checkpoints", "--also", "log", "--yes", "--json"],
}
TIMES = {"seconds", "wall_seconds", "measured", "memory"}
"""What may differ between two runs of one command."""


@dataclass
class Warm:
    """A process whose forks are commands."""

    process: subprocess.Popen[str]

    def run(
        self,
        place: Path,
        words: list[str],
        die: int = NEVER,
        warm: bool = False,
        **environment: str,
    ) -> int:
        """The exit code of a command, -9 where it died at its write number `die`."""
        wanted = {"place": str(place), "words": words, "die": die, "warm": warm}
        wanted["environment"] = environment
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(wanted), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    command = [sys.executable, str(DYING)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield Warm(process)
        process.stdin.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder without a study."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "runs").mkdir()
    return folder


@pytest.fixture(scope="module")
def searched(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished study; not to be changed."""
    folder = tmp_path_factory.mktemp("searched")
    assert warm.run(folder, SEARCH) == 0, (folder / "err").read_text()
    return folder


@pytest.fixture(scope="module")
def failed(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a study all of whose trials failed; not to be changed."""
    folder = tmp_path_factory.mktemp("failed")
    warm.run(folder, SEARCH, NOTES="/nowhere/notes")
    return folder


@dataclass
class Enumeration:
    """One command from one beginning, killed at each of its writes.

    Attributes:
        warm: runs it.
        begin: the working folder before it; copied.
        words: of the command.
        room: for the copies.
    """

    warm: Warm
    begin: Path
    words: list[str]
    room: Path

    def run(self, after: Callable[[Path, Witness], None], most: int) -> str:
        """Kill it at up to `most` writes evenly spread over all; a summary.

        `after` sees the folder of each killed command once that has been run again.
        """
        begin = time.monotonic()
        whole = self.copy("whole")
        assert self.warm.run(whole, self.words, warm=True) == 0, (whole / "err").read_text()
        points = int((whole / "points").read_text())
        chosen = sorted({1 + k * points // most for k in range(most)} & set(range(1, points + 1)))
        for point in chosen:
            place = self.copy(f"point{point}")
            witness = Witness(place / "runs/digits", EPOCHS)
            witness.look()
            assert self.warm.run(place, self.words, point) == -9, point
            witness.look()
            again = self.warm.run(place, self.words)
            assert again == 0, (point, (place / "err").read_text())
            after(place, witness)
            assert not witness.faults, (point, vars(witness.faults))
            shutil.rmtree(place)
        seconds = time.monotonic() - begin
        name = self.words[0]
        return f"\n{name}: killed at {len(chosen)} of {points} writes, 0 faults, {seconds:.0f} s"

    def copy(self, name: str) -> Path:
        """A new working folder like the beginning."""
        return Path(shutil.copytree(self.begin, self.room / name))


def most(full: int) -> int:
    """How many writes, or fewer where `$KILLS` says so."""
    return int(os.environ.get("KILLS", full))


def whole(place: Path) -> None:
    """What `autosd verify` says of the study."""
    found = verify("digits", place / "runs", replays=False)
    assert found.whole, found.faults


@pytest.mark.parametrize("seed", [0])
def test_three_kills_of_a_search_lose_and_change_nothing(warm, empty, tmp_path, seed):
    draw, place = random.Random(seed), Path(shutil.copytree(empty, tmp_path / "here"))
    witness = Witness(place / "runs/digits", EPOCHS)
    for _ in range(3):
        assert warm.run(place, SEARCH, draw.randint(40, 90)) == -9
        witness.look()
    assert warm.run(place, SEARCH) == 0
    witness.end(TRIALS)
    whole(place)
    assert not witness.faults, vars(witness.faults)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_database_that_lost_its_last_commits_in_a_power_cut_is_gone_on_with(
    warm, empty, tmp_path, seed
):
    """What was committed last may be lost then, but nothing that is left may be wrong."""
    draw, place = random.Random(seed), Path(shutil.copytree(empty, tmp_path / "here"))
    study, words = place / "runs/digits", [*SEARCH, "--trials", "6"]
    assert warm.run(place, words, draw.randint(120, 180)) == -9
    lagging = {path: path.read_bytes() for path in study.glob("study.db*")}
    for _ in range(2):
        assert warm.run(place, words, draw.randint(50, 120)) == -9
    for path in study.glob("study.db*"):
        path.unlink()
    for path, content in lagging.items():
        path.write_bytes(content)
    assert warm.run(place, words) == 0, (place / "err").read_text()
    witness = Witness(study, EPOCHS)
    witness.end(6)
    assert not witness.faults, vars(witness.faults)
    found = verify("digits", place / "runs", replays=False).faults
    assert {fault.what for fault in found} <= {"the database has no such trial"}


@pytest.mark.slow
def test_a_search_goes_on_after_a_kill_at_each_of_its_writes(warm, empty, tmp_path):
    def after(place: Path, witness: Witness) -> None:
        witness.end(TRIALS)
        whole(place)
        assert (place / "runs/digits/best/model.safetensors").is_file()

    print(Enumeration(warm, empty, SEARCH, tmp_path).run(after, most(400)))


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_comes_to_the_same_end_after_a_kill_at_its_writes(warm, searched, tmp_path, name):
    def after(place: Path, witness: Witness) -> None:
        witness.end(TRIALS)
        whole(place)
        if name != "clean":  # what is left to clean is another thing every time
            assert said(place) == said(tmp_path / "whole")

    print(Enumeration(warm, searched, TOOLS[name], tmp_path).run(after, most(60)))


def said(place: Path) -> Any:
    """The JSON of the last command, without what takes its time and without where it ran."""
    return timeless(json.loads((place / "out").read_text().replace(str(place), "")))


def timeless(value: Any) -> Any:
    """Plain values without the names in `TIMES`."""
    if isinstance(value, dict):
        return {key: timeless(one) for key, one in value.items() if key not in TIMES}
    return [timeless(one) for one in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_failed_trials_are_put_back_once_however_retry_was_killed(warm, failed, tmp_path):
    def after(place: Path, witness: Witness) -> None:
        assert len([t for t in witness.look() if t.state.name == "WAITING"]) == TRIALS
        assert warm.run(place, SEARCH) == 0
        witness.end(TRIALS)
        whole(place)

    retry = ["retry", "digits", "--failed", "--json"]
    print(Enumeration(warm, failed, retry, tmp_path).run(after, most(60)))
