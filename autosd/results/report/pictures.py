"""The figures as PNG or SVG files, for papers and slides; drawn by kaleido in a browser."""

from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from autosd.errors import WorkFailed

if TYPE_CHECKING:
    import plotly.graph_objects as go

WIDTH, SCALE = 1000, 2
WAY_OUT = "the HTML report is whole without them"


class Format(StrEnum):
    """Of pictures."""

    PNG = "png"
    SVG = "svg"


def write_pictures(figures: Mapping[str, "go.Figure"], into: Path, form: Format) -> list[Path]:
    """One file for each figure, on white; `NAME.png` or `NAME.svg`.

    Raises:
        WorkFailed: kaleido or a browser is missing, or drawing failed; says the way out.
    """
    _check_kaleido()
    import plotly.io

    paths = [into / f"{name}.{form}" for name in figures]
    if not paths:
        return []
    _make(into)
    try:
        plotly.io.write_images(
            fig=[_on_white(figure) for figure in figures.values()],
            file=[str(path) for path in paths],
            format=form,
            width=WIDTH,
            height=[figure.layout.height for figure in figures.values()],
            scale=1 if form == "svg" else SCALE,
        )
    except (RuntimeError, OSError, ValueError) as error:
        raise WorkFailed(_why(error)) from error
    return paths


def _check_kaleido() -> None:
    if find_spec("kaleido") is None:
        raise WorkFailed(
            f"pictures need kaleido, which is not installed: pip install kaleido; {WAY_OUT}"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkFailed(f"{folder}: cannot be made ({error.strerror})") from error


def _on_white(figure: "go.Figure") -> "go.Figure":
    """A copy that can be read on any ground."""
    import plotly.graph_objects as go

    copy = go.Figure(figure)
    copy.update_layout(paper_bgcolor="#ffffff", plot_bgcolor="#ffffff")
    return copy


def _why(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__).strip()
    if "chrome" in str(error).lower():
        return (
            "pictures need Chrome or Chromium, and none could be started: install one (Debian: "
            "apt-get install chromium; anywhere: plotly_get_chrome), or name it in BROWSER_PATH; "
            f"{WAY_OUT}"
        )
    return f"pictures: drawing failed ({first}); {WAY_OUT}"
