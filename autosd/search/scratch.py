"""A temporary folder with a short path that is gone after the run, however the run ended."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from autosd.errors import AutosdError

PREFIX = "asd-"
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
        self._lock = (self.path / ".owner").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def sweep(root: Path) -> None:
    """Remove folders whose owner is gone: the kernel has dropped its lock."""
    for folder in abandoned(root):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(root: Path) -> Iterator[Path]:
    """Folders of runs that were killed, each locked while the caller looks at it."""
    for owner in root.glob(f"{PREFIX}*/.owner"):
        try:
            with owner.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield owner.parent
        except OSError:  # held by a living run, or another user's
            continue
