"""A learning curve on disk: one JSON line per epoch, each appended once."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autosd.errors import AutosdError


class CurveBroken(AutosdError, ValueError):
    """A line of the file that is whole and yet no record; the message names both."""


class Curve:
    """`history.jsonl` of a training run, which its driver alone writes."""

    def __init__(self, path: Path) -> None:
        """Take up what is there; a record torn by a crash is cut off.

        Raises:
            CurveBroken: a whole line is no record; nothing is changed.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.epochs = {record["epoch"] for record in read(path)}
        if path.exists():
            _mend(path)

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append the epochs that are missing."""
        fresh = [record for record in records if record["epoch"] not in self.epochs]
        if fresh:
            lines = "".join(json.dumps(_plain(record)) + "\n" for record in fresh)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
            self.epochs |= {record["epoch"] for record in fresh}


def read(path: Path) -> list[dict[str, Any]]:
    """Records of all whole lines, the last of which may lack its end; none without a file.

    Raises:
        CurveBroken: a whole line is no record.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    lines = content[: _end(content)].split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [_record(path, number, line) for number, line in enumerate(lines, start=1)]


def torn(study: Path) -> list[str]:
    """Curves below a study's folder whose last record is not whole, or which have none."""
    paths = sorted(study.glob("*/*/history.jsonl"))
    return [path.relative_to(study).as_posix() for path in paths if not _whole(path.read_bytes())]


def _whole(content: bytes) -> bool:
    return 0 < len(content) == _end(content)


def _end(content: bytes) -> int:
    """Where the last whole record ends: a torn one is no JSON, as its brace is missing."""
    begin = content.rfind(b"\n") + 1
    try:
        json.loads(content[begin:])
    except (ValueError, RecursionError):
        return begin
    return len(content)


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        return {**record, "epoch": int(record["epoch"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CurveBroken(
            f"{path}:{number}: not the record of an epoch ({error}); put back a copy of the file, "
            "or move it away: a run that goes on writes its curve anew from its checkpoint"
        ) from None


def _mend(path: Path) -> None:
    content = path.read_bytes()
    end = _end(content)
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    elif content and not content.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
