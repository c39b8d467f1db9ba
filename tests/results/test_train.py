import json
from functools import partial
from pathlib import Path

import pytest
import torch

import autosd
from autosd.errors import AutosdError, WorkFailed
from autosd.recipe import Recipe
from autosd.results import train as results

VALUES = {"data": "digits", "model": "resnet8", "epochs": 2, "batch_size": 64}
RECIPE = Recipe.parse(VALUES)


train = partial(results.train, threads=1)


class Stop(Exception):
    pass


def stop_after(epoch: int):
    def watch(report) -> None:
        if report.epoch == epoch:
            raise Stop

    return watch


def test_an_interrupted_run_goes_on_and_equals_an_uninterrupted_one(tmp_path: Path):
    whole = train(RECIPE, tmp_path / "whole")
    with pytest.raises(Stop):
        train(RECIPE, tmp_path / "parts", watch=stop_after(1))
    seen = []
    parts = train(RECIPE, tmp_path / "parts", watch=lambda report: seen.append(report.epoch))
    assert seen == [2]
    assert parts.metrics == whole.metrics
    one, other = (autosd.load(done.folder).state_dict() for done in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_being_asked_test_is_not_read(tmp_path: Path):
    done = train(RECIPE, tmp_path / "out")
    assert list(done.metrics) == ["val"]
    assert not (tmp_path / "out/split.json").exists()


def test_test_is_read_later_and_once(tmp_path: Path):
    train(RECIPE, tmp_path / "out")
    first = train(RECIPE, tmp_path / "out", test=True)
    again = train(RECIPE, tmp_path / "out", test=True)
    assert first.metrics == again.metrics
    assert list(train(RECIPE, tmp_path / "out").metrics) == ["val"]
    assert len(json.loads((tmp_path / "out/split.json").read_text())["test_readings"]) == 1


def test_another_recipe_in_the_folder_is_refused(tmp_path: Path):
    train(RECIPE, tmp_path / "out")
    with pytest.raises(AutosdError, match="another recipe"):
        train(RECIPE.with_seed(1), tmp_path / "out")


def test_a_diverging_run_says_what_helps(tmp_path: Path):
    values = {**VALUES, "optimizer": {"lr": 10, "weight_decay": 1}}
    with pytest.raises(WorkFailed, match=r"diverged at epoch 1.*optimizer\.lr"):
        train(Recipe.parse(values), tmp_path / "out")


def test_the_student_loads(tmp_path: Path):
    done = train(RECIPE, tmp_path / "out")
    assert len(autosd.load(done.folder).class_names) == 10
