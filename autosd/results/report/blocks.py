"""What a page is made of: plain values that the template turns into HTML, escaping every one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

Tone = Literal["", "note", "better", "worse", "warn"]


@dataclass(frozen=True)
class Text:
    """A paragraph; a command after it is shown as one types it."""

    kind: ClassVar[str] = "text"
    text: str
    tone: Tone = ""
    command: str = ""


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    kind: ClassVar[str] = "items"
    items: Sequence[str]
    tone: Tone = ""


@dataclass(frozen=True)
class Facts:
    """Names with their values, one pair a line."""

    kind: ClassVar[str] = "facts"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        tone: colour of a verdict.
        tag: a short word after it, as `control`.
    """

    text: str
    tone: Tone = ""
    tag: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table; the strong one is what the text is about."""

    cells: Sequence[Cell]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table in a box of its own that scrolls where it is too wide.

    Attributes:
        heads: of the columns; the first names the row.
        rows: as many cells each as there are heads.
        words: columns that are read, not compared: flush left and broken into lines.
    """

    kind: ClassVar[str] = "table"
    heads: Sequence[str]
    rows: Sequence[Row]
    words: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure with what has to be said of it.

    Attributes:
        name: of the figure in `FIGURES`, and of its place on the page.
        title: its heading.
        note: what to see in it, and what it cannot show.
        spec: the figure as JSON.
        height: of its place before it is drawn, in pixels.
    """

    kind: ClassVar[str] = "picture"
    name: str
    title: str
    note: str
    spec: str
    height: int = 420


Block = Text | Items | Facts | Code | Table | Picture


@dataclass(frozen=True)
class Section:
    """A part of the page with its place in the table of contents."""

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Tile:
    """One number that is seen first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: of the document and its first heading.
        eyebrow: a few words above the heading: of what it is.
        lead: sentences that say the result, in order of weight.
        status: when and in which state of the study it was made.
        tiles: the numbers behind the result.
        sections: the rest in the order of reading.
    """

    title: str
    eyebrow: str
    lead: Sequence[Text]
    status: str
    tiles: Sequence[Tile]
    sections: Sequence[Section] = field(default_factory=tuple)


def row(*texts: str | Cell, strong: bool = False) -> Row:
    """A line of a table from words and cells."""
    return Row([one if isinstance(one, Cell) else Cell(one) for one in texts], strong)
