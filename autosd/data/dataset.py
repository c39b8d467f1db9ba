"""Images with labels, and the one thing every source of data becomes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autosd.errors import AutosdError
from autosd.recipe import AugmentSpec

Images = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
CHUNK_BYTES = 32_000_000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Some rows of an array of images, in order.

    Attributes:
        images: uint8 `[M, H, W, C]`, in memory or a mapped file, shared with other parts.
        labels: int64 `[N]`, the label of each row.
        rows: int64 `[N]`, where the image of each row stands in `images`.
    """

    images: Images
    labels: Integers
    rows: Integers

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Pool:
    """Images that were read, and which rows of the whole data set they are.

    Attributes:
        images: uint8 `[M, H, W, C]`.
        labels: int64 `[M]`.
        rows: int64 `[M]`, ascending positions in the whole data set.
    """

    images: Images
    labels: Integers
    rows: Integers

    def part(self, rows: Integers) -> Dataset:
        """The data set of some of these rows."""
        local = np.searchsorted(self.rows, rows)
        return Dataset(self.images, self.labels[local], local)


@dataclass(frozen=True, eq=False)
class Data:
    """A data set that was split.

    Attributes:
        name: for people.
        class_names: one for each of the K classes.
        image_shape: `(C, H, W)`.
        mean, std: per channel of the part `train`, on a scale of 0 to 1.
        augment: the data set's own augmentation, `crop` and `flip` filled in.
        counts: images of each part.
        fingerprint: identity of content, image size and split.
        split_hash: hash of the row numbers of every part.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: AugmentSpec
    counts: dict[str, int]
    fingerprint: str
    split_hash: str
    rows: Mapping[str, Integers]
    development: Pool
    test: Pool | None

    def part(self, *names: str) -> Dataset:
        """One data set of some of train, val, select and test, in the order given.

        Raises:
            AutosdError: an unknown part, or `test` where it was not loaded.
        """
        for name in names:
            if name not in self.rows:
                raise AutosdError(f"no part named '{name}'; there are: {', '.join(self.rows)}")
        if "test" not in names:
            return self.development.part(np.concatenate([self.rows[name] for name in names]))
        if self.test is None:
            raise AutosdError(f"{self.name}: the part 'test' was not loaded and may not be read")
        if names == ("test",):
            return self.test.part(self.rows["test"])
        return _joined([self._single(name) for name in names])

    def _single(self, name: str) -> Dataset:
        pool = self.test if name == "test" and self.test is not None else self.development
        return pool.part(self.rows[name])

    def augmentation(self, asked: AugmentSpec) -> AugmentSpec:
        """What was asked for, with the data set's own values where nothing was."""
        own = {key: getattr(self.augment, key) for key in ("crop", "flip")}
        given = {key: value for key, value in asked.model_dump().items() if value is not None}
        return AugmentSpec(**{**own, **given})


def _joined(parts: list[Dataset]) -> Dataset:
    """Rows of different arrays in one new array (test together with others: rare)."""
    images = np.concatenate([part.images[part.rows] for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return Dataset(images, labels, np.arange(len(labels)))


def mean_and_std(dataset: Dataset) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel on a scale of 0 to 1; see `Moments`."""
    moments = Moments(dataset.images.shape[3])
    for chunk in chunks(dataset):
        moments.add(chunk)
    return moments.mean_and_std()


class Moments:
    """Mean and standard deviation per channel, from exact integer sums over images."""

    def __init__(self, channels: int) -> None:
        self._total, self._squares = np.zeros(channels), np.zeros(channels)
        self._count = 0

    def add(self, images: Images) -> None:
        """Take in uint8 `[N, H, W, C]`."""
        pixels = images.reshape(-1, images.shape[3])
        self._total += pixels.sum(0, dtype=np.uint64)
        self._squares += np.square(pixels, dtype=np.uint16).sum(0, dtype=np.uint64)
        self._count += len(pixels)

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """On a scale of 0 to 1; the deviation is at least one grey level.

        So constant images can be normalised.
        """
        mean = self._total / self._count
        deviation = np.sqrt(np.maximum(self._squares / self._count - mean**2, 1.0))
        return tuple((mean / 255).tolist()), tuple((deviation / 255).tolist())


def chunks(dataset: Dataset) -> Iterator[Images]:
    """The images in order, some 32 MB at a time."""
    for start, stop in chunks_of((len(dataset), *dataset.images.shape[1:])):
        yield dataset.images[dataset.rows[start:stop]]


def chunks_of(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """First row, and the one behind the last, of some 32 MB of images `[N, H, W, C]` at a time."""
    size = max(1, CHUNK_BYTES // int(np.prod(shape[1:])))
    for start in range(0, shape[0], size):
        yield start, min(start + size, shape[0])
