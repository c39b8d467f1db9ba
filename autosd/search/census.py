"""Where the trials of a study stand, counted while they change rather than anew for each question.

Nothing of Optuna is imported: who reads a study's tables without it counts by the same rules as
the driver. Attempts at the same recipe form a *lineage*, named after the first; what a trial counts
as depends on its own lineage only.
"""

import datetime
from bisect import bisect_right, insort
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

RETRY = "retry_of"
"""User attribute of a later attempt: the number of the first one."""
DUPLICATE = "duplicate_of"
"""User attribute of a trial whose parameters an earlier one had: the number of that one."""
MARKS = (RETRY, DUPLICATE, "superseded", "ended")
"""The user attributes that decide what a trial counts as."""
MOST_DUPLICATES = 20
"""Proposals in a row that repeat earlier trials, after which a space counts as exhausted."""
PLACES = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


class State(Protocol):
    """A state of a trial, as Optuna names it."""

    @property
    def name(self) -> str: ...

    def is_finished(self) -> bool: ...


class Numbered(Protocol):
    """A trial by its number and its user attributes."""

    @property
    def number(self) -> int: ...

    @property
    def user_attrs(self) -> Mapping[str, Any]: ...


class Seen(Numbered, Protocol):
    """What is to be known of a trial: an Optuna `FrozenTrial`, or one read without Optuna."""

    @property
    def state(self) -> State: ...

    @property
    def params(self) -> Mapping[str, Any]: ...

    @property
    def value(self) -> float | None: ...

    @property
    def datetime_complete(self) -> datetime.datetime | None: ...


@dataclass(frozen=True)
class Counts:
    """How many trials stand where. Superseded attempts and duplicates are in none but their own.

    `counted` is what the plan is compared with: complete, pruned and failed. `pruned` includes
    `diverged`.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0
    diverged: int = 0
    superseded: int = 0
    duplicates: int = 0

    @property
    def counted(self) -> int:
        """Trials that the planned total is compared with."""
        return self.complete + self.pruned + self.failed


def lineage(trial: Numbered) -> int:
    """The number of the first attempt, after which the trial's folder and checkpoint are named."""
    return int(trial.user_attrs.get(RETRY, trial.number))


def superseded(found: Sequence[Seen]) -> frozenset[int]:
    """Numbers of the trials whose place another attempt takes, of whole lineages in order.

    They say so themselves, or failed and have a later attempt, which somebody asked for.
    """
    newest = {one.user_attrs[RETRY]: one.number for one in found if RETRY in one.user_attrs}
    return frozenset(
        one.number
        for one in found
        if (one.state.name == "FAIL" and one.user_attrs.get("superseded"))
        or (may_be_retried(one) and newest.get(lineage(one), -1) > one.number)
    )


def may_be_retried(trial: Seen) -> bool:
    """Whether it ended without a result: failed or diverged."""
    return trial.state.name == "FAIL" or (
        trial.state.is_finished() and trial.user_attrs.get("ended") == "diverged"
    )


