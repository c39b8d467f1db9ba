"""Who takes part in a comparison."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.models.student import Student
from autosd.recipe import ModelSpec, Recipe
from autosd.results.compare_entries import Field, field_of
from autosd.search.space import Space
from autosd.strategies.check import check_combination
from autosd.strategies.strategy import discover

BASE = Recipe.parse({"data": "digits", "epochs": 7, "optimizer": {"lr": 0.05}, "seed": 3})


@pytest.fixture(scope="module")
def student() -> Student:
    return build_student(ModelSpec(name="resnet8"), 10, (1, 8, 8), seed=0)


def entries(student: Student, names: Sequence[str], space: str = "seeds") -> Field:
    stages = len(student.spec.stages)
    read = Space.read(space, discover(), check_combination, stages=stages)
    return field_of(BASE, read, student, names)


def faults(student: Student, names: Sequence[str]) -> str:
    with pytest.raises(AutosdError) as caught:
        entries(student, names)
    return str(caught.value)


def written(path: Path, **changes: Any) -> str:
    recipe = Recipe.parse({**BASE.mapping(), **changes})
    path.write_text(yamlfile.dumps(recipe.mapping()))
    return str(path)


def test_without_names_all_strategies_and_families_take_part(student: Student) -> None:
    field = entries(student, ())
    labels = [entry.label for entry in field.entries]
    assert labels[0] == "cross_entropy"
    assert set(labels) == {*discover(), "lightskd"} - {"soft_labels"}
    assert len(set(labels)) == len(labels)


def test_only_the_strategies_differ(student: Student) -> None:
    """The space's own learning rate is not taken over."""
    for entry in entries(student, ()).entries:
        assert entry.recipe.model_copy(update={"strategies": BASE.strategies}) == BASE


def test_a_family_has_the_published_defaults_of_its_members(student: Student) -> None:
    _, lightskd = entries(student, ["lightskd"]).entries
    knobs = {spec.name: spec.knobs for spec in lightskd.recipe.strategies}
    assert set(knobs) == {"drg", "dsr"}
    assert knobs["drg"]["temperature"] == knobs["dsr"]["temperature"] == 4


def test_a_family_of_another_shipped_space_is_found(student: Student) -> None:
    _, ema = entries(student, ["ema"], space="masd").entries
    assert ema.recipe.average.kind == "ema"


def test_cross_entropy_always_comes_first_and_once(student: Student) -> None:
    labels = [one.label for one in entries(student, ["masd", "cross_entropy", "masd"]).entries]
    assert labels == ["cross_entropy", "masd"]


def test_a_file_with_the_recipe_of_another_entry_is_told_of(
    student: Student, tmp_path: Path
) -> None:
    field = entries(student, [written(tmp_path / "best.yaml")])
    assert [entry.label for entry in field.entries] == ["cross_entropy"]
    assert field.left_out == ("best is the recipe of cross_entropy: one row for both.",)


def test_what_cannot_run_on_the_student_is_left_out_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    student = build_student(ModelSpec(name="resnet8"), 10, (1, 8, 8), seed=0)
    monkeypatch.setattr(discover()["dks"], "check", classmethod(lambda *_: ["dks: no stages"]))
    field = entries(student, ())
    assert "dks" not in [entry.label for entry in field.entries]
    assert field.left_out == ("left out: dks: no stages",)
    assert "no stages" in faults(student, ["dks"])


def test_all_faults_are_told_together(student: Student) -> None:
    text = faults(student, ["mads", "nothing/here.yaml"])
    assert "no strategy or family named 'mads'" in text
    assert "Did you mean 'masd'?" in text
    assert "nothing/here.yaml: no such recipe file" in text


def test_a_recipe_of_other_data_or_another_network_is_refused(
    student: Student, tmp_path: Path
) -> None:
    assert "data: differs" in faults(student, [written(tmp_path / "a.yaml", data="cifar10")])
    assert "model: differs" in faults(student, [written(tmp_path / "b.yaml", model="resnet20")])


def test_a_recipe_file_keeps_its_training_but_not_its_budget(
    student: Student, tmp_path: Path
) -> None:
    path = written(tmp_path / "Winner 1.yaml", optimizer={"lr": 0.2}, epochs=99, seed=9)
    _, winner = entries(student, [path]).entries
    assert winner.label == "winner_1"
    assert (winner.recipe.optimizer.lr, winner.recipe.epochs, winner.recipe.seed) == (0.2, 7, 3)


def test_two_recipes_of_one_name_are_refused(student: Student, tmp_path: Path) -> None:
    path = written(tmp_path / "masd.yaml", optimizer={"lr": 0.2})
    assert "two different recipes are called masd" in faults(student, ["masd", path])


def test_our_readings_are_known(student: Student) -> None:
    field = entries(student, ["rskd", "toast", "masd"])
    assert [entry.label for entry in field.entries if entry.is_reading] == ["rskd", "toast"]
