"""What the search cost: accuracy against the cost of training, and how busy the slots were."""

import datetime
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from autosd.results.leaderboard import BASELINE
from autosd.results.report.look import (
    BASELINE_COLOUR,
    COLOURS,
    OTHER,
    colours,
    figure,
    lines,
    most,
    reach,
    shown,
    symbol,
    value_axis,
)
from autosd.results.report.story import Story
from autosd.search.records import TrialRecord

HEIGHT, LOW = 420, 240
DECLARED, MEASURED = 0.02, 0.15
"""How close two costs are, as a share, where it is chance which is the smaller."""


@dataclass(frozen=True)
class Price:
    """A complete trial with what its training cost, plain training's as 1.

    Costs that differ by less than the share `tolerance` are equal.
    """

    trial: TrialRecord
    value: float
    cost: float
    tolerance: float


def accuracy_against_cost(story: Story) -> go.Figure | None:
    """Complete trials over the cost of their training, with those that no cheaper one beats."""
    prices, unit = costs(story)
    if len(prices) < 2:
        return None
    front = pareto(prices, story.minimise)
    note = (
        f"Cost is {unit}; plain training costs 1. The line joins the trials that none of at most "
        f"their cost beats; {alike(prices)}. Values are of one seed on val: small steps of the "
        "line are chance."
    )
    shape = figure("Accuracy against cost", note, HEIGHT, showlegend=False)
    shape.add_scatter(
        x=[one.cost for one in front],
        y=[one.value for one in front],
        mode="lines",
        line={"shape": "hv", "width": 2, "color": BASELINE_COLOUR},
        hoverinfo="skip",
    )
    _add(shape, story, [one for one in prices if one not in front], lead=False)
    _add(shape, story, front, lead=True)
    values = [one.value for one in prices]
    limits = reach(values, [*most(values, story.minimise), *(one.value for one in front)])
    shape.update_yaxes(value_axis(story, values), range=limits)
    shape.update_xaxes(title_text="cost of a step (plain: 1)", nticks=6)
    return shape


def costs(story: Story) -> tuple[list[Price], str]:
    """Complete trials with their costs, and in words what cost is.

    It is what strategies declare where all trials recorded that; else the measured seconds of an
    epoch over those of cross-entropy.
    """
    declared = [(one, _declared(story, one)) for one in story.complete]
    if declared and all(cost is not None for _, cost in declared):
        found = [Price(one, one.value or 0.0, cost or 0.0, DECLARED) for one, cost in declared]
        return found, "what the strategies declare for a step, branches and heads included"
    seconds = {
        one.number: effort.epoch_seconds
        for one in story.complete
        if (effort := story.efforts.get(one.lineage)) is not None
    }
    plain = [seconds[one.number] for one in story.complete if _plain(one, seconds)]
    if not plain or not statistics.median(plain):
        return [], ""
    unit = statistics.median(plain)
    prices = [
        Price(one, one.value or 0.0, seconds[one.number] / unit, MEASURED)
        for one in story.complete
        if one.number in seconds
    ]
    return prices, "the measured time of an epoch, which other work on the machine disturbs"


def alike(prices: Sequence[Price]) -> str:
    """Which costs `pareto` takes as equal, in words."""
    return f"costs less than {100 * prices[0].tolerance:.0f} % apart count as equal"


def pareto(prices: Sequence[Price], minimise: bool = False) -> list[Price]:
    """The trials that none of at most their cost beats, the cheapest first.

    Costs that lie within the tolerance of the first of a run of equals count as equal to it.
    """
    sign = -1.0 if minimise else 1.0
    ranked = sorted(prices, key=lambda one: (one.cost, -sign * one.value, one.trial.number))
    front: list[Price] = []
    least = 0.0
    for one in ranked:
        if front and sign * (one.value - front[-1].value) <= 0:
            continue
        if front and one.cost <= least * (1 + one.tolerance):
            front.pop()
        else:
            least = one.cost
        front.append(one)
    return front


def utilisation(story: Story) -> go.Figure | None:
    """How many trials ran at each moment of the search."""
    spans = _spans(story)
    if len(spans) < 2:
        return None
    steps = _steps(spans)
    hours = (steps[-1][0] - steps[0][0]).total_seconds() / 3600
    unit, size = ("hours", 3600.0) if hours > 2 else ("minutes", 60.0)
    start = steps[0][0]
    note = (
        "Trials of the search that were running at each moment, interrupted attempts among them; "
        "the confirmation is not drawn."
    )
    if story.use.share is not None:
        note += (
            f" Slots spent {100 * story.use.share:.0f} % of their time inside epochs, confirmation "
            "and all sessions together; the rest is loading, deciding and waiting."
        )
    shape = figure("Utilisation", note, LOW, showlegend=False)
    shape.add_scatter(
        x=[(when - start).total_seconds() / size for when, _ in steps],
        y=[running for _, running in steps],
        mode="lines",
        line={"shape": "hv", "width": 1, "color": COLOURS[0]},
        fill="tozeroy",
        hovertemplate=f"%{{y}} running after %{{x:.1f}} {unit}<extra></extra>",
    )
    most = max(running for _, running in steps)
    shape.update_xaxes(title_text=f"{unit} since the start", rangemode="tozero", nticks=8)
    shape.update_yaxes(title_text="trials running", range=[0, most + 0.4], nticks=min(most + 1, 6))
    return shape


def _declared(story: Story, trial: TrialRecord) -> float | None:
    effort = story.efforts.get(trial.lineage)
    return trial.cost if trial.cost is not None or effort is None else effort.cost


def _plain(trial: TrialRecord, seconds: dict[int, float]) -> bool:
    return trial.family == BASELINE and trial.number in seconds


def _add(shape: go.Figure, story: Story, prices: Sequence[Price], lead: bool) -> None:
    of = colours(story)
    shape.add_scatter(
        x=[one.cost for one in prices],
        y=[one.value for one in prices],
        mode="markers+text" if lead else "markers",
        text=[escape(one.trial.family) for one in prices] if lead else None,
        textposition=_sides(prices),
        textfont={"size": 11},
        cliponaxis=False,
        marker={
            "size": 12 if lead else 8,
            "opacity": 1.0 if lead else 0.6,
            "color": [of.get(one.trial.family, OTHER) for one in prices],
            "symbol": [symbol(story, one.trial.family) for one in prices],
        },
        hovertext=[
            lines(
                f"trial {one.trial.number}: {one.trial.family}",
                f"{shown(story, one.value)} at cost {one.cost:.2f}",
            )
            for one in prices
        ],
        hoverinfo="text",
    )


Span = tuple[datetime.datetime, datetime.datetime]


def _sides(prices: Sequence[Price]) -> list[str]:
    """Where names stand: towards the middle of the figure, so that none runs over its edge."""
    middle = max((one.cost for one in prices), default=0.0) / 2 + 0.5
    return ["top right" if one.cost <= middle else "top left" for one in prices]


def _spans(story: Story) -> list[Span]:
    """From when to when each attempt ran; copies of earlier trials took no time."""
    return [
        (one.started, one.finished)
        for one in story.attempts
        if one.started and one.finished and one.duplicate_of is None
    ]


def _steps(spans: Sequence[Span]) -> list[tuple[datetime.datetime, int]]:
    """The number of running trials after every change of it."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running, steps = 0, []
    for when, change in changes:
        running += change
        steps.append((when, running))
    return steps
