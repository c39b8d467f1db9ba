"""Image files as a command line names them: files, folders, patterns and lines."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autosd.data.sources.folder import visible
from autosd.errors import AutosdError

SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
"""What counts as an image in a folder; a file that is named is tried whatever its name."""
ARRAYS = frozenset({".npy", ".npz"})
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Named:
    """One path, or why there is none to be read.

    Attributes:
        path: as it was given, or found below what was given.
        fault: empty for a file that can be tried.
    """

    path: str
    fault: str = ""


def image_paths(words: Iterable[str], lines: Iterable[str] = ()) -> Iterator[Named]:
    """Every path once, in the order given; folders and patterns in the order of names.

    Args:
        words: files, folders (all images below), patterns (`**` for any folders), or `-`.
        lines: paths that `-` stands for, one per line.
    """
    seen: set[str] = set()
    for word in words:
        given = (line.rstrip("\r\n") for line in lines) if word == STANDARD_INPUT else [word]
        for path in given:
            for named in _expanded(path) if path else ():
                key = os.path.abspath(named.path)
                if key not in seen:
                    seen.add(key)
                    yield named


def _expanded(path: str) -> Iterator[Named]:
    if os.path.lexists(path) or not glob.has_magic(path):
        yield from _files(path)
        return
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        yield Named(path, "nothing matches this pattern")
    for match in found:
        yield from _files(match)


def _files(path: str) -> Iterator[Named]:
    if not os.path.isdir(path):
        yield Named(path, _fault(path))
        return
    empty = True
    for named in _below(Path(path), ()):
        empty = False
        yield named
    if empty:
        yield Named(path, "no images in this folder")


def _fault(path: str) -> str:
    if not os.path.exists(path):
        return "no such file"
    if not os.path.isfile(path):
        return "not a file"
    if os.path.splitext(path)[1].lower() in ARRAYS:
        return "arrays, not an image; `autosd evaluate --data npz:PATH` takes labelled ones"
    return ""


def _below(folder: Path, above: tuple[str, ...]) -> Iterator[Named]:
    """All images below a folder; a link to a folder above is not followed."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = visible(folder)
    except AutosdError as error:
        yield Named(str(folder), str(error).partition(": ")[2])
        return
    for entry in entries:
        if entry.is_dir():
            yield from _below(entry, (*above, real))
        elif _is_image(entry.name) and entry.is_file():
            yield Named(str(entry))


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES
