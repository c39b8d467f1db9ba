"""The code that decides the numbers of a training: as it was when a study began, and as it is now.

A trial that goes on, or one that is new, would be compared with trials of other code. So a study
keeps the versions and a hash of every source file that a training rests on, and is not gone on with
under other ones unless the user says so; what he accepted stays in the record.
"""

import datetime
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autosd import files, stored
from autosd.errors import AutosdError
from autosd.recipe import fingerprint
from autosd.search import environment

PACKAGE = Path(__file__).resolve().parents[1]
SOURCES = ("training", "strategies", "models", "data", "recipe.py", "streams.py")
"""Folders and files of the package that decide the numbers of a training."""
DECIDING = ("autosd", "torch", "torchvision", "timm", "numpy")
FILE = "environment.json"
MOST_LINES = 6


@dataclass(frozen=True)
class Code:
    """Versions by package, and hashes by file: of the package, and of a user's own student."""

    versions: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits of all of it."""
        return fingerprint(asdict(self))

    @classmethod
    def parse(cls, values: Any) -> "Code | None":
        """The code of a record; None where there is none that can be read."""
        try:
            return cls(dict(values["versions"]), dict(values["files"]))
        except (KeyError, TypeError, ValueError):
            return None


def here(model: str) -> Code:
    """The code as it is now; `model` is a name, or `path/to/file.py:Class`."""
    found = dict(_package())
    path = Path(model.rpartition(":")[0])
    if path.suffix == ".py" and path.is_file():
        found[path.as_posix()] = _hash(path)
    return Code(environment.versions(DECIDING), found)


@functools.cache
def _package() -> Mapping[str, str]:
    paths = [
        path
        for name in SOURCES
        for path in sorted((PACKAGE / name).rglob("*.py") if "." not in name else [PACKAGE / name])
    ]
    return {path.relative_to(PACKAGE.parent).as_posix(): _hash(path) for path in paths}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def changes(then: Code, now: Code) -> list[str]:
    """What is another one now, one per line. A file that is new decides nothing by itself."""
    return [
        *_changes(then.versions, now.versions),
        *_changes(then.files, now.files),
    ]


def _changes(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name, old in then.items():
        if now.get(name) != old:
            yield f"{name}: {old} then, {now.get(name, 'nothing')} now"


def changed(folder: Path, model: str) -> list[str]:
    """What is another one than when a study began, or than what was accepted last.

    Nothing where the record of it is lost: then nothing is known.
    """
    last = _last(folder)
    return [] if last is None else changes(last, here(model))


def refuse(folder: Path, lines: list[str]) -> AutosdError:
    """What is said of a study that began with other code."""
    return AutosdError(
        "\n".join(
            [
                f"study {folder.name} began with other code:",
                *(f"  {line}" for line in shortened(lines)),
                "put that code back, begin a new study with the trials of this one (--fork NEW), "
                "or go on all the same (--accept-code), which is recorded",
            ]
        )
    )


def remark(folder: Path, model: str, say: Callable[[str], object]) -> None:
    """Say that the code is another one, where runs are added to a study beside its search."""
    lines = changed(folder, model)
    if lines:
        say(f"study {folder.name} began with other code: {'; '.join(shortened(lines))}")


def accept(folder: Path, model: str) -> str:
    """Record that a study goes on with the code that is here now; what to say of it."""
    then, now = _last(folder), here(model)
    entry = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "was": None if then is None else then.fingerprint,
        "is": now.fingerprint,
        "changed": changed(folder, model),
        "code": asdict(now),
    }
    files.write_json(folder / FILE, {**_record(folder), "accepted": [*_accepted(folder), entry]})
    return _told(entry)


def accepted(folder: Path) -> list[str]:
    """Every time that other code was accepted, in words."""
    return [_told(entry) for entry in _accepted(folder)]


def _told(entry: Mapping[str, Any]) -> str:
    lines = [str(line) for line in entry.get("changed", [])]
    return (
        f"gone on with other code since {entry.get('date')} "
        f"({entry.get('was')} -> {entry.get('is')}): {'; '.join(shortened(lines))}"
    )


def shortened(lines: Sequence[str]) -> list[str]:
    """The first few lines, and how many more there are."""
    more = len(lines) - MOST_LINES
    return list(lines[:MOST_LINES]) + [f"and {more} more"] * (more > 0)


def _last(folder: Path) -> Code | None:
    """The code that was accepted last, else that of the beginning."""
    known = [Code.parse(one.get("code")) for one in (_record(folder), *_accepted(folder))]
    return next((one for one in reversed(known) if one is not None), None)


def _accepted(folder: Path) -> list[Mapping[str, Any]]:
    found = _record(folder).get("accepted", [])
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _record(folder: Path) -> dict[str, Any]:
    try:
        return stored.mapping(folder / FILE)
    except (OSError, ValueError):
        return {}
