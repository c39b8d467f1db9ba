"""Progress in plain lines, for whoever takes lines: a terminal, a log, a notebook."""

import time
from collections.abc import Callable

from autosd.results.numbers import duration, metric
from autosd.search.progress import Progress

EVERY = 15.0


class Lines:
    """A `Watch` that hands on a line when a stage begins and one now and then."""

    def __init__(
        self, write: Callable[[str], object], objective: str = "top1", every: float = EVERY
    ) -> None:
        """Nothing is written yet.

        Args:
            write: takes one line without its end, such as `print`.
            objective: what the values are of.
            every: seconds between two lines of the same stage.
        """
        self.write, self.objective, self.every = write, objective, every
        self._stages: set[str] = set()
        self._last = -every

    def progress(self, progress: Progress) -> None:
        """Write where the run stands, unless that was written just now."""
        now = time.monotonic()
        if progress.stage not in self._stages or now - self._last >= self.every:
            self._stages.add(progress.stage)
            self._last = now
            self.write(line(progress, self.objective))

    def say(self, line: str) -> None:
        """Write an announcement."""
        self.write(line)

    def lost(self, line: str) -> None:
        """Write last words."""
        self.write(f"error: {line}")


def line(progress: Progress, objective: str) -> str:
    """One line: `search 12/48: 8 complete, 4 pruned, 0 failed; best 91.2 % (masd); 40 s left`."""
    counts = f"{progress.complete} complete, {progress.pruned} pruned, {progress.failed} failed"
    text = f"{progress.stage} {progress.finished}/{progress.planned}: {counts}"
    if progress.best is not None:
        text += f"; best {metric(progress.best.value, objective)} ({progress.best.family})"
    if progress.seconds_left:
        text += f"; about {duration(progress.seconds_left)} left"
    return text
