"""What autosd has written and reads again: damage is said with the file and a way out."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autosd.errors import AutosdError

FAULTS = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What taking values out of a damaged file raises."""
LONGEST = 160
WAY_OUT = "put back a copy of it, or move the folder away and start the study anew"
"""For what a study cannot do without."""


def load(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def mapping(path: Path) -> dict[str, Any]:
    """The object of a JSON file; raises as `load`, also where it holds something else."""
    value = load(path)
    if not isinstance(value, dict):
        raise ValueError("no mapping of keys to values")
    return value


def check_end(path: Path) -> None:
    """Refuse a text file that was cut short: YAML is readable up to any place.

    Raises:
        AutosdError: its last line, as autosd writes it, has no end.
    """
    try:
        short = path.is_file() and not path.read_bytes().endswith(b"\n")
    except OSError as error:
        raise AutosdError(f"{path}: {_reason(error)}") from None
    if short:
        raise AutosdError(f"{path}: was cut short; its last line has no end")


@contextlib.contextmanager
def sound(path: Path, way_out: str) -> Iterator[None]:
    """Read a file inside the block; whatever is wrong with it ends in one clear line.

    Args:
        path: the file, which the message names.
        way_out: what helps where it is damaged.

    Raises:
        AutosdError: it cannot be read, or does not hold what autosd writes.
    """
    try:
        yield
    except AutosdError as error:
        said = str(error)
        raise type(error)(said if way_out in said else f"{said}; {way_out}") from None
    except FAULTS as error:
        raise AutosdError(f"{path}: {_reason(error)}; {way_out}") from None


def _reason(error: Exception) -> str:
    """What is wrong with the file, in one line."""
    from pydantic import ValidationError

    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error})"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        text = f"{place}: {first['msg']}"
    elif isinstance(error, KeyError):
        text = f"{error} is not there"
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    return f"not what autosd writes ({text:.{LONGEST}})"
