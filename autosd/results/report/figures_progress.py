"""How the search went: the best score against trials and against compute."""

import itertools
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from autosd.results.report.look import (
    BASELINE_COLOUR,
    figure,
    groups,
    lines,
    reach,
    shown,
    symbol,
    value_axis,
)
from autosd.results.report.story import Story
from autosd.search.records import TrialRecord

HEIGHT = 380
ENDED = ("complete", "pruned", "diverged", "failed")
SELECTION = (
    "Colours are those of the leaderboard. The best of many noisy values is too good to be true: "
    "the confirmed score is the one to quote."
)


def best_by_trials(story: Story) -> go.Figure | None:
    """The value of every complete trial and the best so far, in the order in which they ended."""
    ended = in_order(story)
    if not story.complete:
        return None
    places = {one.number: place for place, one in enumerate(ended, 1)}
    note = f"Every dot is a complete trial ({len(story.complete)} of {len(ended)}). {SELECTION}"
    shape = figure("Best score against trials", note, HEIGHT, showlegend=False)
    _draw(shape, story, [one for one in ended if _valued(one)], places)
    shape.update_xaxes(title_text="trials ended", range=[0, len(ended) + 1])
    return shape


def best_by_compute(story: Story) -> go.Figure | None:
    """The same against the work done: image passes where all trials counted them, else seconds."""
    ended = in_order(story)
    if not story.complete:
        return None
    work, unit = work_of(story, ended)
    spent = dict(zip((one.number for one in ended), itertools.accumulate(work), strict=True))
    note = (
        f"Work is counted in {unit}, of pruned trials too, and added up in the order in which "
        f"trials ended. {SELECTION}"
    )
    shape = figure("Best score against compute", note, HEIGHT, showlegend=False)
    _draw(shape, story, [one for one in ended if _valued(one)], spent)
    shape.update_xaxes(title_text=unit, rangemode="tozero")
    return shape


def in_order(story: Story) -> list[TrialRecord]:
    """Ended trials in the order of their ends, or of their numbers where no time is known."""
    ended = [one for one in story.trials if one.state in ENDED]
    if all(one.finished for one in ended):
        return sorted(ended, key=lambda one: (str(one.finished), one.number))
    return ended


def _valued(trial: TrialRecord) -> bool:
    return trial.state == "complete" and trial.value is not None


def work_of(story: Story, ended: Sequence[TrialRecord]) -> tuple[list[float], str]:
    """Work of each trial and its unit; a trial that never began an epoch took none."""
    efforts = [story.efforts.get(one.lineage) for one in ended]
    began = [(one, effort) for one, effort in zip(ended, efforts, strict=True) if one.epochs_run]
    if began and all(effort and effort.forwards is not None for _, effort in began):
        return [float((effort and effort.forwards) or 0) for effort in efforts], "image passes"
    return [one.seconds for one in ended], "seconds of training"


def _draw(
    shape: go.Figure, story: Story, trials: Sequence[TrialRecord], places: Mapping[int, float]
) -> None:
    values = [one.value or 0.0 for one in trials]
    best = list(itertools.accumulate(values, min if story.minimise else max))
    shape.add_scatter(
        x=[places[one.number] for one in trials],
        y=best,
        mode="lines",
        line={"shape": "hv", "width": 2, "color": BASELINE_COLOUR},
        hoverinfo="skip",
    )
    for group in groups(story, trials):
        shape.add_scatter(
            x=[places[one.number] for one in group.trials],
            y=[one.value for one in group.trials],
            mode="markers",
            marker={
                "size": 9,
                "color": group.colour,
                "symbol": [symbol(story, one.family) for one in group.trials],
            },
            hovertext=[
                lines(f"trial {one.number}: {one.family}", shown(story, one.value))
                for one in group.trials
            ],
            hoverinfo="text",
        )
    shape.update_yaxes(value_axis(story, values), range=reach(values, [*best, values[0]]))
