"""Whether the kernel has killed a process just now, which makes a worker's death one of memory."""

import time
from pathlib import Path

from autosd.search.raytune.kills import Kills


def counted(path: Path, kills: int) -> Path:
    path.write_text(f"nr_free_pages 7\noom_kill {kills}\nother 1\n")
    return path


def test_a_kill_counts_for_a_while_and_those_before_the_run_never(tmp_path: Path) -> None:
    counters = counted(tmp_path / "vmstat", 3)
    kills = Kills(counters, recent=0.2)
    assert not kills.recent()
    counted(counters, 4)
    assert kills.recent()
    assert kills.recent(), "two workers may have been killed"
    time.sleep(0.25)
    assert not kills.recent()


def test_a_kill_that_was_seen_hours_before_a_worker_dies_is_none_of_it(tmp_path: Path) -> None:
    counters = counted(tmp_path / "vmstat", 0)
    kills = Kills(counters, recent=0.1)
    counted(counters, 1)
    kills.look()
    time.sleep(0.15)
    assert not kills.recent()


def test_without_counters_nothing_was_killed(tmp_path: Path) -> None:
    assert not Kills(tmp_path / "none").recent()
