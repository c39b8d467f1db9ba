"""Families that are put together of several strategies, part by part and in pairs of parts."""

from html import escape
from typing import Any

import plotly.graph_objects as go

from autosd.results.report.look import colours, figure, lines, reach, shown, value_axis
from autosd.results.report.panels import colour_scale, panels
from autosd.results.report.story import Story
from autosd.search.knobs import STRATEGY, Family, Knob
from autosd.search.records import TrialRecord

ROW, ROOM, CELL = 24, 80, 32
LEAST = 3


def compositions(story: Story) -> go.Figure | None:
    """The value over each part of the families that are put together of several strategies."""
    rows = [
        (family, slot, option)
        for family in story.space.members
        for slot in family.slots
        for option in slot.choices
        if _drawn(story, family, slot, option)
    ]
    if not rows:
        return None
    note = (
        "Each complete trial of a composed family stands once in every part: what was drawn for "
        "it. The number is that of trials; parts are not compared with equal other parts."
    )
    shape = figure("Compositions, part by part", note, ROOM + ROW * len(rows), showlegend=False)
    for family, slot, option in rows:
        _part(shape, story, family, slot, option)
    names = [_part_name(story, *row) for row in rows]
    values = [one.value or 0.0 for one in story.complete if story.space.family(one.family).slots]
    shape.update_xaxes(value_axis(story, values), range=reach(values, values))
    shape.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names[::-1],
        range=[-0.7, len(names) - 0.3],
        dtick=1,
    )
    return shape


def composition_pairs(story: Story) -> go.Figure | None:
    """The best value of each pair of parts that was tried together, the two largest of a family."""
    drawn = [
        (family, _largest(family))
        for family in story.space.members
        if len(family.slots) > 1 and len(_of(story, family)) >= LEAST
    ]
    if not drawn:
        return None
    note = (
        "The best value of every pair of parts that was tried together, and how many trials it is "
        "the best of; an empty field was not tried."
    )
    heights = [CELL * len(slots[1].choices) for _, slots in drawn]
    shape = panels("Compositions in pairs", note, heights, scale=True)
    for row, (family, slots) in enumerate(drawn, 1):
        _field(shape, story, family, slots, row)
    values = [one.value or 0.0 for family, _ in drawn for one in _of(story, family)]
    shape.update_layout(coloraxis=colour_scale(story, values))
    return shape


def _largest(family: Family) -> tuple[Knob, Knob]:
    """The two parts of a family with the most options."""
    first, second, *_ = sorted(family.slots, key=lambda slot: -len(slot.choices))
    return first, second


def _of(story: Story, family: Family) -> list[TrialRecord]:
    return [one for one in story.complete if one.family == family.name]


def _drawn(story: Story, family: Family, slot: Knob, option: Any) -> list[TrialRecord]:
    return [
        one
        for one in story.complete
        if one.params.get(STRATEGY) == family.name and one.params.get(slot.name) == option
    ]


def _part_name(story: Story, family: Family, slot: Knob, option: Any) -> str:
    count = len(_drawn(story, family, slot, option))
    return escape(f"{slot.name}: {option} ({count})")


def _part(shape: go.Figure, story: Story, family: Family, slot: Knob, option: Any) -> None:
    trials = _drawn(story, family, slot, option)
    shape.add_scatter(
        x=[one.value for one in trials],
        y=[_part_name(story, family, slot, option)] * len(trials),
        mode="markers",
        marker={"size": 9, "color": colours(story)[family.name]},
        hovertext=[
            lines(f"trial {one.number}: {shown(story, one.value)}", " + ".join(one.strategies))
            for one in trials
        ],
        hoverinfo="text",
    )


def _field(
    shape: go.Figure, story: Story, family: Family, slots: tuple[Knob, Knob], row: int
) -> None:
    across, down = slots
    better = min if story.minimise else max
    best: list[list[float | None]] = []
    count: list[list[str]] = []
    for option in down.choices:
        cells = [
            [
                one.value or 0.0
                for one in _drawn(story, family, across, other)
                if one.params.get(down.name) == option
            ]
            for other in across.choices
        ]
        best.append([better(cell) if cell else None for cell in cells])
        count.append([str(len(cell)) if cell else "" for cell in cells])
    shape.add_heatmap(
        row=row,
        col=1,
        x=[escape(str(one)) for one in across.choices],
        y=[escape(str(one)) for one in down.choices],
        z=best,
        text=count,
        texttemplate="%{text}",
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        hovertemplate="%{x} with %{y}: best %{z:.4g} of %{text}<extra></extra>",
    )
    shape.update_xaxes(type="category", title_text=escape(across.name), row=row, col=1)
    shape.update_yaxes(type="category", title_text=escape(down.name), row=row, col=1)
