"""Reading `.npz` files that nobody vouches for: headers first, never a pickled object."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from autosd.errors import AutosdError
from autosd.recipe import fingerprint

FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    OSError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
)


class Header(NamedTuple):
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class NpzReader:
    """The arrays of one file.

    Raises:
        AutosdError: no such file, or not a zip archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise AutosdError(f"{path}: no such file")
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {info.filename: info for info in archive.infolist()}
        except FAULTS as error:
            raise AutosdError(f"{path}: not an npz file ({error})") from None
        self.keys = sorted(n.removesuffix(".npy") for n in self._members if n.endswith(".npy"))

    def header(self, key: str) -> Header:
        """Shape and type of an array, nothing else of it is read.

        Raises:
            AutosdError: not an array, or not as long as its header says.
        """
        with self._member(key) as file:
            header = _read_header(file)
            start = file.tell()
        size = self._members[f"{key}.npy"].file_size
        need = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
        if not header.dtype.hasobject and size - start != need:
            raise AutosdError(f"{self.path}: {key}: {size - start} bytes instead of {need}")
        return header

    def read(self, key: str) -> npt.NDArray[Any]:
        """An array.

        Raises:
            AutosdError: damaged, or it holds pickled objects, which are not loaded.
        """
        self.header(key)
        with self._member(key) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def identity(self, *keys: str) -> str:
        """A hash of lengths and checksums of some arrays, from the archive's directory."""
        members = [self._members.get(f"{key}.npy") for key in keys]
        return fingerprint([[m.filename, m.file_size, m.CRC] for m in members if m is not None])

    @contextmanager
    def _member(self, key: str) -> Iterator[IO[bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
                yield file
        except KeyError:
            raise AutosdError(f"{self.path}: no array {key}") from None
        except FAULTS as error:
            raise AutosdError(f"{self.path}: {key}: cannot be read ({error})") from None


def _read_header(file: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"format version {version} is not for plain arrays")
    return Header(shape, dtype)
