"""Where words for people go and how machines get theirs. Only the command line prints."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

WIDE = 120


def printable(text: str) -> str:
    """A text without anything that a terminal would obey: names come from files of others."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in " \n\t" else one.encode("unicode_escape").decode()
        for one in text
    )


class Words(Console):
    """A console that shows control characters of a text instead of sending them."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The pieces of what is printed; rich's own commands pass."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(printable(piece.text), piece.style)


def people(as_json: bool = False) -> Console:
    """The console for results: standard output, or standard error when a machine reads along."""
    console = Words(stderr=as_json, highlight=False)
    return console if console.is_terminal else Words(stderr=as_json, highlight=False, width=WIDE)


def table(*columns: str, numbers: Sequence[str] = ()) -> Table:
    """An empty table without lines; the columns in `numbers` are flush right."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made


def side() -> Console:
    """The console for progress and notes: always standard error."""
    return Words(stderr=True, highlight=False)


def begun(console: Console) -> Callable[[str, int, int], None]:
    """Progress of reading data: a line when something begins that takes long."""
    told: set[str] = set()

    def tell(what: str, done: int, count: int) -> None:
        if what not in told:
            told.add(what)
            console.print(f"{what} ({count:,})", markup=False, soft_wrap=True)

    return tell


def emit(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output; NaN and infinity become null."""
    sys.stdout.write(json.dumps(finite(value), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def finite(value: Any) -> Any:
    """Plain values with every number that JSON cannot hold replaced by None."""
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def near(path: Path) -> str:
    """A path as one would type it here."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("..") else shown
