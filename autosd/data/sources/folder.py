"""`folder:PATH`: image files in folders that are named after their classes.

Either `PATH/train/CLASS/...` with `PATH/test` and `PATH/val` where they exist, or one level of
classes, `PATH/CLASS/...`, which is split. Folders below a class belong to it. Hidden files, and
what desktops leave behind, are ignored, and so are files beside the folders of the classes; any
file of a class has to be an image.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from autosd.data.sources.files import FileSource, Labelled, printable
from autosd.data.sources.source import OFFICIAL, Kind, Progress, path_of
from autosd.errors import AutosdError
from autosd.recipe import DataSpec, unknown

LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


class Folder(Kind):
    """`folder:PATH`."""

    prefix = "folder"

    def check(self, spec: DataSpec) -> None:
        path = path_of(spec)
        names = _class_names(_parts(path)["train"])
        if len(names) < 2:
            raise AutosdError(f"{path}: only one class ('{names[0]}'); at least two are needed")

    def open(self, spec: DataSpec, cache: Path, progress: Progress) -> FileSource:
        self.check(spec)
        path = path_of(spec)
        parts = _parts(path)
        names = _class_names(parts["train"])
        files = {part: list(_files(folder, names)) for part, folder in parts.items()}
        _check_not_empty(parts, files, names)
        source = FileSource(
            name=printable(path.resolve().name),
            class_names=tuple(printable(name) for name in names),
            root=path,
            files=files,
            image_size=spec.image_size,
            cache=cache,
        )
        source.crops = source.flips = True
        return source


def visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted by name, without hidden files.

    Raises:
        AutosdError: it cannot be read.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as error:
        raise AutosdError(f"{folder}: {error.strerror or error}") from None
    return [p for p in entries if not p.name.startswith(".") and p.name.lower() not in LITTER]


def _parts(path: Path) -> dict[str, Path]:
    """The folders of the official parts; the folder itself where there is no `train`."""
    if not path.is_dir():
        raise AutosdError(f"{path}: no such folder")
    if not (path / "train").is_dir():
        stray = [part for part in ("val", "test") if (path / part).is_dir()]
        if stray:
            raise AutosdError(f"{path}: has {' and '.join(stray)} but no train folder")
        return {"train": path}
    return {part: path / part for part in OFFICIAL if (path / part).is_dir()}


def _class_names(folder: Path) -> list[str]:
    names = [entry.name for entry in visible(folder) if entry.is_dir()]
    if not names:
        raise AutosdError(f"{folder}: no folders named after the classes")
    return names


def _files(folder: Path, names: Sequence[str]) -> Iterator[Labelled]:
    for entry in visible(folder):
        if entry.is_dir():
            if entry.name not in names:
                raise AutosdError(f"{folder}: {unknown('class', entry.name, names)}")
            yield from ((path, names.index(entry.name)) for path in _below(entry))


def _below(folder: Path) -> Iterator[Path]:
    for entry in visible(folder):
        if entry.is_dir():
            yield from _below(entry)
        else:
            yield entry


def _check_not_empty(
    parts: dict[str, Path], files: dict[str, list[Labelled]], names: Sequence[str]
) -> None:
    present = {label for _, label in files["train"]}
    empty = [str(parts["train"] / name) for label, name in enumerate(names) if label not in present]
    empty += [str(parts[part]) for part in parts if not files[part]]
    if empty:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise AutosdError(f"no images in {', '.join(empty[:5])}{more}")
