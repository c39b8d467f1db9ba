"""Images with exactly the same pixels: within a part, between parts, and under two labels."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autosd.data.dataset import Integers

MOST_EXAMPLES = 10


@dataclass(frozen=True)
class Twin:
    """Images that are the same.

    Attributes:
        images: how a person finds each: its file, or its row.
        parts: the part of each.
        labels: the class of each.
    """

    images: tuple[str, ...]
    parts: tuple[str, ...]
    labels: tuple[int, ...]

    @property
    def conflict(self) -> bool:
        """Whether they do not all have the same label."""
        return len(set(self.labels)) > 1

    def mapping(self, class_names: Sequence[str]) -> list[dict[str, str]]:
        """Plain values of each image."""
        return [
            {"image": image, "part": part, "class": class_names[label]}
            for image, part, label in zip(self.images, self.parts, self.labels, strict=True)
        ]


@dataclass(frozen=True)
class Twins:
    """All that was found.

    Attributes:
        groups: sets of images that are the same.
        within: part -> images that repeat an earlier one of the same part.
        between: `(part, later part)` -> images of the later one that stand in the first, too.
        conflicts: groups whose labels differ.
        examples: some groups, first those between parts and those with a conflict.
    """

    groups: int
    within: Mapping[str, int]
    between: Mapping[tuple[str, str], int]
    conflicts: int
    examples: tuple[Twin, ...]

    def mapping(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Plain values."""
        return {
            "groups": self.groups,
            "within": dict(self.within),
            "between": [
                {"first": first, "second": second, "images": images}
                for (first, second), images in self.between.items()
            ],
            "label_conflicts": self.conflicts,
            "examples": [twin.mapping(class_names) for twin in self.examples],
        }


def find_twins(
    digests: Mapping[bytes, Sequence[int]],
    labels: Integers,
    part: Integers,
    names: Sequence[str],
    shown: Callable[[int], str],
) -> Twins:
    """Count the images that are the same.

    Args:
        digests: rows by the digest of their pixels.
        labels: of all rows, `[N]`.
        part: index into `names` of all rows, `[N]`.
        names: the parts.
        shown: how a person finds a row.
    """
    groups = [rows for rows in digests.values() if len(rows) > 1]
    within = dict.fromkeys(names, 0)
    between = dict.fromkeys(itertools.combinations(names, 2), 0)
    for rows in groups:
        counts = Counter(names[part[row]] for row in rows)
        for name, count in counts.items():
            within[name] += count - 1
        for first, second in between:
            between[first, second] += counts[second] if counts[first] else 0
    told = sorted(groups, key=lambda rows: -_weight(rows, labels, part))
    return Twins(
        groups=len(groups),
        within=within,
        between=between,
        conflicts=sum(len({int(labels[row]) for row in rows}) > 1 for rows in groups),
        examples=tuple(
            Twin(
                tuple(shown(row) for row in rows[:MOST_EXAMPLES]),
                tuple(names[part[row]] for row in rows[:MOST_EXAMPLES]),
                tuple(int(labels[row]) for row in rows[:MOST_EXAMPLES]),
            )
            for rows in told[:MOST_EXAMPLES]
        ),
    )


def _weight(rows: Sequence[int], labels: Integers, part: Integers) -> int:
    """What matters more is told first."""
    conflict = len({int(labels[row]) for row in rows}) > 1
    return 2 * conflict + (len({int(part[row]) for row in rows}) > 1)
