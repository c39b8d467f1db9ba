"""What is said beside the table of a retraining, and how it is shown, from runs made up by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from autosd.cli.console import table as empty_table
from autosd.recipe import Recipe
from autosd.results.calibration import Temperature
from autosd.results.compare_runs import Runs
from autosd.results.retrain_field import Entry
from autosd.results.retrain_grids import calibration, grids, scores, way
from autosd.results.retrain_table import Trained, rows_of
from autosd.results.retrain_words import claims_on, remarks_on
from autosd.results.retrained import Retrained, Row
from autosd.results.statistics import Summary
from autosd.search.lists import Record

LABELS = np.array([0, 1])
FITTED = Temperature(Summary(1.25, 0.05, 3), at_bound=False)
EPOCH = {"epoch": 1, "epochs": 1, "seconds": 30.0, "images_per_second": 10.0}


def metrics(top1: float) -> dict[str, float]:
    return dict.fromkeys(("ece", "ece_equal_mass", "brier"), 0.1) | {"top1": top1, "nll": 1 - top1}


def trained(label: str, roles: str, *values: float | None, **more: Any) -> Trained:
    """A recipe with one run per value from seed 2000 on; None diverged, without a value failed."""
    records = [
        Record(
            label=label,
            seed=2000 + k,
            strategies=(label,),
            metrics={} if value is None else {"test": metrics(value)},
            epochs=1,
            seconds=30.0,
            folder=Path("nowhere"),
            failure="non-finite loss" if value is None else None,
        )
        for k, value in enumerate(values)
    ]
    histories = tuple([EPOCH] for _ in records)
    runs = Runs(label, (label,), tuple(records), more.pop("planned", len(values)), histories)
    recipe = Recipe.parse({"data": "digits"})
    fitted = more.pop("temperature", FITTED)
    return Trained(Entry(label, tuple(roles.split()), label, recipe, **more), runs, fitted)


WON = trained(
    "masd-0007", "winner", 0.90, 0.92, 0.94, search=0.95, confirmed=Summary(0.93, 0.01, 3)
)
CONTROL = trained("mixup-default", "control", 0.89, 0.90, 0.92)
PLAIN = trained("cross_entropy", "baseline", 0.80, 0.81, 0.84, confirmed=Summary(0.82, None, 1))


def rows(*field: Trained) -> tuple[Row, ...]:
    return rows_of(field, LABELS, "top1")


def said(*field: Trained) -> str:
    return "\n".join(table(*field).sentences)


def table(*field: Trained) -> Retrained:
    return Retrained(
        study="mine",
        model="resnet8",
        data="digits",
        metric="top1",
        epochs=1,
        seeds=(2000, 2001, 2002),
        trained_on=("train", "val", "select"),
        images=297,
        rows=rows(*field),
        claims=tuple(claims_on(field, rows(*field), "top1")),
        remarks=tuple(remarks_on(field, rows(*field), "top1")),
    )


def test_the_winner_is_compared_with_cross_entropy_and_the_best_control():
    text = said(WON, CONTROL, PLAIN)
    assert "masd-0007 is better than cross-entropy: +10.3 points" in text
    assert "masd-0007 is better than mixup-default (best control): +1.7 points" in text
    assert "for all 2 together (Holm) better than cross-entropy: masd-0007, mixup-default." in text


def test_the_winner_is_compared_with_cross_entropy_at_its_own_settings():
    tuned = trained("cross_entropy-tuned", "tuned", 0.93, 0.96, 0.96)
    text = said(WON, CONTROL, tuned, PLAIN)
    assert (
        "masd-0007 is worse than cross_entropy-tuned (cross-entropy with the winner's settings of "
        "training): -3.0 points"
    ) in text
    won = trained("cross_entropy-0003", "winner tuned", 0.90, 0.92, 0.94)
    assert "cross_entropy-0003 has no strategy" in said(won, PLAIN)


def test_an_interval_with_zero_shows_nothing():
    even = trained("masd-0007", "winner", 0.90, 0.79, 0.83)
    assert [row.verdict for row in rows(even, PLAIN)] == ["no difference shown", "reference"]
    assert "better than" not in said(even, PLAIN)


def test_a_better_row_on_test_does_not_take_the_winners_place():
    higher = trained("toast-0001", "finalist", 0.95, 0.96, 0.97)
    assert "best/ holds masd-0007, chosen before test was read; toast-0001" in said(
        WON, higher, PLAIN
    )
    assert "best/ holds" not in said(WON, CONTROL, PLAIN)


def test_a_space_without_controls_is_told():
    assert "no control" in said(WON, PLAIN)
    assert "no control" not in said(WON, CONTROL, PLAIN)


def test_a_winner_that_is_itself_a_control_is_told():
    won = trained("mixup-0003", "winner control", 0.90, 0.92, 0.94)
    assert "mixup-0003 is itself a control" in said(won, PLAIN)


def test_cross_entropy_that_won_is_told():
    assert "The winner is plain cross-entropy" in said(
        trained("cross_entropy", "winner baseline", 0.9)
    )


def test_runs_without_a_result_take_the_verdict():
    diverged = trained("masd-0007", "winner", 0.90, None, 0.94)
    missing = trained("mixup-default", "control", 0.89, 0.90, planned=3)
    found = rows(diverged, missing, PLAIN)
    assert [row.verdict for row in found] == ["diverged", "incomplete", "reference"]
    assert [(row.n, row.diverged, row.failed) for row in found] == [(2, 1, 0), (2, 0, 1), (3, 0, 0)]
    text = said(diverged, missing, PLAIN)
    assert "masd-0007: 1 of 3 runs diverged (non-finite loss)" in text
    assert "mixup-default: 1 of 3 runs gave no result" in text
    assert "better than cross-entropy: +" not in text


@pytest.mark.parametrize(
    ("temperature", "words"),
    [
        (None, "No temperature, because no confirmation run of the same recipe"),
        (Temperature(Summary(0.1, 0.0, 3), at_bound=True), "at the end of its range"),
    ],
)
def test_what_is_odd_about_a_temperature_is_told(temperature, words):
    control = trained("mixup-default", "control", 0.89, 0.90, 0.92, temperature=temperature)
    assert words in said(WON, control, PLAIN)
    assert words not in said(WON, CONTROL, PLAIN)


def test_scores_are_shown_with_their_gaps():
    shown = way(table(WON, CONTROL, PLAIN))
    assert shown.rows == (
        ("masd-0007", "95.0 %", "93.0 ± 1.0 %", "-2.0", "92.0 ± 2.0 %", "-1.0"),
        ("cross_entropy", "-", "82.0 %", "-", "81.7 ± 2.1 %", "-0.3"),
    )


def test_differences_stand_beside_scores_and_costs():
    # Differences .10, .11, .10: sd .00577, half width 4.303 * .00577 / sqrt(3) = .0143.
    assert scores(table(WON, PLAIN)).rows == (
        ("masd-0007", "winner", "92.0 ± 2.0 %", "+10.3 (+8.9 to +11.8)", "better", "-", "30 s"),
        ("cross_entropy", "baseline", "81.7 ± 2.1 %", "", "reference", "-", "30 s"),
    )


def test_calibration_says_where_there_is_no_temperature():
    control = trained("mixup-default", "control", 0.89, 0.90, 0.92, temperature=None)
    cells = [row[:2] for row in calibration(table(WON, control, PLAIN)).rows]
    assert ("mixup-default", "raw, no temperature") in cells
    assert ("masd-0007", "raw") in cells


def test_the_tables_fit_a_hundred_columns():
    won = trained("confidence_penalty-default", "finalist", 0.7, 0.9, 0.8, search=0.9)
    console = Console(width=100, record=True, highlight=False)
    for grid in grids(table(won, CONTROL, PLAIN)):
        made = empty_table(*grid.columns, numbers=grid.numbers)
        for cells in grid.rows:
            made.add_row(*cells)
        with console.capture() as captured:
            console.print(made)
        assert len(captured.get().splitlines()) == len(grid.rows) + 1
        assert grid.markdown().count("\n") == len(grid.rows) + 1
