"""What was confirmed and what the retraining showed: differences with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from autosd.results.leaderboard import BASELINE
from autosd.results.numbers import mean_and_sd, metric
from autosd.results.report.look import (
    BASELINE_COLOUR,
    BETTER,
    NAMES,
    OTHER,
    WORSE,
    colours,
    figure,
    lines,
    reach,
    symbol,
)
from autosd.results.report.story import Story
from autosd.results.statistics import Difference, Summary
from autosd.results.wording import against, amount

ROW, ROOM = 34, 76
PARTS = {"val": "search", "select": "confirmed", "test": "test"}
VERDICTS = {"better": BETTER, "worse": WORSE}


@dataclass(frozen=True)
class Line:
    """A recipe in a figure of differences."""

    label: str
    difference: Difference
    verdict: str
    detail: str


def confirmed(story: Story) -> go.Figure | None:
    """Finalists against cross-entropy on `select`, fresh seeds, with 95 % intervals."""
    found = [
        Line(
            one.finalist.label,
            one.difference,
            one.verdict,
            mean_and_sd(
                one.finalist.mean, one.finalist.sd, story.objective, story.images.get("select")
            ),
        )
        for one in story.compared
        if one.difference is not None
    ]
    note = (
        "Finalists against cross-entropy on select, seed by seed, with the 95 % interval of "
        "Student's t, one comparison at a time. The finalists were chosen for good values and "
        "cross-entropy was not, so small gains shrink when the winner is retrained."
    )
    return _forest(story, "Confirmed with fresh seeds", note, found)


def retrained(story: Story) -> go.Figure | None:
    """Retrained recipes against cross-entropy on `test`, with 95 % intervals."""
    table = story.retrained
    if table is None:
        return None
    found = [
        Line(
            row.recipe,
            row.difference,
            row.verdict,
            _spread(row.metrics.get(table.metric), table.metric, table.images),
        )
        for row in table.rows
        if row.difference is not None
    ]
    note = (
        f"Trained on {', '.join(table.trained_on)} with {len(table.seeds)} paired seeds and scored "
        f"on the {table.images} images of test; 95 % intervals of Student's t, one comparison at "
        "a time. The split is the same for all seeds: other splits vary more."
    )
    return _forest(story, "Retrained and tested", note, found)


def from_search_to_test(story: Story) -> go.Figure | None:
    """What each retrained recipe scored in the search, when confirmed, and on test."""
    rows = [] if story.retrained is None else list(story.retrained.rows)
    told = [row for row in rows if row.search is not None or row.confirmed is not None]
    if not told:
        return None
    note = (
        "The search shows the best of many noisy values, the confirmation fresh seeds on select, "
        "the last column fresh seeds on test after training on all other data. A fall to the "
        "right is what the selection had flattered; parts also differ in difficulty."
    )
    shape = figure("From the search to the test", note, 360)
    of = colours(story)
    values: list[float] = []
    for row in told:
        score = row.metrics.get(story.objective)
        points = [row.search, _mean(row.confirmed), _mean(score)]
        values += [one for one in points if one is not None]
        shape.add_scatter(
            x=[f"{name}<br>({part})" for part, name in PARTS.items()],
            y=points,
            mode="lines+markers",
            connectgaps=True,
            name=escape(row.recipe),
            line={
                "color": of.get(row.family, OTHER),
                "width": 2,
                "dash": "dot" if "default" in row.roles else "solid",
            },
            marker={"size": 9, "symbol": symbol(story, row.family)},
            hovertext=[
                lines(row.recipe, metric(one, story.objective, story.images.get(part)))
                for part, one in zip(PARTS, points, strict=True)
            ],
            hoverinfo="text",
        )
    shape.update_layout(legend_entrywidth=150)
    shape.update_xaxes(type="category")
    shape.update_yaxes(
        title_text=NAMES[story.objective],
        tickformat="" if story.objective == "nll" else ".1%",
        range=reach(values, values),
        nticks=6,
    )
    return shape


def _mean(one: Summary | None) -> float | None:
    return None if one is None else one.mean


def _spread(one: Summary | None, objective: str, images: int | None) -> str:
    return "" if one is None else mean_and_sd(one.mean, one.sd, objective, images)


def _forest(story: Story, title: str, note: str, found: Sequence[Line]) -> go.Figure | None:
    if not found:
        return None
    scale = 1.0 if story.objective == "nll" else 100.0
    unit = "nats" if story.objective == "nll" else "points"
    shape = figure(title, note, ROOM + ROW * len(found), showlegend=False)
    shape.add_vline(x=0, line={"color": BASELINE_COLOUR, "width": 1.5})
    shape.add_scatter(
        x=[scale * one.difference.mean for one in found],
        y=[escape(one.label) for one in found],
        mode="markers",
        marker={"size": 10, "color": [VERDICTS.get(one.verdict, OTHER) for one in found]},
        error_x={
            "array": [scale * (one.difference.smallest or 0.0) for one in found],
            "color": OTHER,
            "thickness": 2,
            "width": 4,
        },
        hovertext=[_said(one, story.objective) for one in found],
        hoverinfo="text",
    )
    shape.update_xaxes(title_text=f"{unit} against {BASELINE}", nticks=7)
    shape.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=[escape(one.label) for one in reversed(found)],
        range=[-0.7, len(found) - 0.3],
        dtick=1,
    )
    return shape


def _said(one: Line, objective: str) -> str:
    unit = amount(one.difference.mean, objective).split()[1]
    facts = f"{against(one.difference, objective)} {unit}, {one.difference.n} paired seeds"
    return lines(f"{one.label}: {one.detail}", facts, one.difference.why or one.verdict)
