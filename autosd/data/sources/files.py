"""Data sets that are image files: decoded once to a cache, then mapped."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autosd.data.cache import cached_images
from autosd.data.dataset import Images, Integers
from autosd.data.sources.pictures import common_side, decode
from autosd.data.sources.source import OFFICIAL, Progress, Source
from autosd.errors import AutosdError
from autosd.recipe import fingerprint

Labelled = tuple[Path, int]


class FileSource(Source):
    """Image files with labels, for each official part.

    Images are always square and RGB. Without `image_size` the side is the most frequent shorter
    side of the files that are read first (never those of the test part), at most 224.

    The identity is made of relative paths and lengths, so that a copied folder is the same data;
    the name of the cache file also of modification times.

    Args:
        root: folder that all files are below.
        files: paths and labels of each official part, in a fixed order.
    """

    def __init__(
        self,
        name: str,
        class_names: tuple[str, ...],
        root: Path,
        files: Mapping[str, Sequence[Labelled]],
        image_size: int | None,
        cache: Path,
    ) -> None:
        self.name, self.class_names = name, class_names
        self._root, self._size, self._cache = root, image_size, cache
        parts = [part for part in OFFICIAL if part in files]
        self.official = {part: len(files[part]) for part in parts}
        self._paths = [path for part in parts for path, _ in files[part]]
        self._stats = [_stat(path) for path in self._paths]
        labels = np.array([label for part in parts for _, label in files[part]], dtype=np.int64)
        development = len(labels) - self.official.get("test", 0)
        self.labels, self._test_labels = labels[:development], labels[development:]
        rows = range(len(self._paths))
        self.identity = fingerprint([[self.named(row), self._stats[row].st_size] for row in rows])

    @property
    def paths(self) -> list[Path]:
        """The file of every row."""
        return list(self._paths)

    def test_labels(self) -> Integers:
        return self._test_labels

    def read(self, rows: Integers, progress: Progress) -> Images:
        paths = [self._paths[row] for row in rows]
        images = cached_images(
            self._cache / "images" / self._file_name(rows),
            paths,
            lambda: self._shape(paths),
            lambda path, shape: decode(path, shape[0]),
            progress,
            f"decoding {self.name}",
        )
        self._size = images.shape[1]
        return images

    def _shape(self, paths: list[Path]) -> tuple[int, int, int]:
        side = self._size or common_side(paths)
        return (side, side, 3)

    def _file_name(self, rows: Integers) -> str:
        """Says everything that decides the content."""
        stats = [self._stats[row] for row in rows]
        files = [
            [self.named(row), stat.st_size, stat.st_mtime_ns]
            for row, stat in zip(rows.tolist(), stats, strict=True)
        ]
        key = fingerprint([os.fsencode(self._root.resolve()).hex(), files])
        return f"{key}-{self._size or 'auto'}.npy"

    def named(self, row: int) -> str:
        """The path below the root, with bytes that are no UTF-8 escaped."""
        return printable(str(self._paths[row].relative_to(self._root)))


def printable(name: str) -> str:
    """A file name as text that can be written as UTF-8; stray bytes become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise AutosdError(f"{path}: {error.strerror or error}") from None
