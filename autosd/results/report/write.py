"""From names of studies to files: the report of one, or of two side by side, and its pictures."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from autosd.errors import AutosdError, WorkFailed
from autosd.files import write_text
from autosd.results.report.blocks import Page
from autosd.results.report.embed import html
from autosd.results.report.opening import result
from autosd.results.report.page import drawn, page
from autosd.results.report.pair import Pair
from autosd.results.report.pair_page import figures_of, pair_page
from autosd.results.report.pictures import Format, write_pictures
from autosd.results.report.story import Story
from autosd.search.study import StudyFolder

FILE = "report.html"
PICTURES = "figures"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        stories: of the studies, in the order given.
        sentence: the result.
        path: of the HTML file.
        bytes: its size.
        figures: names of the figures in it.
        pictures: files with one figure each.
        fault: why pictures that were asked for are not there, or empty.
    """

    stories: tuple[Story, ...]
    sentence: str
    path: Path
    bytes: int
    figures: tuple[str, ...]
    pictures: tuple[Path, ...] = ()
    fault: str = ""


def write(
    names: Sequence[str],
    root: Path,
    *,
    out: Path | None = None,
    form: Format | None = None,
    into: Path | None = None,
) -> Written:
    """Write the report of one study, or of two side by side.

    Args:
        names: one or two, below `root` or as paths.
        root: the folder of studies.
        out: the file; None for one in the folder of the first study.
        form: of pictures, None for none.
        into: folder of the pictures; None for one in the folder of the first study.

    Raises:
        AutosdError: there is no such study, or the file cannot be written.
    """
    stories = tuple(Story.read(StudyFolder.find(name, root)) for name in names)
    now = datetime.datetime.now().astimezone()
    sentence, figures, made = _told(stories, now)
    path = out or _default(stories)
    text = html(made)
    _write(path, text)
    pictures: list[Path] = []
    fault = ""
    if form is not None:
        try:
            pictures = write_pictures(figures, into or path.parent / PICTURES, form)
        except WorkFailed as error:
            fault = str(error)
    return Written(
        stories, sentence, path, len(text.encode()), tuple(figures), tuple(pictures), fault
    )


def _told(
    stories: Sequence[Story], now: datetime.datetime
) -> tuple[str, dict[str, go.Figure], Page]:
    if len(stories) == 1:
        figures = drawn(stories[0])
        return result(stories[0]), figures, page(stories[0], figures, now)
    pair = Pair.of(stories[0], stories[1])
    figures = figures_of(pair)
    return pair.sentence, figures, pair_page(pair, figures, now)


def _default(stories: Sequence[Story]) -> Path:
    first = stories[0].folder.path
    return first / (FILE if len(stories) == 1 else f"report-{stories[1].name}.html")


def _write(path: Path, text: str) -> None:
    if path.is_dir():
        raise AutosdError(f"{path}: is a folder; --out needs the name of a file")
    try:
        write_text(path, text)
    except AutosdError as error:
        raise AutosdError(f"{error}; --out FILE writes it elsewhere") from None
