"""A folder that several machines see: a path, or an address of fsspec such as `s3://bucket/studies`.

Files appear whole: on a disk they are renamed into place, object stores do so by themselves.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autosd.errors import AutosdError
from autosd.files import write_atomically


class PlaceUnusable(AutosdError):
    """A place that cannot be reached or written; the message names it and says why."""


class Place:
    """Files below an address, by names with `/`.

    Raises:
        PlaceUnusable: from every method.
    """

    def __init__(self, address: str) -> None:
        import fsspec.implementations.local

        self.address = address if "://" in address else str(Path(address).expanduser().resolve())
        with _clear(self.address):
            # Listings are never kept: other machines write here.
            self.fs, root = fsspec.core.url_to_fs(self.address, use_listings_cache=False)
        self.root = root.rstrip("/")
        self.local = isinstance(self.fs, fsspec.implementations.local.LocalFileSystem)

    def below(self, name: str) -> "Place":
        """The place of a folder in this one."""
        return Place(f"{self.address.rstrip('/')}/{name}")

    def put(self, source: Path, name: str) -> None:
        """Copy a file there."""
        with _clear(self.address):
            if self.local:
                self._copy(source, Path(self.root, name))
            else:
                self.fs.put_file(os.fspath(source), f"{self.root}/{name}")

    def _copy(self, source: Path, target: Path) -> None:
        if source.resolve() != target.resolve():
            with source.open("rb") as content:
                write_atomically(target, lambda file: shutil.copyfileobj(content, file))

    def get(self, name: str, target: Path) -> bool:
        """Copy a file from there over `target`; whether there is one."""
        with _clear(self.address):
            try:
                with self.fs.open(f"{self.root}/{name}", "rb") as content:
                    if not (self.local and Path(self.root, name).resolve() == target.resolve()):
                        write_atomically(target, lambda file: shutil.copyfileobj(content, file))
            except FileNotFoundError:
                return False
            return True

    def write(self, name: str, text: str) -> None:
        """A small file of text."""
        with _clear(self.address):
            if self.local:
                write_atomically(Path(self.root, name), lambda file: file.write(text.encode()))
            else:
                self.fs.pipe_file(f"{self.root}/{name}", text.encode())

    def read(self, name: str) -> str:
        """A small file of text, empty where there is none."""
        with _clear(self.address):
            try:
                content: bytes = self.fs.cat_file(f"{self.root}/{name}")
            except FileNotFoundError:
                return ""
            return content.decode("utf-8", "replace")

    def names(self) -> list[str]:
        """Every file, hidden ones left out."""
        with _clear(self.address):
            found = [path.removeprefix(self.root).lstrip("/") for path in self.fs.find(self.root)]
            return sorted(name for name in found if not Path(name).name.startswith("."))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with _clear(self.address):
            try:
                self.fs.rm_file(f"{self.root}/{name}")
            except FileNotFoundError:
                return

    def clear(self) -> None:
        """Remove all of it."""
        with _clear(self.address):
            try:
                self.fs.rm(self.root, recursive=True)
            except FileNotFoundError:
                return


@contextmanager
def _clear(address: str) -> Iterator[None]:
    """Turn whatever a file system raises into one line."""
    try:
        yield
    except PlaceUnusable:
        raise
    except Exception as error:  # each kind of fsspec has its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise PlaceUnusable(f"checkpoints {address}: {' '.join(lines)[:200]}") from error