class Census:
    """Counts the trials of a study: told of each trial once, and again whenever it changes."""

    def __init__(self, minimise: bool, found: Iterable[Seen] = ()) -> None:
        self._sign = -1.0 if minimise else 1.0
        self._tally = dict.fromkeys(Counts.__dataclass_fields__, 0)
        self._trials: dict[int, Seen] = {}
        self._newest = -1
        self._keys: dict[int, Hashable] = {}
        self._places: dict[int, tuple[str, ...]] = {}
        self._lineages: dict[int, list[int]] = {}
        self._alike: dict[Hashable, list[int]] = {}
        self._ends: list[tuple[datetime.datetime, int]] = []
        self._best: tuple[float, tuple[datetime.datetime, int]] | None = None
        for trial in found:
            self.update(trial)

    def update(self, trial: Seen) -> None:
        """Take in a new trial, or what became of a known one."""
        self._trials[trial.number] = trial
        self._newest = max(self._newest, trial.number)
        self._note_params(trial)
        attempts = self._lineages.setdefault(lineage(trial), [])
        if trial.number not in attempts:
            insort(attempts, trial.number)
        members = [self._trials[number] for number in attempts]
        gone = superseded(members)
        for each in members:
            self._place(each, each.number in gone)

    # What is asked.

    @property
    def counts(self) -> Counts:
        """How many trials stand where."""
        return Counts(**self._tally)

    @property
    def repeats(self) -> int:
        """How many of the newest trials, without a break, repeat earlier ones."""
        number = self._newest
        while number in self._trials and DUPLICATE in self._trials[number].user_attrs:
            number -= 1
        return self._newest - number

    @property
    def exhausted(self) -> bool:
        """Whether the last 20 proposals all repeated earlier trials."""
        return self.repeats >= MOST_DUPLICATES

    @property
    def unimproved(self) -> int:
        """Trials counted since the one that improved the best value last; 0 before any is complete.

        They count in the order in which they ended, so that it is the same after an interruption.
        """
        return (
            0 if self._best is None else len(self._ends) - bisect_right(self._ends, self._best[1])
        )

    def at(self, *places: str) -> list[int]:
        """Numbers of the trials that count in one of these fields of `Counts`, in order."""
        found = (number for number, there in self._places.items() if set(places) & set(there))
        return sorted(found)

    def first_like(self, trial: Seen) -> Seen | None:
        """The earlier trial with the same parameters, running or finished, or None."""
        for number in self._alike.get(_params(trial), ()):
            other = self._trials[number]
            replaced = DUPLICATE in other.user_attrs or "superseded" in self._places[number]
            if number < trial.number and not replaced and lineage(other) != lineage(trial):
                return other
        return None

    # What is kept.

    def _note_params(self, trial: Seen) -> None:
        """Keep whom to find by these parameters; a waiting trial has none yet."""
        old, new = self._keys.get(trial.number, ()), _params(trial)
        if old == new:
            return
        if old:
            self._alike[old].remove(trial.number)
        if new:
            insort(self._alike.setdefault(new, []), trial.number)
        self._keys[trial.number] = new

    def _place(self, trial: Seen, gone: bool) -> None:
        places = _places(trial, gone)
        old = self._places.get(trial.number, ())
        if places == old:
            return
        for name in old:
            self._tally[name] -= 1
        for name in places:
            self._tally[name] += 1
        self._places[trial.number] = places
        self._note_end(trial, bool(_COUNTED.intersection(old)))

    def _note_end(self, trial: Seen, before: bool) -> None:
        """Keep the counted trials in the order of their ends, and where the best one stands."""
        places = self._places[trial.number]
        end = (trial.datetime_complete or datetime.datetime.min, trial.number)
        now = bool(_COUNTED.intersection(places))
        if before and not now:
            self._ends.remove(end)
        elif now and not before:
            insort(self._ends, end)
        if "complete" in places and trial.value is not None:
            merit = self._sign * trial.value
            if self._best is None or (-merit, end) < (-self._best[0], self._best[1]):
                self._best = merit, end


_COUNTED = frozenset({"complete", "pruned", "failed"})


def _places(trial: Seen, gone: bool) -> tuple[str, ...]:
    """The fields of `Counts` that a trial is in."""
    if DUPLICATE in trial.user_attrs and trial.state.is_finished():
        return ("duplicates",)
    if gone:
        return ("superseded",)
    diverged = trial.user_attrs.get("ended") == "diverged"
    return (PLACES[trial.state.name], "diverged") if diverged else (PLACES[trial.state.name],)


def _params(trial: Seen) -> Hashable:
    """A key that trials with the same parameters share; empty without any."""
    waiting = trial.state.name == "WAITING"
    return () if waiting or not trial.params else frozenset(trial.params.items())
