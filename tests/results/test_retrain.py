import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import autosd
from autosd.data.loading import load_data
from autosd.recipe import DataSpec
from autosd.results.found import Found, search
from autosd.results.retrain import Retrained, retrain
from autosd.search.lists import read_records
from autosd.search.run import check
from autosd.search.study import StudyFolder


@pytest.fixture(scope="module")
def trained(found: Found, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with the finished study retrained; not to be changed."""
    runs = tmp_path_factory.mktemp("retrained")
    shutil.copytree(found.outcome.folder.path, runs / "tiny")
    retrain("tiny", runs, seeds=3, engine="inline")
    return runs


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def done(root: Path) -> Retrained:
    """What the same command says again: nothing is left to train."""
    return retrain("tiny", root, seeds=3, engine="inline")


def test_retrain_compares_paired_seeds_on_test(root: Path, done):
    folder = StudyFolder.find("tiny", root)
    scores = {
        (run.label, run.seed): run.value("test", "top1") for run in read_records(folder.retrain)
    }
    assert {seed for _, seed in scores} == {2000, 2001, 2002}
    assert done.rows[-1].recipe == "cross_entropy"
    for row in done.rows[:-1]:
        differences = [
            scores[row.recipe, seed] - scores["cross_entropy", seed] for seed in (2000, 2001, 2002)
        ]
        assert row.difference.mean == pytest.approx(np.mean(differences), abs=1e-12)
        interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        assert row.difference.low == pytest.approx(interval.low)
        assert row.difference.high == pytest.approx(interval.high)


def test_every_reading_of_test_is_on_record_once(root: Path, done):
    split = json.loads((root / "tiny/split.json").read_text())
    who = [reading["who"] for reading in split["test_readings"]]
    assert len(who) == len(set(who)) == 3 * len(done.rows)
    retrain("tiny", root, seeds=3, engine="inline")
    assert json.loads((root / "tiny/split.json").read_text()) == split


def test_best_is_the_winner_trained_on_everything_but_test(root: Path, done):
    facts = json.loads((root / "tiny/best/metrics.json").read_text())
    assert facts["origin"] == "retrain"
    assert facts["trained_on"] == ["train", "val", "select"]
    assert facts["seed"] == 2000
    assert "Trained on: train, val, select." in (root / "tiny/best/README.md").read_text()
    assert [path.name for path in root.glob("tiny/.best*")] == []


def test_the_loaded_student_predicts_as_its_trainer_did(root: Path, done):
    student = autosd.load(done.model_dir)
    run = root / "tiny/retrain" / f"{done.rows[0].recipe}-2000"
    kept = np.load(run / "logits.npz")["test"]
    part = load_data(DataSpec(name="digits"), with_test=True).part("test")
    images = torch.stack([student.preprocess(part.images[row]) for row in part.rows])
    with torch.no_grad():
        logits = student(images).numpy()
    assert np.array_equal(logits.argmax(1), kept.argmax(1))
    np.testing.assert_allclose(logits, kept, rtol=2e-3, atol=2e-3)


def test_more_seeds_are_added_to_those_that_are_there(root: Path, done):
    before = {path: path.read_text() for path in root.glob("tiny/retrain/*/result.json")}
    more = retrain("tiny", root, seeds=4, engine="inline")
    assert more.rows[0].top1.n == 4
    assert all(path.read_text() == text for path, text in before.items())


def test_a_search_that_goes_on_keeps_the_retrained_student(root: Path, done):
    folder = StudyFolder.find("tiny", root)
    before = (done.model_dir / "model.safetensors").read_bytes()
    search(check(folder.definition), root, engine="inline")
    assert (done.model_dir / "model.safetensors").read_bytes() == before


def test_one_seed_has_no_interval_and_says_so(root: Path):
    alone = retrain("tiny", root, seeds=1, engine="inline").mapping()
    assert alone["rows"][0]["top1"]["sd"] is None
    assert alone["rows"][0]["difference"]["low"] is None or len(alone["rows"]) == 1
    assert alone["rows"][0]["verdict"] == "no difference shown"


def test_other_epochs_stand_beside_the_others(root: Path, done):
    other = retrain("tiny", root, seeds=1, epochs=2, engine="inline")
    assert all(row.recipe.endswith("-e2") for row in other.rows)
    assert (root / "tiny/retrain" / "cross_entropy-2000").is_dir()
    assert (root / "tiny/retrain" / "cross_entropy-e2-2000").is_dir()
