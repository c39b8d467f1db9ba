"""Rows of a comparison from runs made up by hand."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autosd.results.compare import Compared
from autosd.results.compare_page import page
from autosd.results.compare_runs import Runs
from autosd.results.compare_table import Row, rows_of, to_csv
from autosd.search.lists import Record


def epoch(number: int, speed: float, cost: float, forwards: int) -> dict[str, Any]:
    declared = {"forwards": cost, "backwards": cost, "step": cost}
    state = {"student": 4_000_000, "strategies": 1_000}
    return {
        "epoch": number,
        "epochs": 2,
        "seconds": 100 / speed,
        "images_per_second": speed,
        "evaluated": {"val": {"top1": 0.5 + 0.1 * number, "nll": 1.0}},
        "work": {
            "images": 100,
            "forwards": forwards,
            "declared": declared,
            "state_bytes": state,
        },
    }


def runs(
    label: str, *values: float | None, speed: float = 50.0, cost: float = 1.0, planned: int = 3
) -> Runs:
    """One run per value from seed 2000 on; None diverged."""
    records = [
        Record(
            label=label,
            seed=2000 + k,
            strategies=(label,),
            metrics={} if value is None else {"val": {"top1": value, "nll": 1 - value, "ece": 0.1}},
            epochs=2,
            seconds=4.0,
            folder=Path("nowhere"),
            failure="diverged at epoch 1: supervised" if value is None else None,
        )
        for k, value in enumerate(values)
    ]
    histories = [
        [] if value is None else [epoch(n, speed, cost, round(100 * cost)) for n in (1, 2)]
        for value in values
    ]
    return Runs(label, (label,), tuple(records), planned, tuple(histories))


PLAIN = runs("cross_entropy", 0.80, 0.81, 0.82)


def table(*others: Runs, metric: str = "top1") -> list[Row]:
    return rows_of([PLAIN, *others], ["val"], "val", metric)


def test_rows_are_ranked_and_judged() -> None:
    rows = table(runs("bad", 0.70, 0.72, 0.72), runs("good", 0.90, 0.92, 0.92))
    assert [(row.recipe, row.verdict) for row in rows] == [
        ("cross_entropy", "reference"),
        ("good", "better"),
        ("bad", "worse"),
    ]
    assert rows[0].difference is None
    assert rows[0].verdict_holm == "reference"


def test_lower_is_better_for_a_loss() -> None:
    rows = table(runs("bad", 0.70, 0.72, 0.72), runs("good", 0.90, 0.92, 0.92), metric="nll")
    assert [row.verdict for row in rows] == ["reference", "better", "worse"]


def test_holm_takes_back_what_many_comparisons_find_by_chance() -> None:
    noise = [runs(f"noise{k}", 0.80, 0.81 + 0.01 * (-1) ** k, 0.82) for k in range(60)]
    good = table(runs("good", 0.90, 0.92, 0.92), *noise)[1]
    assert good.recipe == "good"
    assert good.difference is not None
    assert good.difference.p is not None
    assert good.verdict == "better"
    assert good.verdict_holm == "no difference shown"
    assert good.p_holm == pytest.approx(61 * good.difference.p)


def test_a_run_that_diverged_takes_the_verdict_with_it() -> None:
    row = table(runs("lucky", 0.90, None, 0.92))[1]
    assert (row.n, row.diverged, row.verdict, row.verdict_holm) == (2, 1, "diverged", "diverged")
    assert row.difference is not None
    assert row.difference.mean == pytest.approx(0.1)


def test_a_run_without_a_result_leaves_the_row_incomplete() -> None:
    row = table(runs("slow", 0.90, 0.92))[1]
    assert (row.n, row.failed, row.verdict) == (2, 1, "incomplete")


def test_a_recipe_without_any_run_is_still_a_row() -> None:
    row = table(runs("gone"), runs("nan", None, None, None))[1]
    assert (row.n, row.failed, row.difference) == (0, 3, None)
    assert row.mapping()["difference"] is None
    assert row.mapping()["memory"] is None


def test_without_a_reference_nothing_is_compared() -> None:
    gone = runs("cross_entropy", None, None, None)
    rows = rows_of([gone, runs("good", 0.90, 0.92, 0.92)], ["val"], "val", "top1")
    assert [(row.verdict, row.difference) for row in rows] == [
        ("reference", None),
        ("incomplete", None),
    ]


def test_measured_cost_is_time_per_image_beside_the_reference() -> None:
    effort = table(runs("twice", 0.8, 0.8, 0.8, speed=25.0, cost=2.0))[1].effort
    assert effort.measured == pytest.approx(2.0)
    assert (effort.images, effort.forwards, effort.seconds) == (200, 400, 8.0)


def test_csv_has_one_column_for_each_value() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(table(runs("good", 0.90, 0.92, 0.92))))))
    assert lines[1]["verdict"] == "better"
    assert float(lines[1]["difference.mean"]) == pytest.approx(0.31 / 3)
    assert "difference" not in lines[0]
    assert lines[0]["difference.mean"] == ""


def compared(*others: Runs, metric: str = "top1") -> Compared:
    field = [PLAIN, *others]
    return Compared(
        study="made",
        model="resnet8",
        data="folder:<pictures>",
        budget="epochs",
        epochs=2,
        seeds=(2000, 2001, 2002),
        part="val",
        metric=metric,
        images={"val": 100},
        rows=rows_of(field, ["val"], "val", metric),
        remarks=["a <remark>"],
        curves={one.label: one.curve("val", metric) for one in field},
        files={},
        seconds=1.0,
    )


def test_names_on_the_page_are_escaped() -> None:
    html = page(compared(runs("<b>bold</b>", 0.90, 0.92, 0.92)))
    for text in ("<b>bold", "<pictures>", "<remark>"):
        assert text not in html
    assert "&lt;b&gt;bold" in html
    assert "&lt;pictures&gt;" in html


def test_the_page_needs_no_network() -> None:
    html = page(compared(runs("good", 0.90, 0.92, 0.92)))
    assert "<script src=" not in html
    assert "<link" not in html.split("<script")[0]
    assert html.count("plotly.js v") == 1


@pytest.mark.parametrize("metric", ["top1", "nll"])
def test_a_page_of_failures_only_is_a_page(metric: str) -> None:
    bare = compared(runs("gone"), runs("wild", None, None, None), metric=metric)
    tables = page(bare).split("<script")[0]
    assert '<td>wild</td><td class="diverged">diverged</td>' in tables
    assert '<td>gone</td><td class="incomplete">incomplete</td>' in tables
    alone = page(replace(bare, rows=bare.rows[:1], seeds=(2000,))).split("<script")[0]
    assert "<td>cross_entropy</td>" in alone
