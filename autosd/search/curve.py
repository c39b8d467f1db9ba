"""A learning curve on disk: one JSON line per epoch, each appended once."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Curve:
    """`history.jsonl` of a training run, which its driver alone writes."""

    def __init__(self, path: Path) -> None:
        """Take up what is there; a line torn by a crash is cut off."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.epochs = {record["epoch"] for record in read(path)}
        if path.exists():
            _cut(path)

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append the epochs that are missing."""
        fresh = [record for record in records if record["epoch"] not in self.epochs]
        if fresh:
            lines = "".join(json.dumps(_plain(record)) + "\n" for record in fresh)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
            self.epochs |= {record["epoch"] for record in fresh}


def read(path: Path) -> list[dict[str, Any]]:
    """Records of all whole lines; none where there is no file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _cut(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
