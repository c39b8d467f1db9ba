"""Every image of a data set, once, in order: as it lies there and as a study would get it.

An image that cannot be read is told, not raised: whoever looks at data wants to know of all.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from autosd.data.cache import in_threads
from autosd.data.dataset import CHUNK_BYTES, Images
from autosd.data.sources.arrays import ArraySource, resized
from autosd.data.sources.files import FileSource
from autosd.data.sources.pictures import as_rgb, decode, default_side, fitted, unreadable
from autosd.data.sources.source import OFFICIAL, Progress, Source
from autosd.errors import AutosdError


@dataclass(frozen=True, eq=False)
class Seen:
    """One image.

    Attributes:
        row: its row in the whole data set.
        digest: of its pixels before any resizing; equal for equal images.
        size: `(width, height)` as found.
        image: uint8 `[H, W, C]`, as a study gets it.
    """

    row: int
    digest: bytes
    size: tuple[int, int]
    image: Images


@dataclass(frozen=True)
class Unreadable:
    """A file that is no image, or a damaged one; `why` names it."""

    row: int
    why: str


def look(
    source: Source, image_size: int | None, progress: Progress
) -> Iterator[list[Seen | Unreadable]]:
    """All images of all official parts, some hundred at a time, in the order of rows."""
    if isinstance(source, FileSource):
        return _files(source, image_size, progress)
    if isinstance(source, ArraySource):
        return _arrays(source, image_size, progress)
    raise AutosdError(f"{source.name}: neither arrays nor files; it cannot be inspected")


def _arrays(
    source: ArraySource, image_size: int | None, progress: Progress
) -> Iterator[list[Seen | Unreadable]]:
    start, count = 0, sum(source.official.values())
    for part in (name for name in OFFICIAL if name in source.official):
        images = source.load(part)
        images = images if images.ndim == 4 else images[..., None]
        step = max(1, CHUNK_BYTES // int(np.prod(images.shape[1:])))
        for begin in range(0, len(images), step):
            chunk = images[begin : begin + step]
            yield [
                _seen_array(start + begin + k, image, image_size) for k, image in enumerate(chunk)
            ]
            progress(f"looking at {source.name}", start + begin + len(chunk), count)
        start += len(images)


def _seen_array(row: int, image: Images, image_size: int | None) -> Seen:
    height, width = image.shape[:2]
    fits = image_size is None or (height, width) == (image_size, image_size)
    small = image if fits or image_size is None else resized(image, image_size)
    return Seen(row, _digest(image), (width, height), small)


def _files(
    source: FileSource, image_size: int | None, progress: Progress
) -> Iterator[list[Seen | Unreadable]]:
    paths = source.paths
    size = image_size or _side(paths)
    numbered = list(enumerate(paths))
    for done, found in in_threads(numbered, lambda one: _seen_file(*one, size)):
        yield found
        progress(f"looking at {source.name}", done, len(paths))


def _seen_file(row: int, path: Path, size: int) -> Seen | Unreadable:
    try:
        with Image.open(path) as picture:
            found = picture.size
            pixels = np.asarray(as_rgb(picture))
            jpeg = picture.format == "JPEG"  # a study decodes these at a fraction of their size
            image = decode(path, size) if jpeg else fitted(picture, (size, size, 3))
    except Exception as error:  # decoders of damaged files raise almost anything
        return Unreadable(row, unreadable(path, error))
    return Seen(row, _digest(pixels), found, image)


def _digest(pixels: Images) -> bytes:
    digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def _side(paths: list[Path]) -> int:
    """The side that a study would take, of the files whose header can be read."""
    sides = [side for _, found in in_threads(paths, _shorter) for side in found if side]
    if not sides:
        raise AutosdError(f"{paths[0].parent}: none of {len(paths):,} files is an image")
    return default_side(sides)


def _shorter(path: Path) -> int:
    try:
        with Image.open(path) as picture:
            return min(picture.size)
    except Exception:  # told when the image itself is read
        return 0
