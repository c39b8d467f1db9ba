"""Two studies side by side: what differs between them, and what may be said of that."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autosd.results.report.closing import fingerprint
from autosd.results.report.story import Story
from autosd.results.statistics import Difference, paired_difference
from autosd.results.wording import sentence
from autosd.search.finalists import BASELINE, PART, Finalist
from autosd.search.lists import read_records

ABSENT = "-"
OWN = ("name",)
"""What differs between any two studies."""


@dataclass(frozen=True)
class Change:
    """Something that the two studies do not have in common."""

    what: str
    first: str
    second: str


@dataclass(frozen=True)
class Both:
    """A recipe that was confirmed in both studies; the difference is second minus first."""

    label: str
    first: Finalist
    second: Finalist
    difference: Difference | None


@dataclass(frozen=True)
class Pair:
    """Two studies.

    Attributes:
        first, second: their stories.
        names: how they are called, different even where the studies have one name.
        changes: what differs in definition and space.
        obstacles: why their scores must not be held against each other; empty where they may.
        difference: the second winner minus the first, paired by seed; None where nothing is
            claimed.
        why: why nothing is claimed, a clause; empty otherwise.
    """

    first: Story
    second: Story
    names: tuple[str, str]
    changes: tuple[Change, ...]
    obstacles: tuple[str, ...]
    difference: Difference | None
    why: str

    @classmethod
    def of(cls, first: Story, second: Story) -> "Pair":
        """The comparison of two stories."""
        obstacles = tuple(_obstacles(first, second))
        why = "; ".join(obstacles) or _no_claim(first, second)
        difference = None if why else _between(first, second)
        if not why and difference is None:
            why = "their confirmations have no seed in common, so they cannot be paired"
        return cls(
            first, second, _names(first, second), tuple(_changes(first, second)), obstacles,
            difference, why,
        )  # fmt: skip

    @property
    def stories(self) -> tuple[Story, Story]:
        """Both."""
        return self.first, self.second

    @property
    def sentence(self) -> str:
        """What is known of the second winner against the first."""
        ours, theirs = self.second.winner, self.first.winner
        if self.difference is None or ours is None or theirs is None:
            return (
                f"No difference between {self.names[0]} and {self.names[1]} is claimed: {self.why}."
            )
        label, than = f"{ours.label} of {self.names[1]}", f"{theirs.label} of {self.names[0]}"
        return sentence(label, self.difference, self.second.objective, than=than)

    @property
    def both(self) -> list[Both]:
        """Recipes confirmed in both studies: cross-entropy and published defaults."""
        theirs = {one.label: one for one in self.first.finalists if _published(one)}
        return [
            Both(one.label, theirs[one.label], one, self._paired(theirs[one.label], one))
            for one in self.second.finalists
            if one.label in theirs
        ]

    def _paired(self, first: Finalist, second: Finalist) -> Difference | None:
        if self.obstacles:
            return None
        return _paired(_by_seed(self.first, first.label), _by_seed(self.second, second.label))

    @property
    def families(self) -> list[str]:
        """Families that both spaces have, in the order of the second leaderboard."""
        known = set(self.first.space.families)
        return [row.family for row in self.second.rows if row.family in known]


def _names(first: Story, second: Story) -> tuple[str, str]:
    if first.name != second.name:
        return first.name, second.name
    return f"{first.name} (first)", f"{second.name} (second)"


def _obstacles(first: Story, second: Story) -> Iterator[str]:
    if first.objective != second.objective:
        yield f"one is scored by {first.objective}, the other by {second.objective}"
    marks = fingerprint(first), fingerprint(second)
    if not all(marks):
        yield "of at least one it is not known which data and division it used (split.json)"
    elif marks[0] != marks[1]:
        yield (
            "their data or the division into parts differ, so their scores are of different images"
        )


def _no_claim(first: Story, second: Story) -> str:
    for story in (first, second):
        if story.winner is None:
            return f"{story.name} has no complete trial"
        if not story.winner.confirmed:
            return f"{story.name} is not confirmed, and values of a search are too good to be true"
    return ""


def _between(first: Story, second: Story) -> Difference | None:
    return _paired(_winning(first), _winning(second))


def _winning(story: Story) -> dict[int, float]:
    return {} if story.winner is None else _by_seed(story, story.winner.label)


def _by_seed(story: Story, label: str) -> dict[int, float]:
    """Scores of a recipe's confirmation runs that gave one, by seed."""
    values = {
        run.seed: run.value(PART, story.objective)
        for run in read_records(story.folder.finalists)
        if run.label == label
    }
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def _paired(first: Mapping[int, float], second: Mapping[int, float]) -> Difference | None:
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    return paired_difference([second[seed] for seed in seeds], [first[seed] for seed in seeds])


def _published(one: Finalist) -> bool:
    """Whether its label means the same recipe of the paper in any study."""
    return one.label == BASELINE or one.label.endswith("-default")


def _changes(first: Story, second: Story) -> Iterator[Change]:
    yield from _differing(_definition(first), _definition(second))
    only = [name for name in first.space.families if name not in second.space.families]
    more = [name for name in second.space.families if name not in first.space.families]
    if only or more:
        yield Change("families in one only", ", ".join(only) or ABSENT, ", ".join(more) or ABSENT)
    for family in first.space.families:
        if family in second.space.families:
            yield from _differing(_knobs(first, family), _knobs(second, family))
    yield from _differing(_training(first), _training(second))


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Change]:
    for key in dict.fromkeys([*first, *second]):
        one, other = first.get(key, ABSENT), second.get(key, ABSENT)
        if one != other:
            yield Change(key, one, other)


def _definition(story: Story) -> dict[str, str]:
    flat = _flat({key: of for key, of in story.definition.mapping().items() if key not in OWN})
    known = {"fingerprint of data and division": fingerprint(story)}
    versions = story.environment.get("versions", {})
    return flat | known | {f"version of {name}": str(of) for name, of in versions.items()}


def _knobs(story: Story, family: str) -> dict[str, str]:
    families = story.space.mapping()["families"]
    return {f"space: {family}: {key}": of for key, of in _flat(families[family]).items()}


def _training(story: Story) -> dict[str, str]:
    return {f"space: {key}": of for key, of in _flat(story.space.mapping()["training"]).items()}


def _flat(values: Mapping[str, Any] | None, prefix: str = "") -> dict[str, str]:
    """Nested values by dotted key, as one writes them."""
    flat: dict[str, str] = {}
    for key, value in (values or {}).items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = "none" if value is None else str(value)
    return flat
