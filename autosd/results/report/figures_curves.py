"""Learning curves: every trial of a search epoch by epoch, with those that were stopped and why."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from autosd.results.report.look import OTHER, WORSE, figure, groups, lines, reach, shown, value_axis
from autosd.results.report.story import Story
from autosd.search.records import TrialRecord

HEIGHT = 460
MOST_CURVES, MOST_STOPPED, MOST_POINTS = 120, 40, 60
DIGITS, SHORT = 5, 5
STOPPED = ("pruned", "diverged", "failed")


def learning_curves(story: Story) -> go.Figure | None:
    """The value after each epoch; crosses mark where trials were stopped."""
    trained = [one for one in story.trials if one.curve]
    if not trained:
        return None
    chosen = _chosen(story, trained)
    stopped = [one for one in chosen if one.state in STOPPED]
    shape = figure("Learning curves", _note(story, trained, chosen), HEIGHT)
    for group in groups(story, chosen):
        for state in ("pruned", "complete"):
            _add(shape, story, group.name, group.colour, group.trials, state == "complete")
    if stopped:
        _mark(shape, story, stopped)
    points = [value for one in chosen for _, value in one.curve]
    ends = [one.curve[-1][1] for one in chosen if one.state == "complete"]
    shape.update_yaxes(value_axis(story, ends or points), range=reach(points, _late(chosen)))
    shape.update_xaxes(title_text=_unit(story), rangemode="tozero", dtick=_stride(chosen))
    return shape


def _unit(story: Story) -> str:
    compute = story.definition.recipe.budget == "compute"
    return "work in plain epochs" if compute else "epoch"


def _stride(trials: Sequence[TrialRecord]) -> int:
    """Whole epochs between two ticks."""
    return max(1, round(max(one.curve[-1][0] for one in trials) / 8))


def _note(story: Story, trained: Sequence[TrialRecord], chosen: Sequence[TrialRecord]) -> str:
    ended = [one.state for one in trained]
    pruned, other = ended.count("pruned"), ended.count("diverged") + ended.count("failed")
    note = f"{ended.count('complete')} complete trials, {pruned} pruned"
    note += f", {other} diverged or failed" if other else ""
    note += "; thin lines end at a cross, which says why on pointing." if pruned + other else "."
    if len(chosen) < len(trained):
        note += f" Shown are {len(chosen)} of {len(trained)}: the best, and a part of the stopped."
    return f"{note} The first epochs may lie outside of the picture."


def _chosen(story: Story, trained: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The trials that are drawn: all, or those that ended best and a few of the stopped."""
    if len(trained) <= MOST_CURVES:
        return list(trained)
    sign = 1 if story.minimise else -1
    stopped = [one for one in trained if one.state in STOPPED]
    spread = stopped[:: -(-len(stopped) // MOST_STOPPED)] if stopped else []
    others = [one for one in trained if one.state not in STOPPED]
    ranked = sorted(others, key=lambda one: sign * one.curve[-1][1])
    return sorted([*ranked[: MOST_CURVES - len(spread)], *spread], key=lambda one: one.number)


def _late(trials: Sequence[TrialRecord]) -> list[float]:
    """Values of the second half of whole curves: what has to be in the picture."""
    whole = [one for one in trials if one.state == "complete"] or trials
    return [value for one in whole for _, value in one.curve[len(one.curve) // 2 :]]


def _thin(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most so many points, evenly spaced, the last among them."""
    stride = -(-len(curve) // MOST_POINTS)
    return [point for place, point in enumerate(reversed(curve)) if place % stride == 0][::-1]


def _add(
    shape: go.Figure,
    story: Story,
    name: str,
    colour: str,
    trials: Sequence[TrialRecord],
    complete: bool,
) -> None:
    """All curves of a group as one trace, with gaps between them."""
    drawn = [one for one in trials if (one.state == "complete") == complete]
    if not drawn:
        return
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for one in drawn:
        points = _thin(one.curve)
        label = lines(f"trial {one.number}: {one.family}, {one.state}")
        x += [epoch for epoch, _ in points] + [None]
        y += [round(value, DIGITS) for _, value in points] + [None]
        text += [f"{label}<br>epoch {epoch}: {shown(story, value)}" for epoch, value in points]
        text.append("")
    whole = any(one.state == "complete" for one in trials)
    shape.add_scatter(
        x=x,
        y=y,
        mode="lines+markers" if story.definition.recipe.epochs < SHORT else "lines",
        line={"width": 2 if complete else 1, "color": colour},
        marker={"size": 5},
        opacity=0.9 if complete and colour != OTHER else 0.5,
        name=escape(name),
        legendgroup=name,
        showlegend=complete or not whole,
        hovertext=text,
        hoverinfo="text",
    )


def _mark(shape: go.Figure, story: Story, stopped: Sequence[TrialRecord]) -> None:
    shape.add_scatter(
        x=[one.curve[-1][0] for one in stopped],
        y=[one.curve[-1][1] for one in stopped],
        mode="markers",
        marker={"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": WORSE}},
        name="stopped",
        hovertext=[
            lines(f"trial {one.number}: {one.family}", one.why or one.state) for one in stopped
        ],
        hoverinfo="text",
    )
