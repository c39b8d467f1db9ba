"""`autosd compare` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from autosd import yamlfile
from autosd.recipe import StudyDefinition
from autosd.search.lock import StudyLock
from autosd.search.space import Space
from autosd.search.study import StudyFolder, lock_path
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

Invoke = Callable[..., Result]
STUDY = """
name: small
recipe:
  data: {name: digits, split: {seed: 0, val: 300, select: 900}}
  model: resnet8
  epochs: 1
  batch_size: 64
space: seeds
"""


@pytest.fixture
def compare(here: Path, invoke: Invoke) -> Invoke:
    (here / "small.yaml").write_text(STUDY)
    return lambda *words: invoke("compare", "small.yaml", "--inline", *words)


def test_the_table_says_what_was_found_and_where_the_page_is(compare: Invoke, here: Path) -> None:
    done = compare("--strategies", "dlb, label_smoothing", "--seeds", 2)
    assert done.exit_code == 0
    for part in ("Scores on val", "cross_entropy", "dlb", "±", "to CE (95 % interval)", "Holm's"):
        assert part in done.stdout
    assert "Equal epochs (1)" in done.stdout
    assert "page: runs/small/compare/compare.html" in done.stdout
    assert (here / "runs/small/compare/compare.html").is_file()
    assert not (here / "runs/small/study.yaml").exists()


def test_one_json_object_on_standard_output(
    compare: Invoke, assert_documented: Callable[[str, object], None]
) -> None:
    done = compare("--strategies", "ddgsd", "--seeds", 1, "--epochs", 2, "--test", "--json")
    values = json.loads(done.stdout)
    assert_documented("compare", values)
    assert (values["part"], values["seeds"], values["budget"]) == ("test", [2000], "epochs")
    plain, ddgsd = values["rows"]
    assert plain["difference"] is None
    assert set(ddgsd) >= {"recipe", "strategies", "n", "val", "test", "difference", "verdict"}
    assert set(ddgsd["difference"]) >= {"mean", "low", "high", "p", "p_holm"}
    assert ddgsd["cost"]["declared"]["step"] == 2.0
    assert values["files"]["html"] == "compare-e2.html"


def test_few_steps_are_told_of_before_the_work(compare: Invoke) -> None:
    done = compare("--strategies", "dlb", "--seeds", 1)
    note, *others = done.stderr.splitlines()
    assert note.startswith("note: 300 training images in batches of 64 are 5 steps an epoch")
    assert others


def test_compute_may_be_held_equal(compare: Invoke) -> None:
    done = compare(
        "--strategies", "ddgsd", "--seeds", 1, "--set", "epochs=2", "--budget", "compute"
    )
    assert done.exit_code == 0
    assert "Equal compute: as many image passes as 2 epochs" in done.stdout


def test_a_wrong_name_is_told_before_anything_is_written(compare: Invoke, here: Path) -> None:
    done = compare("--strategies", "mads,cutmix")
    assert done.exit_code == 2
    assert "error: --strategies: no strategy or family named 'mads'" in done.stderr
    assert "Did you mean 'masd'?" in done.stderr
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("masd.mask_ratio=0.3", "--set masd.mask_ratio: strategies with other knobs"),
        ("masd.mask_ratio={uniform: [0, 0.2]}", "--set masd.mask_ratio: strategies with other"),
        ("optimizer.lr={uniform: [0.1, 0.2]}", "--set optimizer.lr: one value is needed"),
        ("optimiser.lr=0.1", "Did you mean 'optimizer'?"),
    ],
)
def test_what_a_comparison_would_pass_over_is_refused(
    compare: Invoke, here: Path, setting: str, told: str
) -> None:
    done = compare("--strategies", "masd", "--set", setting)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not (here / "runs").exists()


def test_no_name_at_all_is_no_field(compare: Invoke) -> None:
    done = compare("--strategies", ",")
    assert done.exit_code == 2
    assert "at least one name" in done.stderr


def test_a_study_that_has_begun_is_compared_as_it_is(here: Path, invoke: Invoke) -> None:
    """Its folder has the recipe it was searched with, whatever the file of its name says."""
    definition = StudyDefinition.parse(yamlfile.loads(STUDY.replace("small", "digits"), "study"))
    space = Space.read("seeds", discover(), check_combination, stages=3)
    with StudyLock(lock_path(here / "runs", "digits")):
        StudyFolder.prepare(here / "runs", definition, space)
    for study in ("digits", "runs/digits"):
        done = invoke("compare", study, "--strategies", "dlb", "--seeds", 1, "--inline")
        assert done.exit_code == 0
        assert "Equal epochs (1)" in done.stdout
        assert "runs/digits/compare/compare.html" in done.stdout
