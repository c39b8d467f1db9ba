"""How well the slots were used, over all sessions of a study."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

USE = "use"
"""User attribute of a study that holds its `Use` as a mapping."""


@dataclass(frozen=True)
class Use:
    """Slot time of a study.

    Attributes:
        busy: seconds inside steps, over all slots.
        slots: slots x seconds from the first step to the last, summed over sessions.
        seconds: wall seconds of the sessions, start of the engine included.
    """

    busy: float = 0.0
    slots: float = 0.0
    seconds: float = 0.0

    @property
    def share(self) -> float | None:
        """Share of slot time spent in steps; None before the first step."""
        return self.busy / self.slots if self.slots > 0 else None

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> "Use":
        """What a study's user attributes say; nothing used where they say nothing."""
        return cls(**attributes.get(USE, {}))


class Meter:
    """Adds up one session on top of the earlier ones; durations by the monotonic clock."""

    def __init__(
        self,
        slots: int,
        before: Use | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.slots, self.before, self.clock = slots, before or Use(), clock
        self.start = clock()
        self.busy = self.past = 0.0
        self.first: float | None = None
        self.last = self.start

    def step(self, seconds: float) -> None:
        """A step of this length has just ended."""
        self.last = self.clock()
        if self.first is None:
            self.first = self.last - seconds
        self.busy += seconds

    def resize(self, slots: int) -> None:
        """From now on there are so many slots."""
        now = self.clock()
        if self.first is not None:
            self.past += self.slots * (now - self.first)
            self.first = self.last = now
        self.slots = slots

    @property
    def elapsed(self) -> float:
        """Wall seconds of this session."""
        return self.clock() - self.start

    def use(self) -> Use:
        """All sessions up to now."""
        span = 0.0 if self.first is None else self.last - self.first
        return Use(
            self.before.busy + self.busy,
            self.before.slots + self.past + self.slots * span,
            self.before.seconds + self.elapsed,
        )

    def spent(self, budget: float | None) -> bool:
        """Whether all sessions together took this many wall seconds."""
        return budget is not None and self.use().seconds >= budget
