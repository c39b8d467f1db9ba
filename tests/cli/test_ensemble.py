"""`autosd ensemble` as it is typed: tables for people, one object for machines."""

import json
import shutil
from pathlib import Path

import pytest

from autosd.recipe import StudyDefinition
from autosd.results.found import search
from autosd.search.ready import check

from .documented import assert_documented

DEFINITION = {
    "name": "small",
    "recipe": {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 128},
    "space": "label_smoothing",
    "trials": 2,
    "finalists": {"count": 1, "seeds": 1},
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with a small finished one; not to be changed."""
    runs = tmp_path_factory.mktemp("runs")
    search(check(StudyDefinition.parse(DEFINITION)), runs, engine="inline")
    return runs


@pytest.fixture
def runs(searched: Path, here: Path) -> Path:
    shutil.copytree(searched, here / "runs")
    return here / "runs"


def test_json_is_as_documented_with_and_without_distillation(invoke, runs: Path) -> None:
    plain = invoke("ensemble", "small", "--size", "2", "--json", "--inline")
    assert plain.exit_code == 0, plain.stderr
    assert_documented("ensemble", json.loads(plain.stdout))
    words = ["--size", "2", "--distill", "--seeds", "1", "--json", "--inline"]
    both = invoke("ensemble", "small", *words)
    said = json.loads(both.stdout)
    assert_documented("ensemble", said)
    assert said["distilled"]["rows"]
    assert said["members"] == json.loads(plain.stdout)["members"]


def test_people_read_kinds_members_scores_and_what_they_show(invoke, runs: Path) -> None:
    shown = invoke("ensemble", "small", "--inline").stdout
    for part in ("Kinds", "Members", "Scores", "chosen", "none kept", "not other training seeds"):
        assert part in shown
    assert "ensemble: runs/small/ensemble" in shown
    assert "test was not read again" in invoke("ensemble", "small", "--inline").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smal"], "Did you mean 'small'?"),
        (["small", "--metric", "top5"], "top5"),
        (["small", "--size", "0"], "size"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(invoke, runs, words, message) -> None:
    done = invoke("ensemble", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (runs / "small/ensemble").exists()


def test_the_help_has_an_example_and_names_the_defaults_of_soft_labels(invoke) -> None:
    shown = invoke("ensemble", "--help").stdout
    assert "Example" in shown
    assert "autosd ensemble digits --distill" in shown
    assert all(f"default: {value}" in shown for value in ("4.0", "0.9", "8"))
