"""`digits`: the 1,797 real 8x8 images of handwritten digits that come with scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np

from autosd.data.dataset import Images, Integers
from autosd.data.sources.arrays import ArraySource
from autosd.data.sources.source import Kind, Progress
from autosd.errors import AutosdError
from autosd.recipe import DataSpec, SplitSpec


class DigitsSource(ArraySource):
    """Values of 0 to 16 become 0 to 255; 500 images each for train, val and select, 297 test.

    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
    """

    defaults = SplitSpec(val=500, select=500, test=297)

    def __init__(self, image_size: int | None, cache: Path) -> None:
        table = _table()
        labels = table[:, -1].astype(np.int64)
        self._images: Images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8)
        self._images = self._images.reshape(-1, 8, 8)
        super().__init__(
            name="digits",
            class_names=tuple(str(digit) for digit in range(10)),
            official={"train": len(labels)},
            labels=labels,
            identity="scikit-learn digits",
            image_size=image_size,
            cache=cache,
        )

    def load(self, part: str) -> Images:
        return self._images


def _table() -> Integers:
    """Scikit-learn's own file `[1797, 65]`: 64 pixels of 0 to 16, then the label.

    Read without importing the package, which takes a second in every process that trains.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise AutosdError("data 'digits': comes with scikit-learn; pip install scikit-learn")
    path = Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    return np.loadtxt(path, delimiter=",", dtype=np.int64)


class Digits(Kind):
    """The data set of the default study: nothing to download."""

    names = ("digits",)

    def check(self, spec: DataSpec) -> None:
        """Nothing can be wrong."""

    def open(self, spec: DataSpec, cache: Path, progress: Progress) -> DigitsSource:
        return DigitsSource(spec.image_size, cache)
