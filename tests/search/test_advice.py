"""A space on a student: every member of a composition is checked, each advice comes once."""

from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.recipe import ModelSpec, Recipe
from autosd.search.advice import check_space, few_steps
from autosd.search.space import Space
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

BASE = Recipe.parse({"data": "digits", "epochs": 2})


def read(folder: Path, text: str) -> Space:
    file = folder / "mine.yaml"
    file.write_text(text)
    return Space.read(file, discover(), check_combination, stages=3)


def test_advice_comes_once_however_many_trials_it_concerns() -> None:
    student = build_student(ModelSpec(name="resnet8"), 2, (1, 16, 16), seed=0)
    space = Space.read("compose_plain", discover(), check_combination, stages=3)
    advice = check_space(space, BASE, student)
    pairs = [line.split(":")[0] for line in advice if "prior twice" in line]
    assert pairs == ["confidence_penalty and label_smoothing", "confidence_penalty and tf_kd"]
    assert sum("of two classes one is wrong" in line for line in advice) == 1


def test_few_images_in_large_batches_are_told_of() -> None:
    said = few_steps(BASE, 546)
    assert said == (
        "546 training images in batches of 128 are 5 steps an epoch; smaller batches train further "
        "in the same epochs: --set batch_size=32",
    )
    assert few_steps(BASE, 9 * 128 + 1) == ()


def test_the_advised_batch_is_smaller_and_large_enough_for_a_norm() -> None:
    small = BASE.model_copy(update={"batch_size": 32})
    (said,) = few_steps(small, 200)
    assert "200 training images in batches of 32 are 7 steps" in said
    assert said.endswith("--set batch_size=16")
    assert "are 1 step an epoch" in few_steps(BASE, 100)[0]
    assert few_steps(small, 60) == ()


def test_a_member_that_cannot_work_on_the_student_is_named(tmp_path: Path) -> None:
    student = build_student(ModelSpec(name="resnet8"), 10, (1, 16, 16), seed=0)
    text = "strategies: {mine: {choices: {branch: [none, byot, masd]}, knobs: {masd.num_taps: 3}}}"
    with pytest.raises(AutosdError) as caught:
        check_space(read(tmp_path, text), BASE, student)
    assert str(caught.value) == "masd.num_taps: resnet8 has 3 stages, so at most 2, not 3"


def test_a_good_space_needs_no_advice() -> None:
    student = build_student(ModelSpec(name="resnet8"), 10, (1, 16, 16), seed=0)
    space = Space.read("small", discover(), check_combination, stages=3)
    assert check_space(space, BASE, student) == ()
