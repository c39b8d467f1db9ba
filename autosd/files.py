"""Files that are whole or absent: every write goes to a temporary neighbour and is renamed."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from autosd.errors import AutosdError


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file beside `path`, sync it, and rename it over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically.

    Raises:
        AutosdError: it cannot be written there; says why.
    """
    try:
        write_atomically(path, lambda file: file.write(text.encode()))
    except OSError as error:
        way_out = "; move it away" if os.path.isdir(path) else ""
        raise AutosdError(f"{path}: cannot be written ({error.strerror}){way_out}") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, readable for people; NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
