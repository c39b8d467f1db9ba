"""Families that are put together of several strategies, part by part and in pairs of parts."""

from html import escape
from typing import Any

import plotly.graph_objects as go

from autosd.results.report.look import colours, lines, reach, shown, value_axis, value_title
from autosd.results.report.panels import colour_scale, panels
from autosd.results.report.story import Story
from autosd.search.knobs import STRATEGY, Family, Knob
from autosd.search.records import TrialRecord

ROW, CELL = 24, 32
LEAST = 3


def compositions(story: Story) -> go.Figure | None:
    """The value over each part of the families that are put together of several strategies."""
    families = [one for one in story.space.members if one.slots and _of(story, one)]
    if not families:
        return None
    note = (
        f"Values ({value_title(story)}): each complete trial of a composed family stands once in "
        "every part, at what was drawn for it. The other parts and knobs of these trials differ."
    )
    rows = [_parts(story, family) for family in families]
    shape = panels("Compositions, part by part", note, [ROW * len(one) for one in rows])
    values = [one.value or 0.0 for family in families for one in _of(story, family)]
    for row, (family, parts) in enumerate(zip(families, rows, strict=True), 1):
        _strip(shape, story, family, parts, row)
        axis = {**value_axis(story, values), "title": {"text": escape(family.name)}}
        shape.update_xaxes(axis, range=reach(values, values), row=row, col=1)
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


def _parts(story: Story, family: Family) -> dict[str, list[TrialRecord]]:
    """What each part of a family can be, with the trials that drew it, if any did."""
    drawn = {
        escape(f"{_short(slot)}: {option}"): _drawn(story, family, slot, option)
        for slot in family.slots
        for option in slot.choices
    }
    return {name: trials for name, trials in drawn.items() if trials}


def _short(slot: Knob) -> str:
    """`branch` of `compose_plain.branch`."""
    return slot.name.rpartition(".")[2]


def _strip(
    shape: go.Figure,
    story: Story,
    family: Family,
    parts: dict[str, list[TrialRecord]],
    row: int,
) -> None:
    points = [(name, one) for name, trials in parts.items() for one in trials]
    shape.add_scatter(
        row=row,
        col=1,
        x=[one.value for _, one in points],
        y=[name for name, _ in points],
        mode="markers",
        marker={"size": 9, "color": colours(story)[family.name]},
        hovertext=[
            lines(f"trial {one.number}: {shown(story, one.value)}", " + ".join(one.strategies))
            for _, one in points
        ],
        hoverinfo="text",
    )
    shape.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=list(reversed(parts)),
        range=[-0.7, len(parts) - 0.3],
        dtick=1,
        row=row,
        col=1,
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
    shape.update_xaxes(
        type="category", tickangle=-45, title_text=escape(across.name), row=row, col=1
    )
    shape.update_yaxes(type="category", title_text=escape(_short(down)), row=row, col=1)
