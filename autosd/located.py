"""Where a file that a recipe names lies on this machine.

On the driver's machine: at its path. A worker on another machine notes here where it has put its
copies, so that recipes, and what is computed from their text, are the same everywhere.
"""

import os
from pathlib import Path

_COPIES: dict[str, Path] = {}


def located(path: str | Path) -> Path:
    """The file or folder to open for a path of a recipe."""
    return _COPIES.get(os.fspath(path), Path(path))


def note_copy(path: str | Path, copy: Path) -> None:
    """From now on in this process `copy` is opened for `path`."""
    _COPIES[os.fspath(path)] = copy
