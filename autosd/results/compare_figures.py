"""The figures of a comparison. Names are escaped: plotly reads labels as HTML."""

import statistics
from html import escape
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from autosd.results.compare_table import REFERENCE, Row

if TYPE_CHECKING:
    from autosd.results.compare import Compared

NAMES = {"top1": "top-1", "nll": "NLL", "ece": "ECE", "balanced_accuracy": "balanced accuracy"}
COLOURS = {"better": "#1a7f37", "worse": "#b42318"}
OTHER, REFERENCE_COLOUR = "#57606a", "#0b4f9e"
SHOWN_CURVES = 6
USUAL = 4
SAME_COST = 0.05
LAYOUT = {
    "template": "plotly_white",
    "font": {"family": "system-ui, sans-serif", "size": 13},
    "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
    "autosize": True,
}


def differences(compared: "Compared") -> go.Figure:
    """Each recipe's difference to the reference with its 95 % interval, the best at the top."""
    rows = [row for row in compared.rows[1:] if row.difference is not None]
    figure = go.Figure(layout=LAYOUT)
    for verdict in ("better", "worse", ""):
        some = [row for row in rows if (row.verdict if row.verdict in COLOURS else "") == verdict]
        if some:
            figure.add_trace(_intervals(some, verdict, _scale(compared)))
    figure.add_vline(x=0, line={"color": REFERENCE_COLOUR, "width": 1})
    reach = _reach(rows, compared)
    for note in _beyond(rows, reach, _scale(compared)):
        figure.add_annotation(note)
    figure.update_layout(
        height=120 + 26 * len(rows),
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        xaxis={
            "title": {"text": unit(compared)},
            "zeroline": False,
            "range": reach,
        },
        yaxis={
            "categoryorder": "array",
            "categoryarray": [escape(row.recipe) for row in reversed(rows)],
            "automargin": True,
            "ticksuffix": "  ",
        },
    )
    return figure


