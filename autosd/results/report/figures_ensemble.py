"""The ensemble: who is in it, and what each kind of ensemble is worth."""

from html import escape

import plotly.graph_objects as go

from autosd.results.numbers import metric
from autosd.results.report.look import (
    BASELINE_COLOUR,
    COLOURS,
    NAMES,
    OTHER,
    colours,
    figure,
    lines,
    reach,
)
from autosd.results.report.story import Story
from autosd.results.wording import against, amount

ROW, ROOM = 30, 76


def _networks(count: int) -> str:
    return f"{count} network{'' if count == 1 else 's'}"


def ensemble_members(story: Story) -> go.Figure | None:
    """The members of the ensemble with their weights."""
    found = story.ensembled
    if found is None or not found.members:
        return None
    names = [escape(f"{one.label}, seed {one.seed}") for one in found.members]
    note = (
        f"The chosen kind is {found.kind}, of {found.candidates} students. A prediction takes "
        f"{_networks(found.forwards)} and {found.relative_cost:.1f} times the arithmetic of the "
        "best one."
    )
    shape = figure("Members of the ensemble", note, ROOM + ROW * len(names), showlegend=False)
    of = colours(story)
    shape.add_bar(
        x=[one.weight for one in found.members],
        y=names,
        orientation="h",
        marker={"color": [of.get(one.family, OTHER) for one in found.members]},
        hovertext=[
            lines(f"{one.label}, seed {one.seed}", f"weight {one.weight:.0%}, {one.origin}")
            for one in found.members
        ],
        hoverinfo="text",
    )
    shape.update_xaxes(title_text="weight", tickformat=".0%", rangemode="tozero", nticks=6)
    _categories(shape, names)
    return shape


def ensemble_kinds(story: Story) -> go.Figure | None:
    """What each kind scores on `select`: on images held out, and on those it was fitted to."""
    found = story.ensembled
    kinds = [] if found is None else [one for one in found.kinds if one.held_out]
    if found is None or len(kinds) < 2:
        return None
    names = [escape(f"{one.kind}, {one.members} of {one.size}") for one in kinds]
    gain = found.gain(found.metric)
    unit = amount(gain.difference.mean, found.metric).split()[1]
    note = (
        "Filled dots: each image of select predicted by what was fitted to the other folds; this "
        "chose the kind. Open dots: fitted to the same images, which flatters. On test the "
        f"ensemble is {against(gain.difference, found.metric)} {unit} from the best member "
        f"({gain.verdict})."
    )
    shape = figure("Kinds of ensembles", note, ROOM + ROW * len(names), showlegend=False)
    values: list[float] = []
    for fitted in (True, False):
        scores = [(one.fitted if fitted else one.held_out) or {} for one in kinds]
        points = [one.get(found.metric) for one in scores]
        values += [one for one in points if one is not None]
        shape.add_scatter(
            x=points,
            y=names,
            mode="markers",
            marker={
                "size": 11,
                "symbol": "circle-open" if fitted else "circle",
                "color": [COLOURS[0] if one.chosen else BASELINE_COLOUR for one in kinds],
            },
            hovertext=[
                lines(
                    f"{one.kind}: {metric(point, found.metric, found.images.get('select'))}",
                    "fitted to the same images" if fitted else "held out",
                    "chosen" if one.chosen else one.note,
                )
                for one, point in zip(kinds, points, strict=True)
            ],
            hoverinfo="text",
        )
    form = "" if found.metric == "nll" else ".1%"
    title = f"{NAMES[found.metric]} on select"
    shape.update_xaxes(title_text=title, tickformat=form, nticks=6, range=reach(values, values))
    _categories(shape, names)
    return shape


def _categories(shape: go.Figure, names: list[str]) -> None:
    shape.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names[::-1],
        range=[-0.7, len(names) - 0.3],
        dtick=1,
    )
