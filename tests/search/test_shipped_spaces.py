"""The shipped spaces: readable, complete, with names that fit a dashboard."""

import itertools
import re
from pathlib import Path

import pytest

from autosd import resources
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search.advice import defaults
from autosd.search.space import Space
from autosd.strategies.check import check_combination, check_recipe
from autosd.strategies.strategy import discover

BASE = Recipe.parse({"data": "digits"})
SHIPPED = resources.names("search_spaces")
SETTINGS = {"erasing", "trivial", "ema", "swa"}
COMPOSED = {
    "compose_mixed": {
        "input": {"mixup", "cutmix"},
        "target": {"none", "label_smoothing"},
        "branch": {"none", "masd", "rskd", "drg", "byot", "dks"},
        "regulariser": {"none", "confidence_penalty", "sd_dropout"},
    },
    "compose_plain": {
        "target": {"none", "label_smoothing", "ps_kd", "ipasd", "tf_kd"},
        "branch": {"none", "masd", "rskd", "drg", "byot", "dks"},
        "regulariser": {"none", "confidence_penalty", "sd_dropout", "dsr", "zipf"},
    },
    "compose_replay": {
        "replay": {"dlb", "toast"},
        "branch": {"none", "masd", "drg", "byot", "dks"},
        "regulariser": {"none", "confidence_penalty", "sd_dropout", "zipf"},
    },
}
LONGEST_NAME = 30
WIDEST_LINE = 112


def shipped(name: str, stages: int = 3) -> Space:
    return Space.read(name, discover(), check_combination, stages=stages)


def test_a_strategy_that_needs_a_file_has_no_place_in_a_space(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("strategies: {soft_labels: {file: table.safetensors}}")
    with pytest.raises(AutosdError, match=r"mine\.yaml: .*soft_labels needs a file of its own"):
        Space.read(str(file), discover(), check_combination, stages=3)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("stages", [2, 4, 5])
def test_it_is_read_for_students_of_any_depth(name: str, stages: int) -> None:
    space = shipped(name, stages)
    for family in space.families:
        params = space.default_params(family)
        space.check_params(params)
        check_recipe(space.recipe(params, BASE))


@pytest.mark.parametrize("name", ["masd", "dks", "byot"])
def test_branches_are_searched_up_to_three(name: str) -> None:
    knobs = [shipped(name, stages).parameters()[f"{name}.num_taps"] for stages in (2, 3, 4, 6)]
    assert [knob.bounds for knob in knobs] == [(1, 1), (1, 2), (1, 3), (1, 3)]


@pytest.mark.parametrize("name", SHIPPED)
def test_its_names_fit_a_dashboard(name: str) -> None:
    for parameter in shipped(name).parameters():
        assert len(parameter) <= LONGEST_NAME
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", parameter)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_begins_with_words_and_explains_every_range(name: str) -> None:
    lines = resources.find("search_spaces", name).read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= WIDEST_LINE
    for before, line in itertools.pairwise(lines):
        if re.search(r"\{(uniform|log_uniform|integers|choice):", line) and line[0] != "#":
            assert before.strip().startswith("#"), line


def test_the_joint_space_has_every_searched_strategy_setting_and_composition() -> None:
    families = set(shipped("joint").families)
    searched = {name for name, strategy in discover().items() if strategy.searched}
    assert families == {*searched, "lightskd", *SETTINGS, *COMPOSED}


def test_the_four_knobs_asked_for_most_stand_at_the_top_of_the_joint_space() -> None:
    text = resources.find("search_spaces", "joint").read_text(encoding="utf-8")
    top = text.split("recipe:")[0]
    space = shipped("joint")
    for knob in (
        "masd.mask_ratio",
        "masd.weighting_temperature",
        "rskd.residual_layers",
        "toast.medoid_mix",
    ):
        assert knob in top
        assert knob in space.parameters()


def test_the_controls_are_the_cheap_ones() -> None:
    assert set(shipped("controls").families) == {
        *("cross_entropy", "label_smoothing", "confidence_penalty", "mixup", "cutmix"),
        *SETTINGS,
    }


def test_the_first_look_is_small() -> None:
    assert 4 <= len(shipped("small").families) <= 5


@pytest.mark.parametrize("name", COMPOSED)
def test_a_composed_family_has_the_members_it_should(name: str) -> None:
    (family,) = (each for each in shipped(name).members if each.name == name)
    found = {slot.name.removeprefix(f"{name}."): set(slot.choices) for slot in family.slots}
    assert found == COMPOSED[name]


@pytest.mark.parametrize("name", COMPOSED)
def test_the_default_of_a_composed_family_is_a_composition(name: str) -> None:
    space = shipped(name)
    recipe = space.recipe(space.default_params(name), BASE)
    assert len(recipe.strategies) == 2


def test_every_member_of_a_composition_is_among_its_checked_defaults() -> None:
    space = shipped("compose_plain")
    found = {
        each.name
        for recipe in defaults(space, space.family("compose_plain"), BASE)
        for each in recipe.strategies
    }
    members = {name for names in COMPOSED["compose_plain"].values() for name in names}
    assert found == members - {"none"}
