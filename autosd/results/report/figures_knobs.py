"""Values over the knobs that are asked for most, one by one and in pairs."""

import itertools
import math
from html import escape
from typing import Any

import plotly.graph_objects as go

from autosd.results.report.look import (
    BASELINE_COLOUR,
    OTHER,
    colours,
    lines,
    most,
    reach,
    shown,
    symbol,
    value_axis,
)
from autosd.results.report.panels import colour_scale, panels
from autosd.results.report.story import Story
from autosd.search.knobs import Knob
from autosd.search.records import TrialRecord

NAMED = (
    "masd.mask_ratio",
    "masd.weighting_temperature",
    "rskd.residual_layers",
    "toast.medoid_mix",
)
"""The knobs that are asked for most; the space `joint` opens with the same list."""
PANEL, SQUARE = 150, 220
LEAST = 3
STOPPED = ("pruned", "diverged")


def named(story: Story) -> list[Knob]:
    """The named knobs of the space that enough complete trials have."""
    known = story.space.parameters()
    found = [known[name] for name in NAMED if name in known]
    return [knob for knob in found if len(_having(story, knob.name)) >= LEAST]


def slices(story: Story) -> go.Figure | None:
    """The value over each named knob, in every family that has it."""
    knobs = named(story)
    if not knobs:
        return None
    note = (
        "Dots are complete trials of all families that have the knob, in the colours of the "
        "leaderboard; other knobs differ too. Ticks at the foot are trials that were stopped, the "
        "dotted line is the published default."
    )
    shape = panels("The named knobs one by one", note, [PANEL] * len(knobs))
    for row, knob in enumerate(knobs, 1):
        _slice(shape, story, knob, row)
    return shape


def pairs(story: Story) -> go.Figure | None:
    """The value over a named knob and another one of its family."""
    drawn = [
        pair for pair in _pairs(story) if len(_having(story, *(one.name for one in pair))) >= LEAST
    ]
    if not drawn:
        return None
    values = [one.value for pair in drawn for one in _having(story, *(k.name for k in pair))]
    note = (
        "Each dot is a complete trial, brighter where it did better; crosses are trials that were "
        "stopped. An empty corner was not tried."
    )
    shape = panels("The named knobs in pairs", note, [SQUARE] * len(drawn), scale=True)
    for row, pair in enumerate(drawn, 1):
        _pair(shape, story, pair, row)
    shape.update_layout(coloraxis=colour_scale(story, [one or 0.0 for one in values]))
    return shape


def _having(story: Story, *names: str) -> list[TrialRecord]:
    """Complete trials that have all of these knobs."""
    return [one for one in story.complete if all(name in one.params for name in names)]


def _stopped(story: Story, *names: str) -> list[TrialRecord]:
    return [
        one
        for one in story.trials
        if one.state in STOPPED and all(name in one.params for name in names)
    ]


def _hover(story: Story, one: TrialRecord, *names: str) -> str:
    params = [f"{name} {_plain(one.params[name])}" for name in names]
    ended = shown(story, one.value) if one.state == "complete" else one.why
    return lines(f"trial {one.number}: {one.family}, {ended}", *params)


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _axis(knob: Knob) -> dict[str, Any]:
    """An axis of a knob, over its whole range."""
    title: dict[str, Any] = {"title": {"text": escape(knob.name)}}
    if knob.kind == "choice":
        names = [escape(str(choice)) for choice in knob.choices]
        return {**title, "type": "category", "categoryorder": "array", "categoryarray": names}
    low, high = map(float, knob.bounds)
    if knob.kind == "integers":
        return {**title, "dtick": max(1, round((high - low) / 8)), "range": [low - 0.4, high + 0.4]}
    if knob.log:
        low, high = math.log10(low), math.log10(high)
        ticks = _ticks(low, high)
        title |= {"type": "log", "tickvals": ticks, "ticktext": [f"{one:g}" for one in ticks]}
    edge = 0.04 * (high - low)
    return {**title, "nticks": 6, "range": [low - edge, high + edge]}


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two powers of ten, fewer to a decade where there are many decades."""
    steps = (1, 2, 5) if high - low <= 1.6 else (1, 3) if high - low <= 3 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return [one for one in ticks if low - 0.01 <= math.log10(one) <= high + 0.01]


def _value_of(knob: Knob, value: Any) -> Any:
    return escape(str(value)) if knob.kind == "choice" else value


def _slice(shape: go.Figure, story: Story, knob: Knob, row: int) -> None:
    complete, stopped = _having(story, knob.name), _stopped(story, knob.name)
    values = [one.value or 0.0 for one in complete]
    limits = reach(values, most(values, story.minimise))
    of, foot = colours(story), limits[1] if story.minimise else limits[0]
    marks = [(complete, values, 9), (stopped, [foot] * len(stopped), 10)]
    for trials, heights, size in marks:
        stop = trials is stopped
        shape.add_scatter(
            row=row,
            col=1,
            x=[_value_of(knob, one.params[knob.name]) for one in trials],
            y=heights,
            mode="markers",
            marker={
                "size": size,
                "color": OTHER if stop else [of[one.family] for one in trials],
                "symbol": "line-ns" if stop else [symbol(story, one.family) for one in trials],
                "line": {"width": 1.5 if stop else 0, "color": OTHER},
            },
            hovertext=[_hover(story, one, knob.name) for one in trials],
            hoverinfo="text",
        )
    if knob.kind != "choice" and knob.default is not None:
        line = {"color": BASELINE_COLOUR, "width": 1, "dash": "dot"}
        shape.add_vline(x=knob.default, row=row, col=1, line=line)
    shape.update_xaxes(_axis(knob), row=row, col=1)
    shape.update_yaxes(value_axis(story, values), range=limits, row=row, col=1)


def _pairs(story: Story) -> list[tuple[Knob, Knob]]:
    """Named knobs of one family with each other; one that is alone with its family's next knob."""
    known = story.space.parameters()
    found = [known[name] for name in NAMED if name in known]
    drawn: list[tuple[Knob, Knob]] = []
    for strategy, members in itertools.groupby(found, key=lambda one: one.name.split(".")[0]):
        own = list(members)
        others = [
            knob
            for name, knob in known.items()
            if name.startswith(f"{strategy}.") and knob not in own
        ]
        if len(own) > 1:
            drawn += itertools.combinations(own, 2)
        elif others:
            drawn.append((own[0], others[0]))
    return drawn


def _pair(shape: go.Figure, story: Story, pair: tuple[Knob, Knob], row: int) -> None:
    names = [knob.name for knob in pair]
    for trials, stop in ((_stopped(story, *names), True), (_having(story, *names), False)):
        marker: dict[str, Any] = {"size": 11, "line": {"width": 1, "color": OTHER}}
        if stop:
            marker |= {"symbol": "x-thin", "size": 8}
        else:
            marker |= {"color": [one.value for one in trials], "coloraxis": "coloraxis"}
        shape.add_scatter(
            row=row,
            col=1,
            x=[_value_of(pair[0], one.params[names[0]]) for one in trials],
            y=[_value_of(pair[1], one.params[names[1]]) for one in trials],
            mode="markers",
            marker=marker,
            hovertext=[_hover(story, one, *names) for one in trials],
            hoverinfo="text",
        )
    shape.update_xaxes(_axis(pair[0]), row=row, col=1)
    shape.update_yaxes(_axis(pair[1]), row=row, col=1)
