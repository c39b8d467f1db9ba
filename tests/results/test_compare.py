"""A comparison from its recipes to its page, in-process on small digits."""

import csv
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autosd import yamlfile
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import Recipe, StrategySpec, StudyDefinition
from autosd.results.compare import Compared, compare
from autosd.results.compare_table import Row
from autosd.search.lock import StudyLock
from autosd.search.space import Space
from autosd.search.study import StudyFolder, lock_path
from autosd.strategies.check import check_combination
from autosd.strategies.soft_labels import table_bytes
from autosd.strategies.strategy import discover

SPLIT = {"seed": 0, "val": 300, "select": 900}
RECIPE = {
    "data": {"name": "digits", "split": SPLIT},
    "model": "resnet8",
    "epochs": 2,
    "batch_size": 64,
    "precision": "fp32",
}
DEFINITION = StudyDefinition.parse({"name": "small", "recipe": RECIPE, "space": "seeds"})
NAMES = ("cross_entropy", "second", "third", "fourth")
WILD = {"lr": 10.0, "momentum": 0.99, "weight_decay": 1.0}
TIMED = ("seconds", "cost")

Run = Callable[..., Compared]


def run(root: Path, **options: Any) -> Compared:
    return compare(DEFINITION, root, engine="inline", **{"seeds": 2, **options})


def under_names(**changes: Any) -> dict[str, Recipe]:
    """Plain training under four names."""
    return {name: DEFINITION.recipe.model_copy(update=changes) for name in NAMES}


def rows_without_times(compared: Compared) -> list[dict[str, Any]]:
    rows = [row.mapping() for row in compared.rows]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def runs_in(root: Path) -> set[str]:
    """Names of the runs that have a result."""
    return {path.parent.name for path in root.glob("small/compare/*/result.json")}


def in_order(compared: Compared) -> list[Row]:
    return sorted(compared.rows, key=lambda row: row.recipe)


