"""`npz:PATH`: arrays in the layout of MedMNIST files (Yang et al., Scientific Data, 2023).

Keys: `train_images` uint8 `[N, H, W]` or `[N, H, W, 1 or 3]`, `train_labels` integers `[N]` or
`[N, 1]`, likewise `val_*` and `test_*` where they exist, and `label_names` (K strings) if wanted.
Nothing is ever unpickled. Headers are checked first; `test_images` is read only for the test part.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autosd.data.dataset import Images, Integers
from autosd.data.npzfile import Header, NpzReader
from autosd.data.sources.arrays import ArraySource
from autosd.data.sources.labels import as_labels, check_classes, check_range, numbered
from autosd.data.sources.source import OFFICIAL, Kind, Progress, path_of
from autosd.errors import AutosdError
from autosd.recipe import DataSpec

PICKLED = "holds pickled objects, which are never loaded; save plain arrays"


class NpzSource(ArraySource):
    """An npz file, its headers and labels checked.

    Raises:
        AutosdError: every line names the file and the key.
    """

    def __init__(self, path: Path, image_size: int | None, cache: Path) -> None:
        self._file = NpzReader(path)
        headers = check_headers(self._file)
        parts = [part for part in OFFICIAL if f"{part}_images" in headers]
        labels = {part: self._read_labels(part) for part in parts}
        names = self._names(labels["train"])
        check_classes(labels["train"], names, f"{path}: train_labels")
        for part in parts:
            check_range(labels[part], names, f"{path}: {part}_labels")
        self.crops = self.flips = headers["train_images"].shape[3:] == (3,)
        self._test_labels = labels.pop("test", None)
        super().__init__(
            name=path.stem,
            class_names=names,
            official={part: headers[f"{part}_images"].shape[0] for part in parts},
            labels=np.concatenate(list(labels.values())),
            identity=self._file.identity(*headers),
            image_size=image_size,
            cache=cache,
        )

    def load(self, part: str) -> Images:
        return self._file.read(f"{part}_images")

    def test_labels(self) -> Integers:
        return super().test_labels() if self._test_labels is None else self._test_labels

    def _read_labels(self, part: str) -> Integers:
        key = f"{part}_labels"
        return as_labels(self._file.read(key), f"{self._file.path}: {key}")

    def _names(self, labels: Integers) -> tuple[str, ...]:
        """The names in the file, else "0", "1", ..."""
        where = f"{self._file.path}: label_names"
        if "label_names" not in self._file.keys:
            return numbered(labels, f"{self._file.path}: train_labels")
        names = self._file.read("label_names")
        if names.ndim != 1 or names.dtype.kind not in "US" or len(names) == 0:
            raise AutosdError(f"{where} must be strings [K], not {names.dtype} {list(names.shape)}")
        if names.dtype.kind == "S":
            return tuple(bytes(name).decode("utf-8", "replace") for name in names)
        return tuple(str(name) for name in names)


class Npz(Kind):
    """`npz:PATH`."""

    prefix = "npz"

    def check(self, spec: DataSpec) -> None:
        check_headers(NpzReader(path_of(spec)))

    def open(self, spec: DataSpec, cache: Path, progress: Progress) -> NpzSource:
        return NpzSource(path_of(spec), spec.image_size, cache)


def check_headers(file: NpzReader) -> dict[str, Header]:
    """Headers of all images and labels, after checks of type, shape and number.

    Raises:
        AutosdError: one line for each fault, each with file and key.
    """
    absent = [key for key in ("train_images", "train_labels") if key not in file.keys]
    if absent:
        there = ", ".join(file.keys) or "nothing"
        raise AutosdError(f"{file.path}: {' and '.join(absent)} missing; the file has {there}")
    wanted = [f"{part}_{what}" for part in OFFICIAL for what in ("images", "labels")]
    headers = {key: file.header(key) for key in wanted if key in file.keys}
    faults = [fault for part in OFFICIAL for fault in _faults(part, headers)]
    if "label_names" in file.keys and file.header("label_names").dtype.hasobject:
        faults.append(f"label_names {PICKLED}")
    if faults:
        raise AutosdError("\n".join(f"{file.path}: {fault}" for fault in faults))
    return headers


def _faults(part: str, headers: dict[str, Header]) -> Iterator[str]:
    images, labels = f"{part}_images", f"{part}_labels"
    there = [key for key in (images, labels) if key in headers]
    if len(there) == 1:
        absent = labels if images in headers else images
        yield f"{absent} is missing, though {there[0]} is there"
    for key in there:
        if headers[key].dtype.hasobject:
            yield f"{key} {PICKLED}"
    if len(there) == 2 and not any(headers[key].dtype.hasobject for key in there):
        yield from _image_faults(part, headers[images], headers["train_images"])
        count, others = headers[images].shape[:1], headers[labels].shape[:1]
        if count and count != others:
            yield f"{images} has {count[0]} rows, {labels} {others[0] if others else 'none'}"


def _image_faults(part: str, header: Header, train: Header) -> Iterator[str]:
    key, (shape, dtype) = f"{part}_images", header
    if dtype != np.uint8:
        yield f"{key} must be uint8, not {dtype}"
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)):
        yield f"{key} must be [N, H, W] or [N, H, W, 1 or 3], not {list(shape)}"
    elif 0 in shape:
        yield f"{key} is empty: {list(shape)}"
    elif _pixels(shape) != _pixels(train.shape):
        yield f"{key} {list(shape)} differs in size from train_images {list(train.shape)}"


def _pixels(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] if len(shape) == 4 else (*shape[1:], 1)
