"""Calibration: how far confidence and accuracy lie apart, as trained and after scaling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from autosd.results.numbers import mean_and_sd
from autosd.results.report.look import BASELINE_COLOUR, OTHER, lines
from autosd.results.report.panels import panels
from autosd.results.report.story import Story
from autosd.results.statistics import Summary, summary
from autosd.search.lists import read_records

ROW = 30
CALIBRATION = {"ece": "ECE", "nll": "NLL"}


@dataclass(frozen=True)
class Calibrated:
    """Calibration of one recipe by metric: as trained, and scaled; empty where not known."""

    label: str
    raw: Mapping[str, Summary]
    scaled: Mapping[str, Summary]


def calibration(story: Story) -> go.Figure | None:
    """ECE and NLL as trained and with one temperature; without a retraining, on `select`."""
    table = story.retrained
    if table is not None:
        rows = [
            Calibrated(one.recipe, one.metrics, one.scaled) for one in table.rows if one.metrics
        ]
        part = "test"
        about = (
            "open ones after dividing the logits by one temperature, which was fitted on select "
            "in the confirmation runs"
        )
    else:
        rows = _confirmation(story)
        part = "select"
        about = "autosd retrain also gives them after scaling by a temperature"
    if not rows:
        return None
    note = (
        f"Means and standard deviations over seeds on {part}, smaller is better. Filled dots are "
        f"as trained; {about}. ECE is the gap between confidence and accuracy in 15 bins, NLL the "
        "loss itself."
    )
    shape = panels("Calibration", note, [ROW * len(rows)] * len(CALIBRATION))
    for place, (name, words) in enumerate(CALIBRATION.items(), 1):
        _dumbbells(shape, name, rows, place)
        shape.update_xaxes(title_text=f"{words} on {part}", rangemode="tozero", row=place, col=1)
    return shape


def _confirmation(story: Story) -> list[Calibrated]:
    """Means on `select` over the confirmation runs of each finalist."""
    runs = read_records(story.folder.finalists) if story.finalists else []
    found = []
    for one in story.finalists:
        own = [run.metrics["select"] for run in runs if run.label == one.label and run.metrics]
        values = {name: [run[name] for run in own if name in run] for name in CALIBRATION}
        raw = {name: summary(of) for name, of in values.items() if of}
        found.append(Calibrated(one.label, raw, {}))
    return found


def _dumbbells(
    shape: go.Figure,
    name: str,
    rows: Sequence[Calibrated],
    place: int,
) -> None:
    for filled in (True, False):
        sets = [(row.label, row.raw if filled else row.scaled) for row in rows]
        points = [(label, values[name]) for label, values in sets if name in values]
        shape.add_scatter(
            row=place,
            col=1,
            x=[one.mean for _, one in points],
            y=[escape(label) for label, _ in points],
            mode="markers",
            marker={
                "size": 10,
                "color": BASELINE_COLOUR,
                "symbol": "circle" if filled else "circle-open",
            },
            error_x={
                "array": [one.sd or 0.0 for _, one in points],
                "thickness": 1.5,
                "width": 3,
                "color": OTHER,
            },
            hovertext=[
                lines(label, mean_and_sd(one.mean, one.sd, "nll"), f"{one.n} seeds")
                for label, one in points
            ],
            hoverinfo="text",
        )
    names = [escape(row.label) for row in rows]
    shape.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=names[::-1],
        range=[-0.7, len(names) - 0.3],
        dtick=1,
        row=place,
        col=1,
    )
