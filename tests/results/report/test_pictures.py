"""Figures as files."""

from pathlib import Path

import plotly.graph_objects as go
import pytest

from autosd.errors import WorkFailed
from autosd.results.report.pictures import Format, write_pictures

from .browse import CHROMIUM

FIGURES = {"one": go.Figure(go.Scatter(y=[1, 2])), "two": go.Figure(go.Bar(y=[1, 2]))}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize(
    ("form", "start"),
    [
        pytest.param(Format.PNG, b"\x89PNG", marks=pytest.mark.slow),
        (Format.SVG, b"<svg "),
    ],
)
def test_each_figure_becomes_a_file(tmp_path: Path, form: Format, start: bytes) -> None:
    paths = write_pictures(FIGURES, tmp_path / "made", form)
    assert [path.name for path in paths] == [f"one.{form}", f"two.{form}"]
    assert all(path.read_bytes().startswith(start) for path in paths)


def test_without_a_browser_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no-browser"))
    with pytest.raises(WorkFailed, match=r"Chrome or Chromium.*BROWSER_PATH.*HTML report"):
        write_pictures(FIGURES, tmp_path, Format.PNG)


def test_nothing_to_draw_makes_no_folder(tmp_path: Path) -> None:
    assert write_pictures({}, tmp_path / "none", Format.PNG) == []
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkFailed, match=r"file.*cannot be made"):
        write_pictures(FIGURES, tmp_path / "file", Format.SVG)
