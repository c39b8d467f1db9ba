"""Progress as data: what a run tells whoever watches it."""

import logging
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """A job on a slot: its family or label, epochs finished of epochs planned."""

    key: str
    name: str
    epoch: int
    epochs: int


@dataclass(frozen=True)
class Best:
    """The best complete trial so far."""

    trial: int
    value: float
    family: str


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        stage: `search`, `finalists` or the kind of another list of runs.
        planned: trials or runs in all.
        complete, pruned, failed: finished ones by their end.
        waiting: enqueued ones.
        running: jobs on slots.
        best: None before the first complete trial, and in a list.
        seconds: since the start of this session.
        seconds_left: estimate for this stage, None before there is one.
    """

    stage: str
    planned: int
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    waiting: int = 0
    running: tuple[Running, ...] = ()
    best: Best | None = None
    seconds: float = 0.0
    seconds_left: float | None = None

    @property
    def finished(self) -> int:
        """Everything that has ended."""
        return self.complete + self.pruned + self.failed


class Watch(Protocol):
    """Who wants to know."""

    def progress(self, progress: Progress) -> None:
        """Called after each event."""

    def say(self, line: str) -> None:
        """An announcement for people."""

    def lost(self, line: str) -> None:
        """Last words before the process ends."""


class Quiet:
    """A watch that only logs."""

    def progress(self, progress: Progress) -> None:
        logger.debug("%s", progress)

    def say(self, line: str) -> None:
        logger.info("%s", line)

    def lost(self, line: str) -> None:
        logger.error("%s", line)


def seconds_left(elapsed: float, done: int, left: int, slots: int) -> float | None:
    """Time for `left` more jobs at the pace of the `done` ones; None before the first is done.

    The first ones on the slots have not ended yet when the first is done: they count half.
    """
    if not done:
        return None
    return elapsed / (done + 0.5 * min(slots, left)) * left
