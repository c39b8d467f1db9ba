"""The folder of a trial, and what is left in it of a trial that the database has lost."""

from pathlib import Path

from autosd.recipe import Recipe
from autosd.search.folders import take


def recipe(lr: float) -> Recipe:
    return Recipe.parse({"data": "digits", "epochs": 2, "optimizer": {"lr": lr}})


def begun(folder: Path) -> Path:
    take(folder, recipe(0.1))
    (folder / "history.jsonl").write_text('{"epoch": 1}\n')
    return folder


def test_a_trial_finds_what_it_had_written_when_it_goes_on(tmp_path: Path) -> None:
    take(begun(tmp_path / "0003"), recipe(0.1))
    assert (tmp_path / "0003/history.jsonl").exists()


def test_a_trial_finds_nothing_of_another_one_that_had_its_number(tmp_path: Path) -> None:
    take(begun(tmp_path / "0003"), recipe(0.2))
    assert [path.name for path in (tmp_path / "0003").iterdir()] == ["recipe.yaml"]
    assert Recipe.read(tmp_path / "0003/recipe.yaml") == recipe(0.2)


def test_a_recipe_that_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    folder = begun(tmp_path / "0003")
    (folder / "recipe.yaml").write_text("data: [")
    take(folder, recipe(0.1))
    assert (folder / "history.jsonl").exists()
