"""The ways in which a run ends without a result, and what is done about each: one table.

A fault of the recipe says something of the recipe and comes again with it, so it is not retried. A
fault of the place where the recipe ran says nothing of it, so another attempt follows, a bounded
number of times. Attempts are counted for each kind of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Kind = Literal[
    "diverged", "error", "memory", "hung", "worker", "node", "disk", "data", "interrupted"
]


@dataclass(frozen=True)
class Policy:
    """What follows a fault of one kind.

    Attributes:
        meaning: in words, for people.
        attempts: that may end so before the run has failed for good; None for any number.
        place: whether the place is at fault. Where it certainly is, and many runs in a row end so,
            none of them is blamed and the study stops.
        alone: whether the next attempt runs with no other run beside it.
    """

    meaning: str
    attempts: int | None
    place: Literal["never", "perhaps", "certainly"]
    alone: bool = False


POLICIES: Final[Mapping[Kind, Policy]] = MappingProxyType(
    {
        "diverged": Policy("a loss or a metric is not finite", 1, "never"),
        "error": Policy("the recipe raised an exception", 1, "never"),
        "memory": Policy("the machine or the GPU ran out of memory", 2, "never", alone=True),
        "hung": Policy("an epoch took longer than its limit", 2, "perhaps"),
        "worker": Policy("the worker process died, or its GPU failed", 3, "perhaps"),
        "node": Policy("the machine of the worker was lost", 5, "certainly"),
        "disk": Policy("a disk is full, read-only or faulty", 5, "certainly"),
        "data": Policy("the data set could not be read", 5, "certainly"),
        "interrupted": Policy("the driver or the user ended it", None, "never"),
    }
)


def goes_again(kind: Kind, before: Sequence[str]) -> bool:
    """Whether a run that just ended so gets another attempt.

    Args:
        kind: how it ended.
        before: kinds of its earlier attempts that count against it.
    """
    most = POLICIES[kind].attempts
    return most is None or before.count(kind) + 1 < most


def then(kind: Kind) -> str:
    """What is done after such an end, where another attempt follows."""
    beside = " with nothing beside it" if POLICIES[kind].alone else ""
    return f"it is tried again{beside}"


def must_be_alone(before: Sequence[str]) -> bool:
    """Whether the next attempt of a run with these earlier ones has the machine to itself."""
    return any(POLICIES[kind].alone for kind in POLICIES if kind in before)
