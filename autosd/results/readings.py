"""Every reading of the test part, on record in the folder's `split.json`."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autosd.files import write_json

FILE = "split.json"


def note_reading(folder: Path, command: str, seeds: Sequence[int]) -> None:
    """Add one reading of test: when, by which command, for which seeds."""
    path = folder / FILE
    record: dict[str, Any] = {}
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
    reading = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command,
        "seeds": list(seeds),
    }
    record["test_readings"] = [*record.get("test_readings", []), reading]
    write_json(path, record)


def readings(folder: Path) -> list[dict[str, Any]]:
    """All readings of test on record."""
    path = folder / FILE
    if not path.is_file():
        return []
    return list(json.loads(path.read_text(encoding="utf-8")).get("test_readings", []))
