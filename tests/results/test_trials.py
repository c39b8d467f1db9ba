"""Trials as rows of a CSV file."""

import csv
import datetime
import io

from autosd.results.trials import COLUMNS, row, to_csv
from autosd.search.records import TrialRecord
from autosd.search.space import Space

RATIO = {"uniform": [0.0, 1.0], "default": 0.15}
SPACE = Space.parse(
    {
        "training": {"knobs": {"optimizer.lr": {"log_uniform": [0.01, 1.0], "default": 0.1}}},
        "families": {"masd": {"members": ["masd"], "knobs": {"masd.mask_ratio": RATIO}}},
    }
)


def record(number: int, **values: object) -> TrialRecord:
    """A trial of MASD with some other values."""
    plain = {
        "number": number,
        "lineage": number,
        "state": "complete",
        "family": "masd",
        "strategies": ("masd",),
        "params": {"strategy": "masd", "optimizer.lr": 0.1, "masd.mask_ratio": -0.5},
        "value": 0.875,
        "curve": (),
        "epochs_run": 3,
        "seconds": 1.5,
        "origin": "search",
        "protected": False,
        "why": "",
    }
    return TrialRecord(**{**plain, **values})


def test_there_is_a_column_for_every_parameter_and_a_cell_for_every_fact():
    started = datetime.datetime(2026, 1, 2, 3, 4, 5, 678)
    trial = record(0, strategies=("drg", "dsr"), started=started)
    text = to_csv([trial, record(1, value=None, params={})], SPACE)
    first, second = csv.DictReader(io.StringIO(text))
    assert list(first) == [*COLUMNS, "optimizer.lr", "masd.mask_ratio"]
    assert (first["value"], first["optimizer.lr"], first["masd.mask_ratio"]) == (
        "0.875",
        "0.1",
        "-0.5",
    )
    assert (first["strategies"], first["started"]) == ("drg, dsr", "2026-01-02 03:04:05")
    assert (second["value"], second["optimizer.lr"]) == ("", "")


def test_text_is_never_a_formula_and_numbers_stay_numbers():
    hostile = ['=HYPERLINK("http://x","y")', "+1", "-2+3", "@SUM(A1)", " =1", "plain"]
    records = [record(k, why=why, value=-0.5) for k, why in enumerate(hostile)]
    rows = list(csv.DictReader(io.StringIO(to_csv(records, SPACE), newline="")))
    assert [line["why"] for line in rows] == [*(f"'{why}" for why in hostile[:-1]), "plain"]
    assert {line["value"] for line in rows} == {"-0.5"}
    (line,) = to_csv([record(0, why="a\r\n=1\x1b[2J")], SPACE).splitlines()[1:]
    assert "a??=1?[2J" in line


def test_a_row_has_the_columns_and_the_parameters_without_the_family():
    values = row(record(0))
    assert list(values) == [*COLUMNS, "params"]
    assert values["params"] == {"optimizer.lr": 0.1, "masd.mask_ratio": -0.5}
