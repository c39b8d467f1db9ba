"""Images decoded or resized once: a file of uint8 on disk, mapped into memory.

The file is whole or absent, and only one process makes it while others wait.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from filelock import FileLock

from autosd.data.dataset import Images
from autosd.data.sources.source import Progress
from autosd.errors import AutosdError
from autosd.files import write_atomically

log = logging.getLogger(__name__)
Item = TypeVar("Item")
CHUNK = 256
MAX_THREADS = 16


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/autosd`, by default `~/.cache/autosd`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "autosd"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock beside `path`; its folder is made.

    Raises:
        AutosdError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise AutosdError(f"{path.parent}: cannot be written ({error.strerror or error})") from None
    try:
        yield
    finally:
        lock.release()


def cached_images(
    path: Path,
    items: Sequence[Item],
    shape: Callable[[], tuple[int, int, int]],
    decode: Callable[[Item, tuple[int, int, int]], Images],
    progress: Progress,
    what: str,
) -> Images:
    """The mapped file `path` of uint8 `[len(items), H, W, C]`, made first where it is missing.

    Args:
        path: an `.npy` file; its name has to say everything that decides the content.
        items: what is decoded, in order.
        shape: `(H, W, C)` of all images, asked for only when the file has to be made.
        decode: one item to uint8 of that shape; called in threads.
        progress: told `(what, done, all)`.
        what: said to `progress` and in errors.

    Raises:
        AutosdError: a fault of `decode`, or the disk is full or read-only.
    """
    images = mapped(path, len(items))
    if images is not None:
        return images
    with locked(path):
        images = mapped(path, len(items))
        if images is None:
            log.info("%s: decoding %d images to %s", what, len(items), path)
            _make(path, items, shape(), decode, progress, what)
            images = mapped(path, len(items))
    if images is None:
        raise AutosdError(f"{path}: cannot be read back; remove it and try again")
    return images


def mapped(path: Path, count: int) -> Images | None:
    """The mapped file, copy-on-write so that it can never be changed; None where it is unfit."""
    try:
        images = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = images.dtype == np.uint8 and images.ndim == 4 and len(images) == count
    return images if fits else None


def _make(
    path: Path,
    items: Sequence[Item],
    shape: tuple[int, int, int],
    decode: Callable[[Item, tuple[int, int, int]], Images],
    progress: Progress,
    what: str,
) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(items), *shape)}

    def write(file: BinaryIO) -> None:
        np.lib.format.write_array_header_1_0(file, header)
        for done, images in in_threads(items, lambda item: decode(item, shape)):
            for image in images:
                file.write(np.ascontiguousarray(image).data)
            progress(what, done, len(items))

    try:
        write_atomically(path, write)
    except OSError as error:
        raise AutosdError(f"{path}: cannot be written ({error.strerror or error})") from None


def in_threads(
    items: Sequence[Item], work: Callable[[Item], Any]
) -> Iterator[tuple[int, list[Any]]]:
    """Results of `work` in order, some hundred at a time, each time with how many are done."""
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), CHUNK):
            results = list(pool.map(work, items[start : start + CHUNK]))
            yield start + len(results), results
