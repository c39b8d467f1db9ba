"""A finished study retrained: the table, its record, the student and what its card says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as reference

import autosd
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec
from autosd.results.calibration import fit_temperature
from autosd.results.found import Found, search
from autosd.results.retrain import Done, retrain
from autosd.results.retrained import read_retrained
from autosd.search.lists import read_records
from autosd.search.progress import Progress, Quiet
from autosd.search.ready import check
from autosd.search.study import StudyFolder

SEEDS = (2000, 2001)


@pytest.fixture(scope="module")
def trained(found: Found, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with the finished study retrained; not to be changed."""
    runs = tmp_path_factory.mktemp("retrained")
    shutil.copytree(found.outcome.folder.path, runs / "tiny")
    retrain("tiny", runs, seeds=2, engine="inline")
    return runs


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def done(root: Path) -> Done:
    """What the same command says again: nothing is left to train."""
    return retrain("tiny", root, seeds=2, engine="inline")


@pytest.fixture(scope="module")
def data():
    return load_data(DataSpec(name="digits"), with_test=True)


def readings(root: Path) -> list[str]:
    split = json.loads((root / "tiny/split.json").read_text())
    return [reading["who"] for reading in split["test_readings"]]


def settled(done: Done) -> list[dict]:
    """Rows without what the clock decides."""
    return [replace(row, seconds=None).mapping() for row in done.table.rows]


def test_retrain_compares_paired_seeds_on_test(root: Path, done):
    folder = StudyFolder.find("tiny", root)
    scores = {
        (run.label, run.seed): run.value("test", "top1") for run in read_records(folder.retrain)
    }
    assert {seed for _, seed in scores} == set(SEEDS)
    compared = [row for row in done.table.rows if row is not done.table.baseline]
    assert compared
    for row in compared:
        own = [scores[row.recipe, seed] for seed in SEEDS]
        differences = [scores[row.recipe, seed] - scores["cross_entropy", seed] for seed in SEEDS]
        assert row.metrics["top1"].mean == pytest.approx(np.mean(own), abs=1e-12)
        assert row.metrics["top1"].sd == pytest.approx(np.std(own, ddof=1), abs=1e-12)
        assert row.difference.mean == pytest.approx(np.mean(differences), abs=1e-12)
        interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert row.difference.low == pytest.approx(interval.low)
        assert row.difference.high == pytest.approx(interval.high)
        assert row.verdict != "better" or row.difference.low > 0


def test_winner_default_control_and_cross_entropy_take_part_once_each(done):
    rows = done.table.rows
    roles = [role for row in rows for role in row.roles]
    assert "winner" in rows[0].roles
    assert {"control", "baseline"} <= set(roles)
    assert len(roles) == len(set(roles))
    assert len({row.recipe for row in rows}) == len(rows)
    assert done.table.baseline.verdict == "reference"
    assert done.table.baseline.difference is None


def test_scores_of_search_and_confirmation_stand_beside_those_of_test(found, done):
    won = done.table.winner
    assert won.recipe == found.winner.label
    assert won.search == found.winner.search_value
    assert won.confirmed.mean == found.winner.score.value
    assert won.confirmed.sd == found.winner.score.sd


def test_every_reading_of_test_is_on_record_once(root: Path, done):
    who = readings(root)
    assert len(who) == len(set(who)) == 2 * len(done.table.rows)
    retrain("tiny", root, seeds=2, engine="inline")
    assert readings(root) == who


def test_the_table_is_kept_whole(root: Path, done):
    assert read_retrained(StudyFolder.find("tiny", root)) == done.table


def test_a_broken_table_is_named_with_the_way_out(root: Path):
    (root / "tiny/retrain/results.json").write_text('{"rows": [{}]}')
    with pytest.raises(AutosdError, match=r"results\.json.*autosd retrain tiny"):
        read_retrained(StudyFolder.find("tiny", root))


