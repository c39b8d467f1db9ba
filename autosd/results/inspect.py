"""What a data set holds: counts, sizes, splits, duplicates. It is looked at, nothing is written.

Of the test part only counts, sizes, readability and duplicates are looked at; mean, grey share and
the picture are of images that a search may see.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autosd import yamlfile
from autosd.data.dataset import Images, Integers, Moments
from autosd.data.loading import open_source
from autosd.data.sources.files import FileSource
from autosd.data.sources.source import OFFICIAL, Source
from autosd.data.splits import Split, make_split, shuffle_keys
from autosd.errors import AutosdError
from autosd.recipe import DataSpec
from autosd.results.inspect_images import Seen, Unreadable, look
from autosd.results.inspect_twins import Twins, find_twins
from autosd.search import definition as definitions

MOST_SAMPLES = 8
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of the images' sides, in pixels."""

    least: int
    median: int
    most: int

    def mapping(self) -> dict[str, int]:
        """Plain values."""
        return {"min": self.least, "median": self.median, "max": self.most}


@dataclass(frozen=True)
class Inspected:
    """What was found.

    Attributes:
        name: of the data set.
        class_names: one for each of the K classes.
        counts: part -> images of each class; official parts where the set cannot be split.
        split_hash: identity of the split, None where the set cannot be split.
        fault: why it cannot be split, empty where it can.
        width, height: as found, before any resizing.
        shape: `(H, W, C)` as a study gets them.
        mean, std: per channel of the part `train`, 0 to 1.
        grey: share of the images outside test whose channels are all equal.
        twins: images with the same pixels.
        unreadable: one line for each file that could not be read.
        samples: class -> a few images of `train`, uint8 `[H, W, C]`.
    """

    name: str
    class_names: tuple[str, ...]
    counts: Mapping[str, tuple[int, ...]]
    split_hash: str | None
    fault: str
    width: Spread
    height: Spread
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grey: float
    twins: Twins
    unreadable: tuple[str, ...]
    samples: Mapping[int, Sequence[Images]]

    @property
    def imbalance(self) -> float | None:
        """How many times larger the largest class of `train` is than the smallest."""
        sizes = self.counts["train"]
        return max(sizes) / min(sizes) if min(sizes) else None

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd inspect`."""
        return {
            "name": self.name,
            "images": sum(map(sum, self.counts.values())),
            "parts": {part: sum(sizes) for part, sizes in self.counts.items()},
            "classes": [
                {"name": name, **{part: sizes[k] for part, sizes in self.counts.items()}}
                for k, name in enumerate(self.class_names)
            ],
            "imbalance": self.imbalance,
            "split_hash": self.split_hash,
            "fault": self.fault or None,
            "size": {"width": self.width.mapping(), "height": self.height.mapping()},
            "shape": list(self.shape),
            "mean": list(self.mean),
            "std": list(self.std),
            "grey": self.grey,
            "duplicates": self.twins.mapping(self.class_names),
            "unreadable": list(self.unreadable),
        }


def data_spec(what: str, root: Path, sets: Mapping[str, Any]) -> DataSpec:
    """The data that a name, a path or a file of a study or recipe speaks of.

    Args:
        what: a data set as a recipe names it, a study under `root`, or a YAML file.
        root: the folder of studies.
        sets: `data.` keys with other values.

    Raises:
        AutosdError: neither of them, or a setting that is not of the data.
    """
    strange = [key for key in sets if not key.startswith("data.")]
    if strange:
        raise AutosdError(
            f"--set {strange[0]}: only settings of the data can be given here, such as "
            "data.image_size=32 or data.split.seed=1"
        )
    if what.endswith((".yaml", ".yml")):
        values, where = yamlfile.read(Path(what)), what
    else:
        started = (root / what / "study.yaml").is_file()
        study, data = (what, None) if started else (None, what)
        values, where = definitions.base_values(study, data, root)
    if isinstance(values, dict) and "recipe" not in values and "data" in values:
        values = {"name": "inspected", "recipe": values}
    if not isinstance(values, dict):
        raise AutosdError(f"{where}: a mapping of keys to values is needed")
    words = definitions.Words({}, "--set")
    return definitions.resolve(values, where, {}, sets, words)[0].recipe.data


def inspect(
    spec: DataSpec,
    *,
    cache: Path | None = None,
    progress: Progress = lambda what, done, count: None,
) -> Inspected:
    """Look at every image of a data set once.

    Args:
        spec: what a recipe says of its data.
        cache: folder of downloads, None for the default.
        progress: told `(what, done, all)`.

    Raises:
        AutosdError: there is nothing that could be looked at.
    """
    source = open_source(spec, cache, progress)
    split, fault = _split(source, spec)
    found = _Collection(source, split)
    for chunk in look(source, spec.image_size, progress):
        found.add(chunk)
    return found.inspected(fault)


def _split(source: Source, spec: DataSpec) -> tuple[Split | None, str]:
    """The split that a study would have, or why there is none."""
    try:
        names = source.class_names
        return make_split(source.labels, source.official, spec.split, source.defaults, names), ""
    except AutosdError as error:
        return None, str(error)


def _all_labels(source: Source) -> Integers:
    if "test" not in source.official:
        return source.labels
    return np.concatenate([source.labels, source.test_labels()])


def _official(source: Source) -> dict[str, Integers]:
    """Rows of the official parts, where no split can be made."""
    rows, start = {}, 0
    for part in (name for name in OFFICIAL if name in source.official):
        rows[part] = np.arange(start, start + source.official[part])
        start += source.official[part]
    return rows


@dataclass
class _Found:
    """What is gathered of the images."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    digests: dict[bytes, list[int]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    grey: int = 0
    development: int = 0


class _Collection:
    """Takes in chunks of images and keeps what is said of them."""

    def __init__(self, source: Source, split: Split | None) -> None:
        self.source, self.split = source, split
        self.rows = dict(split.rows) if split else _official(source)
        self.labels = _all_labels(source)
        self.part = np.empty(len(self.labels), dtype=np.int64)
        for number, rows in enumerate(self.rows.values()):
            self.part[rows] = number
        self.names = list(self.rows)
        self.wanted = _samples(self.rows["train"], self.labels)
        self.samples: dict[int, list[Images]] = {}
        self.found, self.shape = _Found(), (0, 0, 0)
        self.moments: Moments | None = None

    def add(self, chunk: Sequence[Seen | Unreadable]) -> None:
        """Take in some images."""
        seen = [one for one in chunk if isinstance(one, Seen)]
        self.found.unreadable += [one.why for one in chunk if isinstance(one, Unreadable)]
        for one in seen:
            self.found.sizes[one.size] += 1
            self.found.digests.setdefault(one.digest, []).append(one.row)
            if one.row in self.wanted:
                self.samples.setdefault(int(self.labels[one.row]), []).append(one.image.copy())
        parts = [self.names[self.part[one.row]] for one in seen]
        self._pixels(
            [one.image for one, part in zip(seen, parts, strict=True) if part == "train"],
            [one.image for one, part in zip(seen, parts, strict=True) if part != "test"],
        )

    def _pixels(self, train: Sequence[Images], development: Sequence[Images]) -> None:
        if development:
            images = np.stack(development)
            self.found.grey += int((images == images[..., :1]).all(axis=(1, 2, 3)).sum())
            self.found.development += len(images)
        if train:
            images = np.stack(train)
            height, width, channels = images.shape[1:]
            self.shape = (height, width, channels)
            self.moments = self.moments or Moments(channels)
            self.moments.add(images)

    def inspected(self, fault: str) -> Inspected:
        """Everything, after the last image.

        Raises:
            AutosdError: no image of `train` could be read.
        """
        found, names = self.found, self.source.class_names
        if self.moments is None:
            raise AutosdError("\n".join([f"{self.source.name}: no image of train can be read"]))
        mean, std = self.moments.mean_and_std()
        widths, heights = (_spread(found.sizes, side) for side in (0, 1))
        return Inspected(
            name=self.source.name,
            class_names=names,
            counts={
                part: tuple(np.bincount(self.labels[rows], minlength=len(names)).tolist())
                for part, rows in self.rows.items()
            },
            split_hash=self.split.hash if self.split else None,
            fault=fault,
            width=widths,
            height=heights,
            shape=self.shape,
            mean=mean,
            std=std,
            grey=found.grey / max(1, found.development),
            twins=find_twins(found.digests, self.labels, self.part, self.names, self._shown),
            unreadable=tuple(found.unreadable),
            samples=self.samples,
        )

    def _shown(self, row: int) -> str:
        """How a person finds an image: its file, or its row."""
        if isinstance(self.source, FileSource):
            return self.source.named(row)
        return f"row {row}"


def _samples(train: Integers, labels: Integers) -> set[int]:
    """Rows of a few images of each class, the same ones each time."""
    order = train[np.argsort(shuffle_keys(0, train))]
    taken: Counter[int] = Counter()
    wanted = set()
    for row in order.tolist():
        label = int(labels[row])
        if taken[label] < MOST_SAMPLES:
            taken[label] += 1
            wanted.add(row)
    return wanted


def _spread(sizes: Counter[tuple[int, int]], side: int) -> Spread:
    values = np.repeat([size[side] for size in sizes], list(sizes.values()))
    return Spread(int(values.min()), int(np.median(values)), int(values.max()))