def readings(compared: Compared) -> list[str]:
    split = json.loads((compared.files["csv"].parents[1] / "split.json").read_text())
    return [reading["who"] for reading in split["test_readings"]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Two strategies and a family, two seeds, with test."""
    root = tmp_path_factory.mktemp("runs")
    return run(root, strategies=["dlb", "lightskd"], test=True)


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Plain training under four names, never interrupted."""
    return run(tmp_path_factory.mktemp("runs"), recipes=under_names())


def test_cross_entropy_under_four_names_claims_no_difference(same: Compared) -> None:
    assert [row.recipe for row in same.rows] == list(NAMES)
    assert [row.verdict for row in same.rows] == ["reference"] + 3 * ["no difference shown"]
    for row in same.rows[1:]:
        assert row.difference is not None
        assert (row.difference.mean, row.difference.low) == (0.0, None)
        assert row.verdict_holm == "no difference shown"


KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
import test_compare as here
here.run(Path(sys.argv[2]), recipes=here.under_names())
"""


def test_a_killed_comparison_goes_on_and_ends_with_the_same_table(
    same: Compared, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    process = subprocess.Popen(arguments)
    folder = tmp_path / "small/compare"
    while not (list(folder.glob("*/result.json")) and list(folder.glob("*/last.pt"))):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {path: path.read_bytes() for path in folder.glob("*/result.json")}
    curves = {path: path.read_bytes() for path in folder.glob("*/history.jsonl")}
    assert len(finished) < 8
    again = run(tmp_path, recipes=under_names())
    assert rows_without_times(again) == rows_without_times(same)
    assert all(path.read_bytes() == content for path, content in finished.items())
    assert all(path.read_bytes().startswith(content) for path, content in curves.items())


def test_every_row_has_scores_difference_cost_and_memory(done: Compared) -> None:
    assert done.rows[0].recipe == "cross_entropy"
    assert {row.recipe for row in done.rows} == {"cross_entropy", "dlb", "lightskd"}
    for row in done.rows:
        values = row.mapping()
        assert values["n"] == 2
        for part in ("val", "test"):
            assert all(values[part][metric]["sd"] is not None for metric in ("top1", "nll", "ece"))
        assert (values["epochs"], values["images"]) == (2, 600)
        assert values["memory"]["student"] > 300_000
        assert values["cost"]["measured"] > 0
    dlb = next(row for row in done.rows if row.recipe == "dlb").mapping()
    assert dlb["cost"]["declared"] == {"forwards": 2.0, "backwards": 2.0, "step": 2.0}
    assert dlb["forwards"] > 1000


def test_differences_are_paired_and_of_the_last_part(done: Compared) -> None:
    assert (done.part, done.metric) == ("test", "top1")
    folder = done.files["csv"].parent
    pairs = []
    for seed in done.seeds:
        scores = [
            json.loads((folder / f"{name}-{seed}" / "test.json").read_text())["metrics"]["test"]
            for name in ("dlb", "cross_entropy")
        ]
        pairs.append(scores[0]["top1"] - scores[1]["top1"])
    dlb = next(row for row in done.rows if row.recipe == "dlb")
    assert dlb.difference is not None
    assert dlb.difference.mean == pytest.approx(sum(pairs) / 2)


def test_table_and_page_are_written(done: Compared) -> None:
    with done.files["csv"].open() as file:
        lines = list(csv.DictReader(file))
    assert [line["recipe"] for line in lines] == [row.recipe for row in done.rows]
    assert float(lines[1]["test.top1.mean"]) == done.rows[1].scores["test"]["top1"].mean
    assert json.loads(done.files["json"].read_text()) == json.loads(json.dumps(done.mapping()))
    html = done.files["html"].read_text()
    assert html.count("<script") >= 4
    assert " src=" not in html.split("<body>")[1][:2000]


def test_a_finished_comparison_only_reads(done: Compared, tmp_path: Path) -> None:
    before = readings(done)
    assert len(before) == 6
    root = done.files["csv"].parents[2]
    again = run(root, strategies=["lightskd"], test=True)
    assert [row.recipe for row in again.rows] == ["cross_entropy", "lightskd"]
    assert readings(again) == before


def test_test_is_read_later_without_training_again(tmp_path: Path) -> None:
    first = run(tmp_path, recipes={"cross_entropy": DEFINITION.recipe}, seeds=1)
    assert first.part == "val"
    assert readings(first) == []
    results = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}
    later = run(tmp_path, recipes={"cross_entropy": DEFINITION.recipe}, seeds=1, test=True)
    assert readings(later) == ["compare/cross_entropy-2000"]
    assert later.rows[0].scores["test"]["top1"].mean > 0.5
    assert results == {path: path.read_bytes() for path in tmp_path.rglob("result.json")}


def test_one_seed_gives_no_interval_and_says_so(tmp_path: Path) -> None:
    recipes = dict(list(under_names(epochs=1).items())[:2])
    compared = run(tmp_path, recipes=recipes, seeds=1)
    row = compared.rows[1].mapping()
    assert (row["difference"]["low"], row["detectable"]) == (None, None)
    assert "one seed" in row["difference"]["why"]
    assert any("One seed gives no interval" in line for line in compared.remarks)


def test_equal_compute_scales_the_epochs(tmp_path: Path) -> None:
    compared = run(tmp_path, strategies=["ddgsd"], seeds=1, epochs=4, budget="compute")
    plain, twice = compared.rows
    assert (plain.effort.epochs, plain.effort.forwards) == (4, 1200)
    assert (twice.effort.epochs, twice.effort.images, twice.effort.forwards) == (2, 600, 1200)
    assert any("Equal compute" in line for line in compared.remarks)
    assert (tmp_path / "small/compare/ddgsd-e4-compute-2000/result.json").is_file()


@pytest.mark.parametrize(("study", "other"), [("epochs", "compute"), ("compute", "epochs")])
def test_what_equal_compute_does_not_shorten_is_one_run(
    tmp_path: Path, study: str, other: str
) -> None:
    recipe = {**RECIPE, "epochs": 4, "budget": study}
    definition = StudyDefinition.parse({"name": "small", "recipe": recipe, "space": "seeds"})
    options: dict[str, Any] = {"seeds": 1, "engine": "inline", "test": True}
    chosen = ["dlb", "lightskd"]
    first = compare(definition, tmp_path, strategies=chosen, **options)
    before = runs_in(tmp_path)
    second = compare(definition, tmp_path, strategies=chosen, budget=other, **options)
    assert runs_in(tmp_path) - before == {f"dlb-{other}-2000"}
    assert len(readings(second)) == 4  # cross-entropy and LightSKD once, DLB twice
    assert {row.recipe: row.effort.epochs for row in first.rows + second.rows} == {
        "cross_entropy": 4,
        "lightskd": 4,
        "dlb": 4 if other == "epochs" else 2,
    }
    for row, again in zip(in_order(first), in_order(second), strict=True):
        assert (row.scores == again.scores) == (row.recipe != "dlb")


def test_a_shared_run_is_what_the_other_budget_would_train(tmp_path: Path) -> None:
    recipes = {
        budget: Recipe.parse({**RECIPE, "budget": budget, "strategies": ["drg", "dsr"]})
        for budget in ("epochs", "compute")
    }
    epochs, compute = run(tmp_path, recipes=recipes, seeds=1).rows
    assert epochs.scores == compute.scores


def test_what_cannot_be_built_is_refused_by_its_label(tmp_path: Path) -> None:
    spec = {"name": "soft_labels", "knobs": {"file": str(tmp_path / "none.safetensors")}}
    recipe = DEFINITION.recipe.model_copy(update={"strategies": (StrategySpec(**spec),)})
    (tmp_path / "mine.yaml").write_text(yamlfile.dumps(recipe.mapping()))
    with pytest.raises(AutosdError, match=r"^mine: .*none\.safetensors"):
        run(tmp_path, strategies=[str(tmp_path / "mine.yaml")], budget="compute")
    assert not runs_in(tmp_path)


def test_files_of_recipes_are_looked_for_in_the_study(tmp_path: Path) -> None:
    data = load_data(DEFINITION.recipe.data)
    labels = torch.from_numpy(data.part("train").labels)
    rows = torch.full((len(labels), len(data.class_names)), -math.log(len(data.class_names)))
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "table.safetensors").write_bytes(table_bytes(rows, labels))
    spec = StrategySpec(name="soft_labels", knobs={"file": "table.safetensors"})
    recipe = DEFINITION.recipe.model_copy(update={"strategies": (spec,)})
    (tmp_path / "mine.yaml").write_text(yamlfile.dumps(recipe.mapping()))
    compared = run(tmp_path, strategies=[str(tmp_path / "mine.yaml")], seeds=1, budget="compute")
    assert {row.recipe: row.n for row in compared.rows} == {"cross_entropy": 1, "mine": 1}


def test_a_diverged_recipe_is_shown_without_a_verdict(tmp_path: Path) -> None:
    wild = DEFINITION.recipe.optimizer.model_copy(update=WILD)
    recipes = {
        "cross_entropy": DEFINITION.recipe.model_copy(update={"epochs": 1}),
        "wild": DEFINITION.recipe.model_copy(update={"optimizer": wild, "epochs": 50}),
    }
    compared = run(tmp_path, recipes=recipes)
    row = compared.rows[1]
    assert row.diverged > 0
    assert (row.verdict, row.verdict_holm) == ("diverged", "diverged")
    assert any(line.startswith("wild: ") and "diverged" in line for line in compared.remarks)
    assert "wild" in compared.files["html"].read_text()
    assert "wild" in compared.files["csv"].read_text()


def test_another_training_in_the_folder_is_refused(done: Compared) -> None:
    root = done.files["csv"].parents[2]
    changed = DEFINITION.model_copy(
        update={"recipe": DEFINITION.recipe.model_copy(update={"batch_size": 32})}
    )
    with pytest.raises(AutosdError, match="another recipe"):
        compare(changed, root, strategies=["dlb"], engine="inline")


def test_a_study_may_begin_where_a_comparison_was(done: Compared) -> None:
    root = done.files["csv"].parents[2]
    space = Space.read("seeds", discover(), check_combination, stages=3)
    with StudyLock(lock_path(root, "small")):
        folder = StudyFolder.prepare(root, DEFINITION, space)
        assert len(folder.split.readings()) == 6
    again = run(root, strategies=["lightskd"])
    assert [row.recipe for row in again.rows] == ["cross_entropy", "lightskd"]


def test_a_recipe_file_takes_part_under_its_name(done: Compared, tmp_path: Path) -> None:
    from autosd import yamlfile

    mine = DEFINITION.recipe.model_copy(
        update={"strategies": (StrategySpec(name="label_smoothing"),), "epochs": 50}
    )
    path = tmp_path / "My best.yaml"
    path.write_text(yamlfile.dumps(mine.mapping()))
    compared = run(tmp_path, strategies=[str(path)], seeds=1)
    row = compared.rows[1]
    assert (row.recipe, row.strategies, row.effort.epochs) == ("my_best", ("label_smoothing",), 2)
    assert any("looks better there" in line for line in compared.remarks)
