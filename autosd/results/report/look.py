"""How the figures look: one colour and one symbol per family over all of them, light and dark.

Figures have no background of their own. `LIGHT` and `DARK` are layouts to be laid over one
(`figure.update_layout(DARK)`, or `Plotly.relayout` in a page); colours of the data are read on
both, and stay apart (CIE76 difference of 24 at least) for the three kinds of colour blindness as
simulated by Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of
color vision deficiency", IEEE TVCG 15(6), 2009.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go

from autosd.results.leaderboard import BASELINE
from autosd.results.numbers import metric
from autosd.results.report.story import Story
from autosd.search.records import TrialRecord

COLOURS = ("#2b97fe", "#bf890d", "#dc0967", "#8838fd", "#7a6120", "#bb18ab")
"""Of the best families; every other one is grey and told by its name."""
BASELINE_COLOUR, OTHER = "#6e7781", "#8b949e"
BETTER, WORSE = "#1f9d57", "#dc0967"
NAMES = {"top1": "top-1", "nll": "NLL", "balanced_accuracy": "balanced accuracy"}
WIDEST = 55
"""Characters of a line in a hover text."""


def _look(text: str, grid: str, line: str) -> dict[str, Any]:
    axis = {
        "gridcolor": grid,
        "linecolor": line,
        "zerolinecolor": line,
        "tickcolor": line,
        "title": {"font": {"size": 12}},
    }
    layout = {
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": text},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"align": "left", "namelength": -1},
        "legend": {"bgcolor": "rgba(0,0,0,0)"},
    }
    return {"template": {"layout": layout}}


LIGHT = _look("#24292f", "#e3e7eb", "#8c959f")
DARK = _look("#d5dbe2", "#30363d", "#6e7681")
AXIS = {"zeroline": False, "automargin": True}
LEGEND = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1,
    "yanchor": "bottom",
    "entrywidth": 100,
    "tracegroupgap": 0,
    "font": {"size": 11},
}


def figure(title: str, note: str, height: int, **layout: Any) -> go.Figure:
    """An empty figure in the light look.

    Args:
        title: what it shows, for a heading; plain text.
        note: what has to be said of it; plain text.
        height: pixels.
        layout: further settings.
    """
    return dress(go.Figure(), title, note, height, **layout)


def dress(shape: go.Figure, title: str, note: str, height: int, **layout: Any) -> go.Figure:
    """The same figure, such as one of several panels, in the light look; see `figure`."""
    shape.layout.template = LIGHT["template"]
    shape.update_layout(
        height=height,
        autosize=True,
        margin={"l": 8, "r": 12, "t": 12, "b": 14},
        legend=LEGEND,
        meta={"title": title, "note": note},
        **layout,
    )
    shape.update_xaxes(AXIS, tickangle=0)
    shape.update_yaxes(AXIS, title_standoff=8)
    return shape


def colours(story: Story) -> Mapping[str, str]:
    """The colour of each family: six for the best by the leaderboard, grey for the rest.

    Families that were confirmed come first, so that a figure of few recipes has few greys.
    """
    confirmed = [one.family for one in story.finalists]
    families = dict.fromkeys([*confirmed, *story.space.families, *(r.family for r in story.rows)])
    named = dict.fromkeys([*confirmed, *(row.family for row in story.rows)])
    named.pop(BASELINE, None)
    return {
        **dict.fromkeys(families, OTHER),
        **dict(zip(named, COLOURS, strict=False)),
        BASELINE: BASELINE_COLOUR,
    }


@dataclass(frozen=True)
class Group:
    """Trials that share a line of the legend: a family with a colour of its own, or all others."""

    name: str
    colour: str
    trials: tuple[TrialRecord, ...]


def groups(story: Story, trials: Sequence[TrialRecord]) -> list[Group]:
    """Trials by family in the order of the colours, those without a colour together and first."""
    of = colours(story)
    grey = tuple(one for one in trials if of.get(one.family, OTHER) == OTHER)
    found = [Group("other families", OTHER, grey)]
    for family, colour in of.items():
        if colour != OTHER:
            members = tuple(one for one in trials if one.family == family)
            found.append(Group(family, colour, members))
    return [group for group in found if group.trials]


def symbol(story: Story, family: str) -> str:
    """A diamond for cross-entropy, squares for the other controls, else a circle."""
    if family == BASELINE:
        return "diamond"
    return "square" if family in story.controls else "circle"


def value_title(story: Story, part: str = "val") -> str:
    """The title of an axis of the objective."""
    return f"{NAMES[story.objective]} on {part}"


def value_axis(story: Story, values: Sequence[float], part: str = "val") -> dict[str, Any]:
    """An axis of the objective over these values; a percent has decimals only where it needs them.

    Args:
        story: of the study.
        values: all that are shown.
        part: of the data they were measured on.
    """
    spread = max(values) - min(values) if values else 1.0
    form = "" if story.objective == "nll" else ".1%" if spread < 0.04 else ".0%"
    return {"title": {"text": value_title(story, part)}, "tickformat": form, "nticks": 6}


def shown(story: Story, value: float | None, part: str = "val") -> str:
    """A value of the objective with the digits that so many images allow."""
    return metric(value, story.objective, story.images.get(part))


def lines(*texts: str) -> str:
    """Hover text of several lines, escaped and broken where they are long."""
    broken: list[str] = []
    for text in texts:
        words = text.split()
        line = ""
        for word in words:
            if line and len(line) + len(word) >= WIDEST:
                broken.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        broken.append(line)
    return "<br>".join(escape(line) for line in broken if line)


def most(values: Sequence[float], minimise: bool) -> list[float]:
    """The best three quarters of values: what a picture has to show well."""
    return sorted(values, reverse=not minimise)[: len(values) - len(values) // 4]


def reach(values: Sequence[float], least: Sequence[float]) -> list[float]:
    """Limits of an axis that shows all of `least` and of `values` what is near them.

    One value far off, such as that of a collapsed training, would squeeze all others together.
    """
    low, high = min(least), max(least)
    room = max(1.5 * (high - low), 1e-3)
    low = max(min(values, default=low), low - room)
    high = min(max(values, default=high), high + room)
    edge = 0.06 * max(high - low, 1e-3)
    return [low - edge, high + edge]
