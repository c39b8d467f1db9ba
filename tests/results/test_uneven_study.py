"""A search for balanced accuracy on uneven classes, ended by patience, from trial to test."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from autosd.cli.main import app
from autosd.data.loading import load_data
from autosd.recipe import DataSpec
from autosd.results.state import read
from autosd.search.study import StudyFolder

OPTIONS = {
    "objective": "balanced_accuracy",
    "batch_size": 32,
    "finalists.count": 1,
    "finalists.seeds": 2,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all ones of the digits, and few sevens and eights."""
    folder = tmp_path_factory.mktemp("uneven")
    data = load_data(DataSpec(name="digits"), with_test=True)
    part = data.part("train", "val", "select", "test")
    images, labels = part.images[part.rows], part.labels
    few = [np.flatnonzero(labels == 1), *(np.flatnonzero(labels == k)[:30] for k in (7, 8))]
    rows, classes = np.concatenate(few), np.repeat(np.arange(3), [len(one) for one in few])
    np.savez(folder / "uneven.npz", train_images=images[rows], train_labels=classes)
    return folder


@pytest.fixture
def run(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """A command that must succeed, in that folder."""
    monkeypatch.chdir(work)

    def invoke(*words: object) -> Result:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.stderr
        return done

    return invoke


@pytest.fixture
def search(run: Callable[..., Result]) -> Callable[..., Result]:
    """The search, begun or gone on with."""
    sets = [word for key, value in OPTIONS.items() for word in ("--set", f"{key}={value}")]
    words = ["--data", "npz:uneven.npz", "--model", "resnet8", "--epochs", 2, "--trials", 6]
    space = ["--space", "label_smoothing", "--pruner", "none", "--inline"]
    return lambda *more: run("search", *words, *space, *sets, *more)


def of_last_epoch(folder: Path, number: int, metric: str) -> float:
    """A metric of val at the end of a trial, from its curve."""
    lines = (folder / f"trials/{number:04d}/history.jsonl").read_text().splitlines()
    return float(json.loads(lines[-1])["evaluated"]["val"][metric])


def test_patience_ends_the_search_and_more_of_it_goes_on(search, run, work):
    done = search("--patience", 1)
    assert "ended by patience after" in done.stderr
    assert "Ended by patience after" in done.stdout
    assert "best balanced accuracy of their trials on val" in done.stdout
    first = json.loads(run("status", "uneven", "--json").stdout)
    assert first["complete"] < 6
    assert first["ended"].startswith("ended by patience after")
    assert first["best"]["confirmed"]
    again = search("--patience", 1)
    assert "nothing was left to do" in again.stdout
    search("--patience", 6)
    more = json.loads(run("status", "uneven", "--json").stdout)
    assert (more["complete"], more["ended"]) == (6, None)


def test_every_value_is_balanced_accuracy(search, run, work):
    search("--patience", 6)
    folder = StudyFolder.find("uneven", work / "runs")
    records = folder.records()
    apart = 0
    for record in records:
        balanced = of_last_epoch(folder.path, record.number, "balanced_accuracy")
        assert record.value == pytest.approx(balanced, abs=1e-6)
        apart += abs(balanced - of_last_epoch(folder.path, record.number, "top1")) > 0.02
    assert apart
    state = read("uneven", work / "runs")
    assert state.winner is not None
    assert " balanced accuracy (2 seeds) on select" in state.winner.line
    assert state.winner.line in run("status", "uneven").stdout
    runs = (folder.finalists).glob(f"{state.winner.label}-*/result.json")
    values = [json.loads(path.read_text())["metrics"]["select"] for path in runs]
    assert state.winner.score.value == pytest.approx(
        statistics.fmean(value["balanced_accuracy"] for value in values)
    )
    card = (folder.best / "README.md").read_text()
    assert "balanced accuracy (2 seeds)" in card
