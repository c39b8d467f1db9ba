"""Calibration: how far the probabilities of a student can be believed."""

import math
from collections.abc import Iterator

from autosd.errors import AutosdError
from autosd.results.report import tables
from autosd.results.report.blocks import Block, Row, Section, Table, Text, row
from autosd.results.report.story import Story
from autosd.results.retrained import Retrained
from autosd.results.statistics import summary
from autosd.search.lists import Record, read_records

ABOUT = (
    "Of predictions made with 80 % confidence, 80 % should be right. ECE is the mean gap between "
    "confidence and accuracy (0 is perfect, 0.1 is ten points off); NLL and Brier also reward "
    "being right; lower is better for all. "
)
SCALED = (
    "Scaled: the logits divided by one temperature, fitted on select in the confirmation runs of "
    "the same recipe, never on images that were trained on."
)
RAW = ("ece", "nll", "brier")


def section(story: Story, table: Retrained | None) -> Section:
    """The section of the page: on test where it was retrained, else on select."""
    if table is not None:
        blocks: list[Block] = [Text(f"{ABOUT}On test. {SCALED}"), tables.calibration(table)]
    else:
        blocks = list(_confirmed(story))
    return Section("calibration", "Calibration", blocks)


def _confirmed(story: Story) -> Iterator[Block]:
    rows = [made for one in story.finalists if (made := _row(one.label, _runs(story)))]
    if not rows:
        yield Text("Calibration is told of confirmed recipes; none is confirmed yet.", "note")
        return
    yield Text(f"{ABOUT}On select, mean ± standard deviation over the confirmation seeds.")
    yield Table(["recipe", *(tables.CALIBRATION[name] for name in RAW)], rows)
    ask = "On test, with and without temperature scaling:"
    yield Text(ask, "note", f"autosd retrain {story.handle} --seeds 5")


def _runs(story: Story) -> list[Record]:
    try:
        return read_records(story.folder.finalists)
    except (AutosdError, OSError, ValueError, KeyError, TypeError):
        return []


def _row(label: str, runs: list[Record]) -> Row | None:
    scores = [run.metrics.get("select", {}) for run in runs if run.label == label]
    cells = []
    for name in RAW:
        values = [of[name] for of in scores if of.get(name) is not None]
        finite = [value for value in values if math.isfinite(value)]
        cells.append(tables.spread(summary(finite) if finite else None, "nll"))
    return row(label, *cells) if any(cell != "-" for cell in cells) else None
