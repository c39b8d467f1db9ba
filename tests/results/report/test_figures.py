"""Figures of hand-made studies: what they show, and that every reader can read them."""

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from autosd import resources
from autosd.results.ensembled import Ensembled, Gain, Kind, Member
from autosd.results.outcome import Comparison
from autosd.results.report import look
from autosd.results.report.figures import FIGURES
from autosd.results.report.figures_cost import Price, pareto, utilisation
from autosd.results.report.figures_curves import MOST_CURVES, MOST_POINTS, learning_curves
from autosd.results.report.figures_knobs import NAMED
from autosd.results.report.story import Story
from autosd.results.retrained import Retrained
from autosd.results.retrained import Row as RetrainedRow
from autosd.results.statistics import Difference, Summary, paired_difference, verdict
from autosd.search.finalists import Finalist
from autosd.search.study import StudyFolder

from .studies import START, story

EVIL = "</script><img src=x onerror=alert(1)>"
BASE = (0.80, 0.81, 0.79, 0.80)
SCORES = {
    "masd-0002": (0.85, 0.87, 0.84, 0.86),
    "mixed-0003": (0.80, 0.82, 0.80, 0.79),
    "cutmix-default": (0.75, 0.74, 0.75, 0.73),
}


def value(params: Mapping[str, Any]) -> float:
    """Better with a larger family name and a mask ratio near 0.3."""
    mask = params.get("masd.mask_ratio", 0.3)
    return 0.7 + 0.01 * len(params["strategy"]) - 0.1 * (mask - 0.3) ** 2


def family_of(label: str) -> str:
    return label.rpartition("-")[0] or label


def apart(label: str) -> Difference:
    return paired_difference(SCORES[label], BASE)


def finalist(label: str, values: tuple[float, ...], folder: Any) -> Finalist:
    family = family_of(label)
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    return Finalist(label, family, (family,), mean, sd, len(values), values, 2, 0.9, folder)


def compared() -> tuple[Comparison, ...]:
    others = [
        Comparison(finalist(label, values, Path("/no")), apart(label), verdict(apart(label)))
        for label, values in SCORES.items()
    ]
    return (*others, Comparison(finalist("cross_entropy", BASE, Path("/no")), None, "reference"))


def retrained() -> Retrained:
    rows = []
    for label, values in {**SCORES, "cross_entropy": BASE}.items():
        scores = {
            "top1": Summary(float(np.mean(values)), 0.01, 4),
            "ece": Summary(0.08, 0.01, 4),
            "nll": Summary(0.6, 0.02, 4),
        }
        baseline = label == "cross_entropy"
        difference = None if baseline else apart(label)
        rows.append(
            RetrainedRow(
                recipe=label,
                roles=("baseline",) if baseline else ("finalist",),
                family=family_of(label),
                strategies=(family_of(label),),
                n=4,
                planned=4,
                diverged=0,
                failed=0,
                metrics=scores,
                difference=difference,
                verdict="reference" if difference is None else verdict(difference),
                p_holm=None,
                verdict_holm="",
                declared=None,
                seconds=1.0,
                temperature=Summary(1.2, None, 1),
                scaled={"ece": Summary(0.03, 0.01, 4), "nll": Summary(0.5, 0.02, 4)},
                search=0.9,
                confirmed=Summary(0.85, 0.01, 3),
            )
        )
    return Retrained(
        "hand", "resnet8", "digits", "top1", 4, (2000, 2001, 2002, 2003),
        ("train", "val", "select"), 400, tuple(rows), (), (),
    )  # fmt: skip


