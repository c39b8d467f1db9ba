"""Known sets of torchvision, downloaded with its own checks where the network allows.

Arrays are taken as they are; image files are decoded once to the same cache as folders.
"""

import contextlib
import hashlib
import http.client
import os
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autosd.data.cache import locked
from autosd.data.catalogue import CATALOGUE, Arguments, Entry
from autosd.data.dataset import Images, Integers
from autosd.data.sources.arrays import ArraySource
from autosd.data.sources.files import FileSource
from autosd.data.sources.labels import as_labels, check_classes, check_range
from autosd.data.sources.source import Kind, Progress, Source
from autosd.errors import AutosdError
from autosd.recipe import DataSpec

NETWORK_TIMEOUT_SECONDS = 30.0
FAULTS = (
    RuntimeError,
    OSError,
    ValueError,
    EOFError,
    http.client.HTTPException,
    zipfile.BadZipFile,
    tarfile.TarError,
)


class Torchvision(Kind):
    """A set of torchvision by name, below `root` or the folder `data` of the cache."""

    names = tuple(CATALOGUE)

    def check(self, spec: DataSpec) -> None:
        if spec.root is not None and not Path(spec.root).expanduser().is_dir():
            raise AutosdError(f"data.root: {spec.root}: no such folder")

    def open(self, spec: DataSpec, cache: Path, progress: Progress) -> Source:
        entry = CATALOGUE[spec.name]
        self.check(spec)
        root = Path(spec.root).expanduser() if spec.root else cache / "data"
        opener = _Opener(spec.name, entry, root, progress)
        make = _arrays if entry.files is None else _pictures
        source = make(opener, spec.image_size, cache)
        source.crops, source.flips = entry.crops, entry.flips
        return source


class _Opener:
    """Opens official parts of one set; downloads it where it is not there.

    Raises:
        AutosdError: it cannot be had; names the folder and what is expected there.
    """

    def __init__(self, name: str, entry: Entry, root: Path, progress: Progress) -> None:
        self.name, self.entry, self.root, self._progress = name, entry, root, progress

    def part(self, part: str) -> Any:
        """The dataset of torchvision for an official part."""
        arguments = self.entry.parts[part]
        with self._unpacked_by_nobody_else():
            with contextlib.suppress(*FAULTS):
                return self._make(arguments, download=False)
            return self._downloaded(arguments)

    def _downloaded(self, arguments: Arguments) -> Any:
        self._progress(f"downloading {self.name}", 0, 1)
        try:
            with _network_timeout(NETWORK_TIMEOUT_SECONDS):
                dataset = self._make(arguments, download=True)
        except FAULTS as error:
            raise AutosdError(self._absent(error)) from None
        self._progress(f"downloading {self.name}", 1, 1)
        return dataset

    def _unpacked_by_nobody_else(self) -> contextlib.AbstractContextManager[None]:
        """A lock, so that half an archive is never taken for the whole; none if read-only."""
        if self.root.is_dir() and not os.access(self.root, os.W_OK):
            return contextlib.nullcontext()
        return locked(self.root / self.name)

    def _make(self, arguments: Arguments, download: bool) -> Any:
        from torchvision import datasets

        make = getattr(datasets, self.entry.cls)
        return make(root=os.fspath(self.root), download=download, **arguments)

    def _absent(self, error: Exception) -> str:
        why = " ".join(str(error).split())[:160]
        return (
            f"{self.name}: not in {self.root}, and cannot be downloaded ({why}); "
            f"put {self.entry.expects} there, or name another folder with data.root"
        )

    def class_names(self, dataset: Any) -> tuple[str, ...]:
        """Names of the classes; the first where torchvision has several for one."""
        names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
        names = names or self.entry.class_names
        return tuple(name if isinstance(name, str) else str(name[0]) for name in names)


class _ArraySet(ArraySource):
    """A set that torchvision holds as arrays; the test part is opened when it is read."""

    def __init__(self, opener: _Opener, image_size: int | None, cache: Path) -> None:
        self._opener = opener
        train = opener.part("train")
        self._train, labels = _images(train), _labels(train, opener.name)
        names = opener.class_names(train)
        check_classes(labels, names, opener.name)
        test = {"test": opener.entry.test_count} if "test" in opener.entry.parts else {}
        digest = hashlib.blake2b(labels.astype("<i8").tobytes(), digest_size=8).hexdigest()
        super().__init__(
            name=opener.name,
            class_names=names,
            official={"train": len(labels), **test},
            labels=labels,
            identity=f"torchvision {opener.name} {digest}",
            image_size=image_size,
            cache=cache,
        )

    def load(self, part: str) -> Images:
        images = self._train if part == "train" else _images(self._opener.part(part))
        if len(images) != self.official[part]:
            raise AutosdError(
                f"{self.name}: {len(images)} images in {part} instead of {self.official[part]}"
            )
        return images

    def test_labels(self) -> Integers:
        labels = _labels(self._opener.part("test"), self.name)
        check_range(labels, self.class_names, f"{self.name}: test")
        return labels


def _arrays(opener: _Opener, image_size: int | None, cache: Path) -> Source:
    return _ArraySet(opener, image_size, cache)


def _pictures(opener: _Opener, image_size: int | None, cache: Path) -> Source:
    parts = {part: opener.part(part) for part in opener.entry.parts}
    read = opener.entry.files
    files = {part: sorted(read(dataset)) for part, dataset in parts.items()} if read else {}
    names = opener.class_names(parts["train"])
    source = FileSource(opener.name, names, opener.root, files, image_size, cache)
    check_classes(source.labels[: source.official["train"]], names, opener.name)
    for labels in (source.labels, source.test_labels()):
        check_range(labels, names, opener.name)
    return source


def _images(dataset: Any) -> Images:
    """uint8 `[N, H, W]` or `[N, H, W, 3]` of a set that may hold `[N, 3, H, W]`."""
    images = np.asarray(dataset.data)
    if images.ndim == 4 and images.shape[3] != 3:
        images = images.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images, dtype=np.uint8)


def _labels(dataset: Any, where: str) -> Integers:
    """Labels of a set that calls them targets or labels; the first column of several."""
    values = np.asarray(dataset.targets if hasattr(dataset, "targets") else dataset.labels)
    return as_labels(values if values.ndim == 1 else values[:, 0], where)


@contextlib.contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """No connection waits longer than this for a byte (torchvision itself sets no limit)."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
