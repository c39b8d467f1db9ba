"""The leaderboard as a picture: every family with all of its trials, controls marked."""

from html import escape

import plotly.graph_objects as go

from autosd.results.leaderboard import BASELINE
from autosd.results.report.look import (
    BASELINE_COLOUR,
    colours,
    figure,
    lines,
    reach,
    shown,
    symbol,
    value_axis,
)
from autosd.results.report.story import Story

ROW, ROOM = 22, 110


def leaderboard(story: Story) -> go.Figure | None:
    """Values of complete trials by family, the best family at the top."""
    rows = [row for row in story.rows if row.value is not None]
    if not rows:
        return None
    names = {row.family: _label(story, row.family) for row in rows}
    note = (
        "Dots are complete trials, large ones the best of a family; squares are controls, the "
        "diamond is cross-entropy. The line is its best trial. A family with more trials has "
        "more chances of a lucky one, so this ranking is no result."
    )
    shape = figure("Leaderboard of the search", note, ROOM + ROW * len(rows), showlegend=False)
    values = [one.value or 0.0 for one in story.complete]
    baseline = next((row.value for row in rows if row.family == BASELINE), None)
    if baseline is not None:
        shape.add_vline(x=baseline, line={"color": BASELINE_COLOUR, "width": 1, "dash": "dot"})
    _add_trials(shape, story, names)
    shape.update_xaxes(
        value_axis(story, values),
        range=reach(values, [row.value for row in rows if row.value is not None]),
    )
    shape.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(reversed(names.values())),
        range=[-0.7, len(rows) - 0.3],
        dtick=1,
    )
    return shape


def _label(story: Story, family: str) -> str:
    marked = family in story.controls and family != BASELINE
    return escape(f"{family} (control)" if marked else family)


def _add_trials(shape: go.Figure, story: Story, names: dict[str, str]) -> None:
    of = colours(story)
    best = {row.family: row.trial for row in story.rows}
    trials = [one for one in story.complete if one.family in names]
    leads = [best[one.family] == one.number for one in trials]
    shape.add_scatter(
        x=[one.value for one in trials],
        y=[names[one.family] for one in trials],
        mode="markers",
        marker={
            "color": [of[one.family] for one in trials],
            "symbol": [symbol(story, one.family) for one in trials],
            "size": [12 if lead else 7 for lead in leads],
            "line": {"width": 0},
            "opacity": [1.0 if lead else 0.55 for lead in leads],
        },
        hovertext=[
            lines(
                f"{one.family}, trial {one.number}: {shown(story, one.value)}",
                "published default" if "default_of" in one.attributes else "",
            )
            for one in trials
        ],
        hoverinfo="text",
    )