def ensembled() -> Ensembled:
    members = tuple(
        Member(f"{label}-1000", label, 1000, family_of(label), (), None, "finalist", weight)
        for label, weight in (("masd-0002", 0.75), ("cross_entropy", 0.25))
    )
    kinds = (
        Kind("single", 1, 1, {"top1": 0.86, "nll": 0.5}, {"top1": 0.87, "nll": 0.45}, False),
        Kind("soup", 1, 0, None, None, False, "no checkpoint was kept"),
        Kind("greedy", 4, 2, {"top1": 0.88, "nll": 0.4}, {"top1": 0.9, "nll": 0.35}, True),
    )
    gain = Difference(-0.05, -0.07, -0.03, 400, 0.02)
    return Ensembled(
        metric="nll", size=4, folds=5, kind="greedy", members=members, best_member="masd-0002-1000",
        forwards=2, relative_cost=2.0, scores={}, kinds=kinds,
        gains=(Gain("test", "nll", gain, "better"),), candidates=12, finalists=8, left_out=0,
        images={"select": 200, "test": 400}, remarks=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def full() -> Story:
    """A study with everything that can be told."""
    pairs = compared()
    return story(
        value,
        60,
        stopped=5,
        compared=pairs,
        finalists=tuple(one.finalist for one in pairs),
        retrained=retrained(),
        ensembled=ensembled(),
    )


@pytest.fixture(scope="module")
def drawn(full: Story) -> dict[str, go.Figure]:
    return {name: draw(full) for name, draw in FIGURES.items()}


def texts(figure: go.Figure) -> Iterator[str]:
    """Every text of a figure that a browser would show."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                if key not in ("meta", "legendgroup"):
                    yield from walk(entry)
        elif isinstance(value, list | tuple):
            for entry in value:
                yield from walk(entry)

    return walk(json.loads(figure.to_json()))


def rows_of(figure: go.Figure) -> list[str]:
    """Categories from top to bottom."""
    return list(reversed(figure.layout.yaxis.categoryarray))


def test_every_figure_has_something_to_show(drawn):
    assert [name for name, figure in drawn.items() if figure is None] == []


def test_every_figure_has_a_heading_and_a_note_in_plain_words(drawn):
    for name, figure in drawn.items():
        title, note = figure.layout.meta["title"], figure.layout.meta["note"]
        assert 5 < len(title) < 50, name
        assert note.endswith("."), name
        assert "<" not in title + note, name


def test_figures_have_no_background_and_take_the_dark_look(drawn):
    for figure in drawn.values():
        dark = go.Figure(figure)
        dark.update_layout(look.DARK)
        assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert figure.layout.template.layout.font.color != dark.layout.template.layout.font.color
        assert figure.layout.width is None


def test_figures_are_small(drawn):
    sizes = {name: len(figure.to_json()) for name, figure in drawn.items()}
    assert max(sizes.values()) < 60_000, sizes


def test_a_family_has_one_colour_in_all_figures(full, drawn):
    of = look.colours(full)
    assert of["cross_entropy"] == look.BASELINE_COLOUR
    assert len({of[name] for name in ("masd", "mixed", "cutmix")}) == 3
    (board,) = drawn["leaderboard"].data
    for name, colour in zip(board.y, board.marker.color, strict=True):
        assert colour == of[name.removesuffix(" (control)")]
    curves = {trace.name: trace.line.color for trace in drawn["learning_curves"].data}
    assert {curves[name] == of[name] for name in ("masd", "mixed", "cutmix")} == {True}


@pytest.mark.parametrize("background", ["#ffffff", "#0d1117"])
def test_colours_are_seen_on_both_backgrounds(background):
    palette = (*look.COLOURS, look.BASELINE_COLOUR, look.OTHER, look.BETTER, look.WORSE)
    assert all(contrast(colour, background) >= 3 for colour in palette)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2."""

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    low, high = sorted((light(first), light(second)))
    return (high + 0.05) / (low + 0.05)


def test_names_cannot_bring_markup_into_a_figure():
    told = story(value, 48, stopped=5)
    evil = [replace(one, why=EVIL, strategies=(EVIL,), origin=EVIL) for one in told.attempts]
    told = replace(told, attempts=tuple(evil))
    for name, draw in FIGURES.items():
        figure = draw(told)
        for text in () if figure is None else texts(figure):
            allowed = re.sub(r"</?br>|<extra></extra>", "", text)
            assert "<" not in allowed, (name, text)


def test_the_best_so_far_never_falls_and_ends_at_the_best(full, drawn):
    for name in ("best_by_trials", "best_by_compute"):
        line = drawn[name].data[0]
        assert list(line.y) == sorted(line.y)
        assert line.y[-1] == max(one.value for one in full.complete)
        assert list(line.x) == sorted(line.x)


def test_compute_is_image_passes_where_all_trials_counted_them_else_seconds():
    counted = story(value, 12)
    passes = FIGURES["best_by_compute"](counted)
    assert passes.layout.xaxis.title.text == "image passes"
    assert passes.data[0].x[-1] == sum(one.forwards for one in counted.efforts.values())
    timed = FIGURES["best_by_compute"](story(value, 12, efforts={}))
    assert timed.layout.xaxis.title.text == "seconds of training"
    assert timed.data[0].x[-1] == 48


def test_a_loss_is_better_where_it_is_smaller():
    told = story(lambda params: 1 - value(params), 60, objective="nll", stopped=5)
    line = FIGURES["best_by_trials"](told).data[0]
    assert line.y[-1] == min(one.value for one in told.complete)
    assert FIGURES["leaderboard"](told).layout.xaxis.title.text == "NLL on val"
    assert FIGURES["pairs"](told).layout.coloraxis.reversescale is True
    assert rows_of(FIGURES["leaderboard"](told))[0] == told.rows[0].family


def test_the_leaderboard_marks_controls_and_sets_the_best_first(full, drawn):
    names = rows_of(drawn["leaderboard"])
    assert [name.removesuffix(" (control)") for name in names] == [r.family for r in full.rows]
    assert "cutmix (control)" in names
    assert "masd" in names
    (board,) = drawn["leaderboard"].data
    symbols = dict(zip(board.y, board.marker.symbol, strict=True))
    assert symbols == {
        "cross_entropy": "diamond",
        "cutmix (control)": "square",
        "masd": "circle",
        "mixed": "circle",
    }


def test_pruned_curves_end_at_a_cross_that_says_why(full, drawn):
    marks = next(trace for trace in drawn["learning_curves"].data if trace.name == "stopped")
    pruned = [one for one in full.trials if one.state == "pruned"]
    assert len(marks.x) == len(pruned) == 12
    assert all("pruned by hand at epoch 2" in text for text in marks.hovertext)


def test_many_long_curves_are_thinned_with_stopped_ones_among_them():
    told = story(value, 400, stopped=2)
    long = tuple((epoch, 0.5) for epoch in range(1, 301))
    told = replace(told, attempts=tuple(replace(one, curve=long) for one in told.attempts))
    figure = learning_curves(told)
    marks = next(trace for trace in figure.data if trace.name == "stopped")
    lines = [trace for trace in figure.data if trace.name != "stopped"]
    gaps = sum(list(trace.x).count(None) for trace in lines)
    assert gaps == MOST_CURVES
    assert 30 <= len(marks.x) <= 40
    assert f"{MOST_CURVES} of 400" in figure.layout.meta["note"]
    assert sum(len(trace.x) for trace in lines) <= MOST_CURVES * (MOST_POINTS + 1)


def test_the_named_knobs_are_those_that_the_joint_space_opens_with():
    opening = resources.find("search_spaces", "joint").read_text(encoding="utf-8")
    opening = opening.split("strategies:")[0]
    assert tuple(re.findall(r"^#\s+(\w+\.\w+)\s{2,}", opening, re.MULTILINE)) == NAMED


def test_slices_show_every_trial_that_has_the_knob(full, drawn):
    figure = drawn["slices"]
    complete = [one for one in full.complete if "masd.mask_ratio" in one.params]
    stopped = [
        one for one in full.trials if one.state == "pruned" and "masd.mask_ratio" in one.params
    ]
    assert {one.family for one in complete} == {"masd", "mixed"}
    assert list(figure.data[0].x) == [one.params["masd.mask_ratio"] for one in complete]
    assert list(figure.data[1].x) == [one.params["masd.mask_ratio"] for one in stopped]
    assert figure.layout.xaxis.title.text == "masd.mask_ratio"
    assert figure.layout.xaxis2.type == "log"


def test_pairs_of_parts_give_the_best_of_each_and_how_many(full, drawn):
    (field,) = drawn["composition_pairs"].data
    for down, option in enumerate(field.y):
        for across, other in enumerate(field.x):
            values = [
                one.value
                for one in full.complete
                if one.params.get("mixed.input") == other
                and one.params.get("mixed.branch") == option
            ]
            assert field.z[down][across] == (max(values) if values else None)
            assert field.text[down][across] == (str(len(values)) if values else "")


def price(number: int, cost: float, value: float) -> Price:
    trials = story(lambda params: 0.5, 8).complete
    return Price(trials[number], value, cost, 0.02)


def test_the_front_holds_what_no_cheaper_trial_beats():
    prices = [price(0, 1.0, 0.80), price(1, 1.01, 0.82), price(2, 2.0, 0.81), price(3, 3.0, 0.9)]
    assert [one.cost for one in pareto(prices)] == [1.01, 3.0]
    assert [one.cost for one in pareto(prices, minimise=True)] == [1.0]
    assert [one.value for one in pareto(prices[2:])] == [0.81, 0.9]


def test_cost_is_declared_or_measured_against_plain_training(full, drawn):
    assert "declare" in drawn["accuracy_against_cost"].layout.meta["note"]
    points = {x for trace in drawn["accuracy_against_cost"].data[1:] for x in trace.x}
    assert points == {1.0, 2.0}
    bare = {
        number: replace(effort, cost=None, epoch_seconds=3.0 + number)
        for number, effort in full.efforts.items()
    }
    measured = FIGURES["accuracy_against_cost"](story(value, 60, efforts=bare))
    assert "measured" in measured.layout.meta["note"]


def test_utilisation_counts_running_trials():
    told = story(value, 8)
    times = [START + datetime.timedelta(minutes=place // 2) for place in range(8)]
    attempts = [
        replace(one, started=start, finished=start + datetime.timedelta(minutes=1))
        for one, start in zip(told.attempts, times, strict=True)
    ]
    told = replace(told, attempts=tuple(attempts))
    (trace,) = utilisation(told).data
    assert max(trace.y) == 2
    assert trace.y[-1] == 0
    assert trace.x[-1] == 4
    assert "90 % of their time" in utilisation(told).layout.meta["note"]


@pytest.mark.parametrize("name", ["confirmed", "retrained"])
def test_differences_have_their_intervals_and_colours(drawn, name):
    (points,) = drawn[name].data
    assert list(points.y) == list(SCORES)
    for place, label in enumerate(SCORES):
        known = apart(label)
        assert points.x[place] == pytest.approx(100 * known.mean)
        assert points.error_x.array[place] == pytest.approx(100 * known.smallest)
    assert list(points.marker.color) == [look.BETTER, look.OTHER, look.WORSE]
    assert drawn[name].layout.shapes[0].x0 == 0


def test_one_seed_is_drawn_without_an_interval_and_says_so():
    single = Comparison(compared()[0].finalist, paired_difference([0.8], [0.7]), "better")
    figure = FIGURES["confirmed"](story(value, 8, compared=(single,)))
    assert figure.data[0].error_x.array[0] == 0
    assert "one seed gives no interval" in figure.data[0].hovertext[0]


def test_calibration_is_shown_raw_and_scaled(drawn):
    raw, scaled, *_ = drawn["calibration"].data
    assert set(raw.x) == {0.08}
    assert set(scaled.x) == {0.03}
    assert (raw.marker.symbol, scaled.marker.symbol) == ("circle", "circle-open")
    assert drawn["calibration"].layout.xaxis.title.text == "ECE on test"


def test_without_a_retraining_calibration_is_that_of_the_confirmation(root):
    told = Story.read(StudyFolder.find("tiny", root))
    figure = FIGURES["calibration"](told)
    assert figure.layout.xaxis.title.text == "ECE on select"
    assert len(figure.data[0].x) == len(told.finalists)
    assert len(figure.data[1].x) == 0


def test_the_way_from_search_to_test_has_three_values_a_recipe(drawn):
    figure = drawn["from_search_to_test"]
    assert [trace.name for trace in figure.data] == [*SCORES, "cross_entropy"]
    assert list(figure.data[0].y) == pytest.approx([0.9, 0.85, np.mean(SCORES["masd-0002"])])


def test_an_ensemble_shows_members_and_the_held_out_scores_that_chose(drawn):
    (bars,) = drawn["ensemble_members"].data
    assert list(bars.x) == [0.75, 0.25]
    fitted, held_out = drawn["ensemble_kinds"].data
    assert list(held_out.x) == [0.5, 0.4]
    assert list(fitted.x) == [0.45, 0.35]
    assert "-0.050 (-0.070 to -0.030) nats" in drawn["ensemble_kinds"].layout.meta["note"]
