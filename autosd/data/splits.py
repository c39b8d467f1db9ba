"""Which images train, guide the search, choose the finalists and test: stratified, from a seed.

Every image has a key that follows from (split seed, row) by integer arithmetic alone, so that a
split is the same on every machine and under every version of NumPy.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autosd.data.dataset import Integers
from autosd.errors import AutosdError
from autosd.recipe import SplitSpec

PARTS = ("train", "val", "select", "test")


@dataclass(frozen=True)
class Split:
    """Rows of each part: disjoint, ascending, together the whole data set.

    Rows count the official training images first, then the official val, then the official test.
    """

    rows: Mapping[str, Integers]

    @property
    def counts(self) -> dict[str, int]:
        """Images of each part."""
        return {part: len(rows) for part, rows in self.rows.items()}

    @property
    def hash(self) -> str:
        """Sixteen hex digits of the row numbers of all parts."""
        digest = hashlib.blake2b(digest_size=8)
        for part, rows in self.rows.items():
            digest.update(f"{part}:{len(rows)}:".encode())
            digest.update(rows.astype("<i8").tobytes())
        return digest.hexdigest()


def make_split(
    labels: Integers,
    official: Mapping[str, int],
    asked: SplitSpec,
    defaults: SplitSpec,
    class_names: Sequence[str],
) -> Split:
    """Divide a data set.

    An official test part is the test part; an official val part is the val part, unless a size
    of val was asked for: then both are pooled and divided.

    Args:
        labels: `[N]` of the official train and val images.
        official: images of the official parts, out of train, val and test.
        asked: what the recipe says.
        defaults: what the data set prefers where the recipe says nothing.
        class_names: names of the K classes.

    Raises:
        AutosdError: the sizes cannot be had, or a class has too few images.
    """
    if "test" in official and asked.test is not None:
        raise AutosdError("data.split.test: the data set has its own test part; leave it out")
    keeps_val = "val" in official and asked.val is None
    pool = np.arange(official["train"] if keeps_val else len(labels))
    wanted = [
        part
        for part in ("test", "val", "select")
        if not (part == "test" and "test" in official) and not (part == "val" and keeps_val)
    ]
    sizes = _sizes(len(pool), wanted, asked, defaults)
    rows = _stratified(labels[pool], pool, sizes, asked.seed, class_names)
    if keeps_val:
        rows["val"] = np.arange(official["train"], len(labels))
    if "test" in official:
        rows["test"] = np.arange(len(labels), len(labels) + official["test"])
    return Split({part: rows[part] for part in PARTS})


def _sizes(
    count: int, wanted: Sequence[str], asked: SplitSpec, defaults: SplitSpec
) -> dict[str, int]:
    """Images of each part to be divided off `count`: test first, the others of what is left."""
    sizes: dict[str, int] = {}
    left = count
    for part in wanted:
        share = getattr(asked, part) or getattr(defaults, part)
        sizes[part] = _size(part, share, left)
        if part == "test":
            left -= sizes[part]
    if sum(sizes.values()) >= count:
        taken = " + ".join(f"{part} {size}" for part, size in sizes.items())
        raise AutosdError(f"data.split: {taken} leave no training image of {count}")
    return sizes


def _size(part: str, share: float | None, count: int) -> int:
    """A count as it is, a share of `count` images, or the default of design and README."""
    if isinstance(share, int):
        return share
    if share is None:
        share = 1 / 6 if part == "test" else max(0.1, min(500 / max(count, 1), 0.15))
    return max(1, round(share * count))


def _stratified(
    labels: Integers,
    pool: Integers,
    sizes: Mapping[str, int],
    seed: int,
    class_names: Sequence[str],
) -> dict[str, Integers]:
    """Divide `pool` so that every part has each class in its proportion."""
    counts = np.bincount(labels, minlength=len(class_names))
    _check_enough(counts, [*sizes, "train"], class_names)
    bounds = np.zeros((0, len(counts)), dtype=np.int64)
    taken = np.zeros_like(counts)
    for position, size in enumerate(sizes.values()):
        room = counts - taken - (len(sizes) - position)
        taken = taken + allocate(counts - taken, size, room)
        bounds = np.vstack([bounds, taken])
    order = np.lexsort((shuffle_keys(seed, pool), labels))
    ordered = labels[order]
    place = np.arange(len(pool)) - (np.cumsum(counts) - counts)[ordered]
    part = (place >= bounds[:, ordered]).sum(axis=0)
    names = [*sizes, "train"]
    return {name: np.sort(pool[order[part == k]]) for k, name in enumerate(names)}


def _check_enough(counts: Integers, parts: Sequence[str], class_names: Sequence[str]) -> None:
    few = [k for k, count in enumerate(counts) if count < len(parts)]
    if few:
        listed = ", ".join(f"'{class_names[k]}' has {counts[k]}" for k in few[:5])
        more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
        raise AutosdError(
            f"too few images: class {listed}{more}; each class needs at least {len(parts)}, "
            f"one for each of {', '.join(parts)}"
        )


def allocate(counts: Integers, total: int, room: Integers) -> Integers:
    """How many images of each class a part of `total` takes: proportional, largest remainder.

    Every class gets at least one where `total` allows it, and none more than its `room`.

    Raises:
        AutosdError: the rooms together are smaller than `total`.
    """
    if room.sum() < total:
        raise AutosdError(
            f"data.split: {total} images cannot be taken with one of each class left for the "
            f"other parts; at most {max(room.sum(), 0)}"
        )
    quota = counts * (total / counts.sum())
    least = 1 if total >= len(counts) else 0
    taken: Integers = np.minimum(np.maximum(np.floor(quota).astype(np.int64), least), room)
    while (missing := total - int(taken.sum())) != 0:
        step = 1 if missing > 0 else -1
        free = taken < room if step > 0 else taken > least
        lack = np.where(free, step * (quota - taken), -np.inf)
        chosen = np.argsort(-lack, kind="stable")[: min(abs(missing), int(free.sum()))]
        taken[chosen] += step
    return taken


def shuffle_keys(seed: int, rows: Integers) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """A 64-bit key for each row: SplitMix64 of (seed, row) (Steele, Lea, Flood, OOPSLA 2014)."""
    return _mixed(rows.astype(np.uint64) + _mixed(np.array([seed % 2**64], dtype=np.uint64)))


def _mixed(
    values: np.ndarray[tuple[int], np.dtype[np.uint64]],
) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
