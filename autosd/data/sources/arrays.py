"""Data sets that are arrays: read whole, resized once where another size is asked for."""

from abc import abstractmethod
from pathlib import Path

import numpy as np
from PIL import Image

from autosd.data.cache import cached_images
from autosd.data.dataset import Images, Integers
from autosd.data.sources.source import OFFICIAL, Progress, Source
from autosd.errors import AutosdError
from autosd.recipe import fingerprint


class ArraySource(Source):
    """Images in arrays, one for each official part.

    `image_size` other than the array's own resizes every image once to a square, bilinear with
    antialiasing; the result is kept in the cache and mapped.
    """

    def __init__(
        self,
        name: str,
        class_names: tuple[str, ...],
        official: dict[str, int],
        labels: Integers,
        identity: str,
        image_size: int | None,
        cache: Path,
    ) -> None:
        self.name, self.class_names, self.identity = name, class_names, identity
        self.official, self.labels = official, labels
        self._size, self._cache = image_size, cache

    @abstractmethod
    def load(self, part: str) -> Images:
        """uint8 `[N, H, W]` or `[N, H, W, C]` of an official part; called only for what is read."""

    def test_labels(self) -> Integers:
        raise AutosdError(f"{self.name}: no official test part")

    def read(self, rows: Integers, progress: Progress) -> Images:
        size = self._size
        images = self._rows(rows)
        if size is None or images.shape[1:3] == (size, size):
            return images
        key = fingerprint([self.identity, size, rows.tolist()])
        return cached_images(
            self._cache / "images" / f"{self.name}-{size}-{key}.npy",
            list(images),
            lambda: (size, size, images.shape[3]),
            lambda image, _: resized(image, size),
            progress,
            f"resizing {self.name}",
        )

    def _rows(self, rows: Integers) -> Images:
        pieces, start = [], 0
        for part in OFFICIAL:
            local = rows[(rows >= start) & (rows < start + self.official.get(part, 0))] - start
            start += self.official.get(part, 0)
            if len(local):
                images = self.load(part)
                images = images if images.ndim == 4 else images[..., None]
                pieces.append(images if len(local) == len(images) else images[local])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def resized(image: Images, size: int) -> Images:
    """uint8 `[H, W, C]` as `[size, size, C]`, bilinear with antialiasing."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    small = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    return small if small.ndim == 3 else small[..., None]
