"""`digits`: the 1,797 real 8x8 images of handwritten digits that come with scikit-learn."""

from pathlib import Path

import numpy as np

from autosd.data.dataset import Images
from autosd.data.sources.arrays import ArraySource
from autosd.data.sources.source import Kind, Progress
from autosd.recipe import DataSpec, SplitSpec


class DigitsSource(ArraySource):
    """Values of 0 to 16 become 0 to 255; 500 images each for train, val and select, 297 test.

    E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
    """

    defaults = SplitSpec(val=500, select=500, test=297)

    def __init__(self, image_size: int | None, cache: Path) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        self._images: Images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        super().__init__(
            name="digits",
            class_names=tuple(str(digit) for digit in range(10)),
            official={"train": len(digits.target)},
            labels=digits.target.astype(np.int64),
            identity="scikit-learn digits",
            image_size=image_size,
            cache=cache,
        )

    def load(self, part: str) -> Images:
        return self._images


class Digits(Kind):
    """The data set of the default study: nothing to download."""

    names = ("digits",)

    def check(self, spec: DataSpec) -> None:
        """Nothing can be wrong."""

    def open(self, spec: DataSpec, cache: Path, progress: Progress) -> DigitsSource:
        return DigitsSource(spec.image_size, cache)
