from itertools import permutations
from pathlib import Path

import pytest

from autosd.cli.definition import assignments, resolve
from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.search.definition import base_values, seconds, study_name

FILE = {"name": "mine", "recipe": {"data": "digits", "epochs": 7}, "trials": 9}


def test_no_words_mean_the_digits_study(tmp_path: Path):
    values, where = base_values(None, None, tmp_path)
    assert values["name"] == "digits"
    assert where == "study digits"


def test_an_option_beats_the_file():
    definition, _ = resolve(FILE, "file", {"recipe.epochs": 3, "trials": None}, {})
    assert (definition.recipe.epochs, definition.trials) == (3, 9)


def test_a_data_option_keeps_the_split_of_the_file():
    values = {"name": "mine", "recipe": {"data": {"name": "digits", "split": {"seed": 5}}}}
    definition, _ = resolve(values, "file", {"recipe.data.name": "npz:x.npz"}, {})
    assert definition.recipe.data.name == "npz:x.npz"
    assert definition.recipe.data.split.seed == 5


def test_set_reaches_study_recipe_and_space():
    sets = assignments(["finalists.seeds=5", "optimizer.lr=1e-2", "masd.mask_ratio=0.2"])
    definition, fixed = resolve(FILE, "file", {}, sets)
    assert definition.finalists.seeds == 5
    assert definition.recipe.optimizer.lr == 0.01
    assert fixed == {"optimizer.lr": 0.01, "masd.mask_ratio": 0.2}


def test_a_range_is_the_spaces_alone():
    pairs = ["optimizer.lr={log_uniform: [0.02, 0.2]}", "recipe.batch_size={choice: [8]}"]
    definition, drawn = resolve(FILE, "file", {}, assignments(pairs))
    assert definition == resolve(FILE, "file", {}, {})[0]
    assert drawn == {"optimizer.lr": {"log_uniform": [0.02, 0.2]}, "batch_size": {"choice": [8]}}


def test_a_range_where_none_can_be_is_a_fault_in_the_users_words():
    with pytest.raises(AutosdError, match=r"^--set epochs: .* valid integer"):
        resolve(FILE, "file", {}, assignments(["epochs={integers: [1, 9]}"]))


def test_one_place_under_two_names_is_refused():
    for pairs in permutations(["recipe.optimizer.lr={uniform: [0.1, 0.2]}", "optimizer.lr=0.07"]):
        with pytest.raises(AutosdError, match=r"--set optimizer\.lr: is given twice"):
            resolve(FILE, "file", {}, assignments(pairs))


def test_the_order_of_settings_does_not_matter():
    pairs = ["optimizer.lr=0.05", "batch_size=64", "finalists.count=2"]
    found = {resolve(FILE, "f", {}, assignments(order))[0].mapping().__repr__()
             for order in permutations(pairs)}  # fmt: skip
    assert len(found) == 1


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("npz:../shared/CIFAR100_10k.npz", "cifar100_10k"),
        ("folder:/data/Apple Leaves/", "apple_leaves"),
        ("cifar10", "cifar10"),
        ("folder:..", "study"),
    ],
)
def test_a_study_without_a_file_is_named_after_its_data(data, name):
    assert study_name(data) == name


def test_data_without_a_study_file_has_a_sensible_definition(tmp_path: Path):
    values, where = base_values(None, "npz:leaves.npz", tmp_path)
    definition, _ = resolve(values, where, {}, {})
    assert definition.name == "leaves"
    assert definition.recipe.data.name == "npz:leaves.npz"
    assert definition.space == "seeds"


def test_data_with_a_shipped_study_takes_it(tmp_path: Path):
    values, _ = base_values(None, "fashion_mnist", tmp_path)
    assert values["recipe"]["augment"] == {"crop": 0, "flip": False}


def test_a_started_study_is_found_by_its_name(tmp_path: Path):
    folder = tmp_path / "leaves"
    folder.mkdir()
    (folder / "study.yaml").write_text("name: leaves\nrecipe: {data: digits}\n")
    assert base_values("leaves", None, tmp_path)[0]["name"] == "leaves"


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1d", 86400)]
)
def test_times(text, value):
    assert seconds(text, "--time-budget") == value


@pytest.mark.parametrize("text", ["", "soon", "-5", "0", "3 weeks", "1h30"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(AutosdError, match="--time-budget"):
        seconds(text, "--time-budget")


def test_every_shipped_study_is_a_definition():
    from autosd import resources, yamlfile

    for name in resources.names("studies"):
        path = resources.find("studies", name)
        assert StudyDefinition.parse(yamlfile.read(path)).name == name
        assert f"autosd search {name}" in path.read_text() or name == "digits"


def test_a_study_folder_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "renamed").mkdir()
    (tmp_path / "renamed/study.yaml").write_text("{name: first, recipe: {data: digits}}")
    with pytest.raises(AutosdError, match="is the study 'first'; to go on, move its folder"):
        base_values("renamed", None, tmp_path)