def test_a_study_that_was_not_retrained_has_no_table(found):
    assert read_retrained(found.outcome.folder) is None


def test_the_temperature_is_the_mean_of_those_fitted_on_select_when_confirmed(root, done, data):
    won = done.table.winner
    fits = [
        fit_temperature(np.load(path / "logits.npz")["select"], data.part("select").labels)
        for path in root.glob(f"tiny/finalists/{won.recipe}-*")
    ]
    assert len(fits) == won.temperature.n == 2
    assert won.temperature.mean == pytest.approx(np.mean(fits))
    assert all(row.temperature is None for row in done.table.rows if row.confirmed is None)


def test_scaled_calibration_is_that_of_the_divided_logits(root: Path, done, data):
    won, truth = done.table.winner, data.part("test").labels
    kept = [
        np.load(root / f"tiny/retrain/{won.recipe}-{seed}/logits.npz")["test"].astype(float)
        for seed in SEEDS
    ]
    for logits, shown in (
        (kept, won.metrics),
        ([k / won.temperature.mean for k in kept], won.scaled),
    ):
        losses = [
            reference.log_loss(truth, torch.from_numpy(one).softmax(1).numpy()) for one in logits
        ]
        assert shown["nll"].mean == pytest.approx(np.mean(losses), rel=1e-3)
        assert shown["nll"].sd == pytest.approx(np.std(losses, ddof=1), rel=1e-2)
        assert {"ece", "ece_equal_mass", "nll", "brier"} <= set(shown)


def test_best_is_the_winner_trained_on_everything_but_test(root: Path, done):
    facts = json.loads((root / "tiny/best/metrics.json").read_text())
    won = done.table.winner
    assert (facts["origin"], facts["label"], facts["seed"]) == ("retrain", won.recipe, 2000)
    assert facts["trained_on"] == ["train", "val", "select"]
    assert facts["score"]["mean"] == pytest.approx(won.confirmed.mean, abs=1e-6)
    details = json.loads((root / "tiny/best/model.json").read_text())["details"]
    assert details["temperature"] == facts["temperature"] == won.temperature.mean
    assert [path.name for path in root.glob("tiny/.best*")] == []


def test_the_card_tells_data_scores_calibration_and_readings(root: Path, done):
    card = (root / "tiny/best/README.md").read_text()
    for part in (
        "Trained on: train, val, select.",
        "`digits`: 10 classes, images of 8 x 8 pixels",
        "## Calibration",
        f"by {done.table.winner.temperature.mean:.3f} before the softmax",
        "one run chosen among many: such a value is too good",
        "choosing on test",
        "Seed 2000.",
        f"was read {2 * len(done.table.rows)} times so far",
    ):
        assert part in card
    assert all(remark in card for remark in done.table.remarks)


def test_the_loaded_student_predicts_as_its_trainer_did(root: Path, done, data):
    student = autosd.load(done.model_dir)
    run = root / "tiny/retrain" / f"{done.table.winner.recipe}-2000"
    kept = np.load(run / "logits.npz")["test"]
    part = data.part("test")
    images = torch.stack([student.preprocess(part.images[row]) for row in part.rows])
    with torch.no_grad():
        logits = student(images).numpy()
    assert np.array_equal(logits.argmax(1), kept.argmax(1))
    np.testing.assert_allclose(logits, kept, rtol=2e-3, atol=2e-3)


def test_more_seeds_and_recipes_are_added_to_those_that_are_there(root: Path, done):
    before = {path: path.read_text() for path in root.glob("tiny/retrain/*/result.json")}
    more = retrain("tiny", root, top=3, seeds=3, engine="inline")
    assert len(more.table.rows) > len(done.table.rows)
    assert {row.n for row in more.table.rows} == {3}
    assert more.table.winner.recipe == done.table.winner.recipe
    assert all(path.read_text() == text for path, text in before.items())


