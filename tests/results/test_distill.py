"""`--distill`: what is trained, with which seeds, what the table says, and what can be loaded."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

import autosd
from autosd.data.loader import Loader
from autosd.data.loading import load_data
from autosd.recipe import DataSpec, Recipe
from autosd.results.distill import Wish, distill, why_not_together
from autosd.results.distill_table import ALONE, TOGETHER, judged, sentence
from autosd.results.ensemble import Done, ensemble
from autosd.results.ensembled import DistilledRow, read_ensembled
from autosd.results.found import Found
from autosd.results.retrain import retrain
from autosd.results.retrain_field import Entry
from autosd.results.statistics import Difference, Summary, paired_difference
from autosd.search.lists import read_records
from autosd.search.study import StudyFolder

SEEDS = (2000, 2001)


def teach(root: Path, **wish: object) -> Done:
    done = ensemble("tiny", root, size=2, engine="inline")
    return distill(done, Wish(**{"seeds": 2, **wish}), engine="inline")


@pytest.fixture(scope="module")
def kept(found: Found, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with a distilled ensemble of the study `tiny`; not to be changed."""
    runs = tmp_path_factory.mktemp("distilled")
    shutil.copytree(found.outcome.folder.path, runs / "tiny")
    teach(runs)
    return runs


@pytest.fixture
def root(kept: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(kept, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def table(kept: Path):
    """The table that was written."""
    return read_ensembled(StudyFolder.find("tiny", kept)).distilled


def runs(root: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in root.glob("tiny/*/**/result.json")}


def test_the_distilled_the_winner_and_cross_entropy_are_in_the_table(table) -> None:
    roles = [row.role for row in table.rows]
    assert roles[0] == ALONE
    assert "winner" in roles
    assert (TOGETHER in roles) != bool(table.left_out)
    assert {row.top1.n for row in table.rows} == {2}
    assert (table.temperature, table.weight, table.epochs) == (4.0, 0.9, 1)


def test_differences_are_paired_by_seed(kept: Path, table) -> None:
    folder = StudyFolder.find("tiny", kept)
    records = [*read_records(folder.retrain), *read_records(folder.path / "ensemble/distilled")]
    scores = {(one.label, one.seed): one.value("test", "top1") for one in records}
    assert {seed for _, seed in scores} == set(SEEDS)
    (winner,) = [row for row in table.rows if row.role == "winner"]
    for row in table.rows:
        if row.role != "winner":
            values = [[scores[one.recipe, seed] for seed in SEEDS] for one in (row, winner)]
            assert row.to_winner == paired_difference(values[0], values[1])


def test_only_the_strategies_differ_from_plain_training(kept: Path, table) -> None:
    alone = table.rows[0]
    recipe = Recipe.read(kept / f"tiny/ensemble/distilled/{alone.recipe}-2000/recipe.yaml")
    (spec,) = recipe.strategies
    assert spec.name == "soft_labels"
    base = StudyFolder.find("tiny", kept).definition.recipe
    plain = recipe.model_copy(update={"strategies": base.strategies, "seed": base.seed})
    assert plain.fingerprint() == base.fingerprint()


def test_the_teacher_is_the_ensemble_on_unaugmented_training_images(kept: Path) -> None:
    (file,) = kept.glob("tiny/ensemble/distilled/teacher-*.safetensors")
    kept_rows = safetensors.torch.load_file(file)
    data = load_data(DataSpec(name="digits"))
    part = data.part("train", "val", "select")
    model = autosd.load(kept / "tiny/ensemble")
    with torch.no_grad():
        rows = torch.cat([model(images) for images, _ in Loader(part, data).plain()])
    torch.testing.assert_close(kept_rows["log_probabilities"], rows)
    assert kept_rows["labels"].tolist() == part.labels.tolist()


def test_its_runs_are_on_record_before_they_read_test(kept: Path, table) -> None:
    split = json.loads((kept / "tiny/split.json").read_text())
    who = [reading["who"] for reading in split["test_readings"]]
    assert len(set(who)) == len(who) == 1 + 2 * len(table.rows)
    assert f"ensemble/distilled/{table.rows[0].recipe}-2000" in who


def test_the_student_to_take_loads_as_one_network(kept: Path, table) -> None:
    student = autosd.load(kept / "tiny" / table.best)
    assert student.class_names == autosd.load(kept / "tiny/ensemble").class_names
    assert not hasattr(student, "members")
    assert table.best in {path for row in table.rows for path in row.models.values()}


def test_nothing_is_trained_twice_here_in_a_copy_or_by_retrain(root: Path) -> None:
    before = runs(root)
    teach(root)
    assert runs(root) == before
    retrain("tiny", root, seeds=2, engine="inline")
    shared = {name: text for name, text in runs(root).items() if name in before}
    assert shared == before


def test_a_copied_study_trains_further_seeds(root: Path) -> None:
    before = runs(root)
    done = teach(root, seeds=3)
    assert {row.top1.n for row in done.ensemble.distilled.rows} == {3}
    assert before.items() <= runs(root).items()


def test_other_knobs_are_other_runs(root: Path) -> None:
    other = teach(root, seeds=1, weight=0.5).ensemble.distilled
    assert other.weight == 0.5
    assert all(row.verdict in ("reference", "no difference shown") for row in other.rows)
    assert "one seed gives no interval" in other.remarks[0]
    assert len(list(root.glob("tiny/ensemble/distilled/soft_labels-*-2000"))) == 2


def test_an_ensemble_that_is_made_anew_keeps_its_runs(root: Path) -> None:
    before = runs(root)
    ensemble("tiny", root, size=1, engine="inline")
    assert before == runs(root)


def entry(*names: str, label: str = "x-0001") -> Entry:
    recipe = Recipe.parse({"data": "digits", "strategies": list(names)})
    return Entry(label, ("winner",), "x", recipe)


def test_a_winner_with_a_teacher_of_its_own_is_not_combined() -> None:
    plain = entry("cross_entropy", label="cross_entropy")
    assert "slot 'teacher'" in why_not_together(entry("dlb"), plain)
    assert "mixed pixels" in why_not_together(entry("mixup"), plain)
    assert "same as alone" in why_not_together(plain, plain)
    assert why_not_together(entry("masd", "label_smoothing"), plain) == ""


def row(role: str, top1: float, difference: Difference | None, verdict: str) -> DistilledRow:
    return DistilledRow(
        recipe=role, role=role, top1=Summary(top1, 0.01, 3), nll=Summary(0.5, 0.01, 3),
        to_winner=difference, nll_to_winner=difference, to_cross_entropy=None, verdict=verdict,
        models={2000: f"ensemble/distilled/{role}-2000/model"},
    )  # fmt: skip


NOTHING = Difference(0.001, -0.01, 0.012, 3, 0.011, p=0.7)
MORE = Difference(0.05, 0.02, 0.08, 3, 0.03, p=0.01)


@pytest.mark.parametrize(
    ("difference", "verdict", "words"),
    [
        (NOTHING, "no difference shown", "no difference to the winner shown"),
        (MORE, "better", "top-1 +5.0 points, 95 % interval +2.0 to +8.0: better"),
        (MORE, "incomplete", "runs are missing"),
        (None, "no difference shown", "no seed is shared"),
    ],
)
def test_a_row_is_told_as_its_interval_allows(difference, verdict, words) -> None:
    assert words in sentence(row(ALONE, 0.9, difference, verdict))


@pytest.mark.parametrize("alone", [0.80, 0.99])
def test_test_does_not_choose_between_two_distilled_students(table, alone) -> None:
    rows = (row(ALONE, alone, NOTHING, "no"), row(TOGETHER, 0.91, NOTHING, "no"),
            row("winner", 0.9, None, "reference"))  # fmt: skip
    found = judged(replace(table, rows=rows, left_out=""), members=3)
    assert found.best == f"ensemble/distilled/{TOGETHER}-2000/model"
    assert any("laid down before test was read" in line for line in found.remarks)
    only = judged(replace(table, rows=(rows[0], rows[2]), left_out="no room"), members=1)
    assert only.best == f"ensemble/distilled/{ALONE}-2000/model"
    assert "the teacher, a single student, learnt from train alone" in only.remarks[-1]
    assert "the teacher's members learnt from train alone" in found.remarks[-1]


def test_without_a_gain_the_winner_is_called_the_safe_choice(table) -> None:
    rows = (row(ALONE, 0.90, NOTHING, "no"), row(TOGETHER, 0.91, NOTHING, "no"),
            row("winner", 0.9, None, "reference"))  # fmt: skip
    found = judged(replace(table, rows=rows, left_out=""), members=3)
    assert any("stays the safe choice" in line for line in found.remarks)
    better = replace(rows[1], to_winner=MORE, verdict="better")
    found = judged(replace(table, rows=(rows[0], better, rows[2]), left_out=""), members=3)
    assert not any("stays the safe choice" in line for line in found.remarks)
