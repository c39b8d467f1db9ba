"""The trials of a study as rows: for a table, for JSON, and as CSV that spreadsheets may open."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autosd.results.plain_text import harmless, one_line
from autosd.search.knobs import STRATEGY
from autosd.search.records import TrialRecord
from autosd.search.space import Space

COLUMNS = (
    "number",
    "state",
    "family",
    "strategies",
    "value",
    "epochs_run",
    "seconds",
    "cost",
    "origin",
    "protected",
    "why",
    "started",
    "finished",
)
"""As in the frame of `autosd.Study.trials`; one column for every parameter of the space follows."""
MOST_LETTERS = 10_000


def row(record: TrialRecord) -> dict[str, Any]:
    """What is known of a trial, as plain values; its parameters under `params`."""
    return {
        "number": record.number,
        "state": record.state,
        "family": record.family,
        "strategies": list(record.strategies),
        "value": record.value,
        "epochs_run": record.epochs_run,
        "seconds": record.seconds,
        "cost": record.cost,
        "origin": record.origin,
        "protected": record.protected,
        "why": record.why,
        "started": None if record.started is None else record.started.isoformat(" ", "seconds"),
        "finished": None if record.finished is None else record.finished.isoformat(" ", "seconds"),
        "params": {name: value for name, value in record.params.items() if name != STRATEGY},
    }


def to_csv(records: Iterable[TrialRecord], space: Space) -> str:
    """One line for each trial; a parameter that a trial does not have is an empty cell."""
    knobs = list(space.parameters())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *knobs])
    for record in records:
        writer.writerow(_cells(row(record), knobs))
    return text.getvalue()


def _cells(values: Mapping[str, Any], knobs: Sequence[str]) -> list[Any]:
    flat = {**values, "strategies": ", ".join(values["strategies"])}
    cells = [flat[name] for name in COLUMNS] + [values["params"].get(knob) for knob in knobs]
    return [_harmless(cell) for cell in cells]


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers, None is empty."""
    if not isinstance(cell, str):
        return cell
    line = one_line(cell, most=MOST_LETTERS)
    return harmless(line)