def test_a_search_that_goes_on_keeps_the_retrained_student(root: Path, done):
    folder = StudyFolder.find("tiny", root)
    before = (done.model_dir / "model.safetensors").read_bytes()
    search(check(folder.definition), root, engine="inline")
    assert (done.model_dir / "model.safetensors").read_bytes() == before


def test_one_seed_has_no_interval_and_says_so(root: Path):
    alone = retrain("tiny", root, seeds=1, engine="inline").table
    for row in alone.rows:
        assert row.metrics["top1"].sd is None
        assert row.verdict in ("no difference shown", "reference")
        assert row.difference is None or row.difference.low is None
    assert "One seed gives no interval and no verdict: give --seeds 3 or more." in alone.remarks


def test_runs_of_an_older_version_are_read_as_far_as_they_go(root: Path, done):
    for path in root.glob("tiny/retrain/*/result.json"):
        result = json.loads(path.read_text())
        del result["metrics"]["test"]["ece_equal_mass"]
        path.write_text(json.dumps(result))
        history = path.with_name("history.jsonl")
        epochs = [json.loads(line) for line in history.read_text().splitlines()]
        for epoch in epochs:
            del epoch["work"]
        history.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    again = retrain("tiny", root, seeds=2, engine="inline").table
    for row, before in zip(again.rows, done.table.rows, strict=True):
        kept = row.metrics["ece_equal_mass"].mean
        assert kept == pytest.approx(before.metrics["ece_equal_mass"].mean, abs=1e-3)
        assert row.declared is None
        assert row.seconds == before.seconds


def test_other_epochs_stand_beside_the_others(root: Path, done):
    other = retrain("tiny", root, seeds=1, epochs=2, engine="inline").table
    assert all(row.recipe.endswith("-e2") for row in other.rows)
    assert all((row.search, row.confirmed, row.temperature) == (None,) * 3 for row in other.rows)
    assert "Trained for 2 epochs, the study's are 1" in other.remarks[0]
    assert (root / "tiny/retrain" / "cross_entropy-2000").is_dir()
    assert (root / "tiny/retrain" / "cross_entropy-e2-2000").is_dir()


def test_fewer_epochs_than_the_studys_leave_the_best_student_alone(root: Path):
    study = root / "tiny/study.yaml"
    study.write_text(study.read_text().replace("epochs: 1", "epochs: 3"))
    before = (root / "tiny/best/model.json").read_bytes()
    shorter = retrain("tiny", root, seeds=1, epochs=1, engine="inline").table
    assert "best/ stays as it was, as its student was trained for longer." in shorter.remarks
    assert (root / "tiny/best/model.json").read_bytes() == before


class Impatient(Quiet):
    """Interrupts while a run has an epoch behind it."""

    def __init__(self, after: int) -> None:
        self.after = after

    def progress(self, progress: Progress) -> None:
        if progress.complete == self.after and any(run.epoch == 1 for run in progress.running):
            raise KeyboardInterrupt


def test_interrupted_and_started_again_it_ends_with_the_same_table(root: Path, tmp_path: Path):
    shutil.copytree(root, tmp_path / "other")
    whole = retrain("tiny", tmp_path / "other", seeds=1, epochs=2, engine="inline")
    for after in (0, 1):
        with pytest.raises(KeyboardInterrupt):
            retrain("tiny", root, seeds=1, epochs=2, engine="inline", watch=Impatient(after))
        assert len(list(root.glob("tiny/retrain/*/last.pt"))) == 1
    resumed = retrain("tiny", root, seeds=1, epochs=2, engine="inline")
    assert settled(resumed) == settled(whole)
    assert readings(root) == readings(tmp_path / "other")


def test_the_note_on_the_dashboard_has_the_table(trained: Path):
    import optuna_dashboard

    folder = StudyFolder.find("tiny", trained)
    note = optuna_dashboard.get_note(folder.load())
    table = read_retrained(folder)
    assert "## Retrained on all training data, on `test`" in note
    assert all(f"| {row.recipe} | " in note for row in table.rows)
