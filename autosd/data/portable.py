"""A data set that was split, carried to another machine: a description, then images by rows."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from autosd.data.cache import locked, mapped
from autosd.data.dataset import Data, Images, Integers, Pool, chunks_of
from autosd.errors import AutosdError
from autosd.files import write_atomically

PoolName = Literal["development", "test"]
POOLS: tuple[PoolName, ...] = ("development", "test")


@dataclass(frozen=True)
class PoolShape:
    """A pool without its images: their `[N, H, W, C]`, and its labels and rows."""

    shape: tuple[int, ...]
    labels: Integers
    rows: Integers


@dataclass(frozen=True)
class Description:
    """All of a data set but its images.

    Attributes:
        values: the fields of `Data` that are no pools.
        pools: by name; `test` only where it was loaded.
    """

    values: dict[str, Any]
    pools: dict[PoolName, PoolShape]

    @property
    def fingerprint(self) -> str:
        """That of the data."""
        return str(self.values["fingerprint"])


def describe(data: Data) -> Description:
    """What to send first."""
    named = [field.name for field in fields(Data) if field.name not in POOLS]
    pools = {name: pool for name in POOLS if (pool := getattr(data, name)) is not None}
    return Description(
        values={name: getattr(data, name) for name in named},
        pools={
            name: PoolShape(pool.images.shape, pool.labels, pool.rows)
            for name, pool in pools.items()
        },
    )


def receive(
    description: Description, folder: Path, read: Callable[[PoolName, int, int], Images]
) -> Data:
    """The data set, its images mapped from files in `folder`; missing ones are fetched first.

    Only one process of a machine fetches, others wait for it.

    Args:
        description: from `describe`.
        folder: for images of any data set: names of files are made of the fingerprint.
        read: images of a pool from a row up to another one.

    Raises:
        AutosdError: the folder cannot be written.
    """
    pools = {
        name: _pool(shape, folder / f"{description.fingerprint}-{name}.npy", name, read)
        for name, shape in description.pools.items()
    }
    return Data(**description.values, development=pools["development"], test=pools.get("test"))


def _pool(
    pool: PoolShape, path: Path, name: PoolName, read: Callable[[PoolName, int, int], Images]
) -> Pool:
    images = mapped(path, pool.shape[0])
    if images is None:
        with locked(path):
            images = mapped(path, pool.shape[0])
            if images is None:
                _fetch(pool.shape, path, lambda start, stop: read(name, start, stop))
                images = mapped(path, pool.shape[0])
    if images is None or images.shape != pool.shape:
        raise AutosdError(f"{path}: cannot be read back; remove it and try again")
    return Pool(images, pool.labels, pool.rows)


def _fetch(shape: tuple[int, ...], path: Path, read: Callable[[int, int], Images]) -> None:
    def write(file: BinaryIO) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for start, stop in chunks_of(shape):
            file.write(np.ascontiguousarray(read(start, stop)).data)

    try:
        write_atomically(path, write)
    except OSError as error:
        raise AutosdError(f"{path}: cannot be written ({error.strerror or error})") from None
