"""What a verification found, one line each."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autosd import stored

PUT_BACK = "put back a copy of it"


@dataclass(frozen=True)
class Fault:
    """Something wrong.

    Attributes:
        where: file, folder or trial, relative to the study folder.
        what: is wrong.
        todo: what helps.
    """

    where: str
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.todo}"


@dataclass
class Check:
    """Collects what is found on the way."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=Counter)

    def wrong(self, where: str, what: str, todo: str) -> None:
        """Something is wrong, and this helps."""
        self.faults.append(Fault(where, " ".join(what.split()), todo))

    def note(self, line: str) -> None:
        """Worth knowing, and no fault."""
        self.notes.append(line)

    def count(self, kind: str, number: int = 1) -> None:
        """So many things of a kind were opened."""
        self.checked[kind] = self.checked.get(kind, 0) + number

    @contextlib.contextmanager
    def form_of(self, where: str, todo: str = PUT_BACK) -> Iterator[None]:
        """Take it as a fault of the file if what it holds is not what autosd writes."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self.wrong(where, f"is not what autosd writes ({error!r:.120})", todo)

    def read_json(self, path: Path, where: str, todo: str = PUT_BACK) -> dict[str, Any] | None:
        """The object of a JSON file; None, and a fault, where there is none."""
        try:
            value = stored.load(path)
        except (OSError, ValueError) as error:
            self.wrong(where, f"cannot be read ({error})", todo)
            return None
        if not isinstance(value, dict):
            self.wrong(where, "is no JSON object", todo)
            return None
        return value