def costs(compared: "Compared") -> go.Figure:
    """Difference to the reference over the declared cost of a step."""
    rows = [row for row in compared.rows if row.effort.declared and _mean(row) is not None]
    scale, front = _scale(compared), _front(rows, compared.metric != "nll")
    figure = go.Figure(layout=LAYOUT)
    figure.add_trace(
        go.Scatter(
            x=[row.effort.declared["step"] for row in rows if row.effort.declared],
            y=[scale * (_mean(row) or 0.0) for row in rows],
            text=[escape(row.recipe) if row in front else "" for row in rows],
            customdata=[[escape(row.recipe), times(row.effort.measured)] for row in rows],
            mode="markers+text",
            textposition="top center",
            textfont={"size": 11},
            marker={"size": 10, "color": [_colour(row) for row in rows]},
            hovertemplate="%{customdata[0]}<br>%{y:+.3g} at cost %{x:.2f} (measured "
            "%{customdata[1]})<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_hline(y=0, line={"color": REFERENCE_COLOUR, "width": 1})
    figure.update_layout(
        height=380,
        xaxis={"title": {"text": "declared cost (plain training: 1)"}},
        yaxis={
            "title": {"text": unit(compared)},
            "zeroline": False,
            "automargin": True,
            "range": _reach(rows[1:], compared),
        },
    )
    return figure


def curves(compared: "Compared") -> go.Figure:
    """The metric on val after each epoch; the reference and the best few, others on request."""
    figure, most = go.Figure(layout=LAYOUT), max(map(len, compared.curves.values()), default=1)
    for place, row in enumerate(compared.rows):
        values, reference = compared.curves.get(row.recipe, []), row.verdict == REFERENCE
        if not values:
            continue
        figure.add_trace(
            go.Scatter(
                x=list(range(1, len(values) + 1)),
                y=values,
                name=escape(row.recipe),
                mode="lines+markers" if len(values) < 5 else "lines",
                line={"color": "#1f2328", "width": 3} if reference else {"width": 1.5},
                visible=True if place <= SHOWN_CURVES else "legendonly",
            )
        )
    figure.update_layout(
        height=460,
        legend={"orientation": "h", "y": -0.26, "yanchor": "top", "x": 0},
        xaxis={"title": {"text": "epoch"}, "dtick": max(1, round(most / 8)), "tick0": 0},
        yaxis={
            "title": {"text": f"{NAMES[compared.metric]} on val"},
            "tickformat": "" if compared.metric == "nll" else ".0%",
            "automargin": True,
        },
    )
    return figure


def _front(rows: list[Row], higher: bool) -> list[Row]:
    """Recipes that none of at most their cost beats, the reference among them."""
    sign = 1.0 if higher else -1.0

    def beaten(row: Row, by: Row) -> bool:
        own, other = row.effort.declared or {}, by.effort.declared or {}
        gain = sign * ((_mean(by) or 0.0) - (_mean(row) or 0.0))
        return other["step"] <= own["step"] + SAME_COST and gain > 0

    return [row for row in rows if not any(beaten(row, by) for by in rows)]


def _beyond(rows: list[Row], reach: list[float] | None, scale: float) -> list[dict[str, Any]]:
    """A note at the edge for each recipe whose mean is outside of the picture."""
    notes = []
    for row in rows:
        mean = scale * (_mean(row) or 0.0)
        if reach is None or reach[0] <= mean <= reach[1]:
            continue
        low = mean < reach[0]
        notes.append(
            {
                "x": reach[0] if low else reach[1],
                "y": escape(row.recipe),
                "text": f"\u25c2 {mean:+.3g}" if low else f"{mean:+.3g} \u25b8",
                "xanchor": "left" if low else "right",
                "yshift": 9,
                "showarrow": False,
                "font": {"color": _colour(row)},
            }
        )
    return notes


def times(value: float | None) -> str:
    """A relative cost."""
    return "" if value is None else f"{value:.2f}"


def _intervals(rows: list[Row], verdict: str, scale: float) -> go.Scatter:
    found = [(row.recipe, row.difference) for row in rows if row.difference is not None]
    halves = [scale * (difference.smallest or 0.0) for _, difference in found]
    return go.Scatter(
        x=[scale * difference.mean for _, difference in found],
        y=[escape(recipe) for recipe, _ in found],
        error_x={"type": "data", "array": halves, "thickness": 2, "width": 4},
        mode="markers",
        marker={"size": 9, "color": COLOURS.get(verdict, OTHER)},
        name=verdict or "no difference shown",
        hovertemplate="%{y}: %{x:+.3g}<extra></extra>",
        showlegend=True,
    )


def _mean(row: Row) -> float | None:
    """The difference that a figure shows: none at all for the reference itself."""
    if row.verdict == REFERENCE:
        return 0.0
    return None if row.difference is None else row.difference.mean


def _colour(row: Row) -> str:
    if row.verdict == REFERENCE:
        return REFERENCE_COLOUR
    return COLOURS.get(row.verdict, OTHER)


def _scale(compared: "Compared") -> float:
    return 1.0 if compared.metric == "nll" else 100.0


def _reach(rows: list[Row], compared: "Compared") -> list[float] | None:
    """Limits of the differences: what reaches several times as far as is usual is cut."""
    found = [row.difference for row in rows if row.difference is not None]
    if not found:
        return None
    limit = USUAL * statistics.median(abs(one.mean) + (one.smallest or 0.0) for one in found)
    low = min(one.mean - (one.smallest or 0.0) for one in found)
    high = max(one.mean + (one.smallest or 0.0) for one in found)
    low, high = max(-limit, min(low, 0.0)), min(limit, max(high, 0.0))
    room = 0.08 * (high - low) or 1 / _scale(compared)
    return [_scale(compared) * (low - room), _scale(compared) * (high + room)]


def unit(compared: "Compared") -> str:
    """The unit of differences."""
    return "nats (lower is better)" if compared.metric == "nll" else "percentage points"
