"""Every reading of the test part outside of a study, on record in the folder's `split.json`."""

import datetime
from pathlib import Path
from typing import Any

from autosd import stored
from autosd.files import write_json

FILE = "split.json"


def now() -> str:
    """The time of a reading."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def note_reading(folder: Path, who: str) -> None:
    """Add one reading of test to the record of a folder, in the form that studies have."""
    path = folder / FILE
    record: dict[str, Any] = {}
    if path.is_file():
        with stored.sound(path, "put back a copy of it, or move it away"):
            record = stored.mapping(path)
            record["test_readings"] = list(record.get("test_readings", []))
    reading = {"who": who, "when": now()}
    write_json(path, {**record, "test_readings": [*record.get("test_readings", []), reading]})
