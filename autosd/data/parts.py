"""One part of a data set by itself: the others are not read, and nothing is made for training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosd.data.dataset import Images, Integers
from autosd.data.loading import open_source
from autosd.data.sources.source import Progress, Source
from autosd.data.splits import PARTS, Split, make_split
from autosd.errors import AutosdError
from autosd.recipe import DataSpec, SplitSpec, fingerprint, unknown

ALL = "all"
NAMES = (*PARTS, ALL)


@dataclass(frozen=True, eq=False)
class OpenData:
    """A data set whose labels are known and of whose images none was read.

    Attributes:
        source: where it comes from.
        spec: what it was opened as.
        progress: told `(what, done, all)` while images are decoded.
    """

    source: Source
    spec: DataSpec
    progress: Progress

    @property
    def count(self) -> int:
        """Images of all parts."""
        return sum(self.source.official.values())

    def split(self, asked: SplitSpec | None = None) -> Split:
        """The data set divided as its own spec says, or as `asked`."""
        source = self.source
        return make_split(
            source.labels,
            source.official,
            asked or self.spec.split,
            source.defaults,
            source.class_names,
        )

    def fingerprint(self, split: Split, height: int, width: int) -> str:
        """That of `autosd.data.dataset.Data` for images of this size."""
        return fingerprint([self.source.identity, height, width, split.hash])

    def rows(self, part: str) -> Integers:
        """Ascending rows of a part, or of `all`."""
        return np.arange(self.count) if part == ALL else self.split().rows[part]

    def labels(self, rows: Integers) -> Integers:
        """Labels `[len(rows)]`; those of an official test part are read only if asked for."""
        known = self.source.labels
        if rows.size and int(rows[-1]) >= len(known):
            known = np.concatenate([known, self.source.test_labels()])
        return known[rows]

    def read(self, rows: Integers) -> Images:
        """uint8 `[len(rows), H, W, C]` of ascending rows."""
        return self.source.read(rows, self.progress)

    def described(self, part: str) -> str:
        """How a part came about, for people."""
        official, asked = self.source.official, self.spec.split
        if part == ALL:
            return "the whole data set, not split"
        if part == "test" and "test" in official:
            return "the data set's own test part"
        if part == "val" and "val" in official and asked.val is None:
            return "the data set's own val part"
        return f"divided off the data set class by class, with split seed {asked.seed}"


def open_data(
    spec: DataSpec, *, cache: Path | None = None, progress: Progress | None = None
) -> OpenData:
    """Open a data set without reading an image.

    Raises:
        AutosdError: the name, a file or a label is at fault.
    """
    tell = progress or (lambda what, done, count: None)
    return OpenData(open_source(spec, cache=cache, progress=tell), spec, tell)


def check_part(part: str) -> None:
    """Refuse a part that no data set has.

    Raises:
        AutosdError: names those there are.
    """
    if part not in NAMES:
        raise AutosdError(f"--part: {unknown('part', part, NAMES)}")
