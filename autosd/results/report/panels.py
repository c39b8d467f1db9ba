"""Figures of several panels below each other, which a phone shows as well as a wide screen."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autosd.results.report.look import dress, most, reach, value_axis
from autosd.results.report.story import Story

BETWEEN, FOOT, BAR = 66, 62, 64
"""Pixels for the axis below a panel, below the last one, and for a colour bar at the top."""
COLOURS = "Cividis"


def panels(title: str, note: str, heights: Sequence[int], *, scale: bool = False) -> go.Figure:
    """Empty panels in the light look.

    Args:
        title, note: as in `look.figure`.
        heights: of the panels in pixels.
        scale: whether there is a colour bar above them.
    """
    inside = sum(heights) + BETWEEN * (len(heights) - 1)
    top = BAR if scale else 12
    shape = make_subplots(
        rows=len(heights),
        cols=1,
        row_heights=list(heights),
        vertical_spacing=BETWEEN / inside if len(heights) > 1 else 0,
    )
    dress(shape, title, note, inside + top + FOOT, showlegend=False)
    shape.update_layout(margin={"t": top, "b": FOOT})
    shape.update_xaxes(automargin=False, title_standoff=6)
    return shape


def colour_scale(story: Story, values: Sequence[float]) -> dict[str, Any]:
    """A colour axis over these values, its bar above the panels; bright is better."""
    axis = value_axis(story, most(values, story.minimise))
    low, high = reach(values, most(values, story.minimise))
    title = f"{axis['title']['text']}<br> "  # plotly lets the last line touch the bar
    bar = {
        "orientation": "h",
        "yref": "container",
        "y": 1,
        "yanchor": "top",
        "thickness": 10,
        "len": 0.9,
        "outlinewidth": 0,
        "title": {"text": title, "side": "top", "font": {"size": 12}},
        "tickformat": axis["tickformat"],
        "nticks": 5,
    }
    scale = {"colorscale": COLOURS, "reversescale": story.minimise, "colorbar": bar}
    return {**scale, "cmin": low, "cmax": high}
