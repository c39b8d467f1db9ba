"""A temporary folder with a short path that is gone after the run, however the run ended."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from autosd.errors import AutosdError

PREFIX = "asd-"
OWNER = ".owner"
SETTLED = 300.0
"""Seconds; Ray's agents end about one minute after a killed driver."""
MOST_CHARACTERS = 43  # a socket's path has at most 107 bytes, Ray's own part takes about 63


class Scratch:
    """A context with a fresh folder at `path`; removes the folders of runs that were killed."""

    def __enter__(self) -> Self:
        root = Path(tempfile.gettempdir())
        if len(str(root)) + len(PREFIX) + 9 > MOST_CHARACTERS:
            root = Path("/tmp")
        if not os.access(root, os.W_OK):
            raise AutosdError(
                f"TMPDIR: {tempfile.gettempdir()} is longer than {MOST_CHARACTERS - 13} "
                "characters, too long for Ray's sockets; set TMPDIR to a shorter folder"
            )
        sweep(root)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        self._lock = (self.path / OWNER).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *error: object) -> None:
        remove(self.path)
        self._lock.close()


def sweep(root: Path, settled: float = SETTLED) -> None:
    """Remove the folders that `abandoned` finds."""
    for folder in abandoned(root, settled):
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a run's folder, the file of its owner last.

    Ray's agents outlive a killed driver by up to a minute and write again into what is being
    removed; while the file is there, the next run comes back to what was left.
    """
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != OWNER:
                entry.unlink(missing_ok=True)
        if {entry.name for entry in folder.iterdir()} <= {OWNER}:
            (folder / OWNER).unlink(missing_ok=True)
            folder.rmdir()


def abandoned(root: Path, settled: float = SETTLED) -> Iterator[Path]:
    """Folders of runs that were killed: the kernel has dropped the lock of their owner's file.

    Each is locked while the caller looks at it. Also what an agent of Ray made anew after such a
    folder was removed, once nobody has written there for `settled` seconds.
    """
    for folder in root.glob(f"{PREFIX}*"):
        owner = folder / OWNER
        try:
            if not owner.exists():
                if _left_by_ray(folder) and time.time() - folder.stat().st_mtime >= settled:
                    yield folder
                continue
            with owner.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield folder
        except OSError:  # held by a living run, or another user's
            continue


def _left_by_ray(folder: Path) -> bool:
    """Whether a folder holds sessions of Ray and nothing else."""
    names = [entry.name for entry in folder.iterdir()]
    return bool(names) and all(name.startswith("session_") for name in names)
