"""Names, knobs and combinations: one clear line for each fault, before anything is trained."""

import itertools

import pytest
import torch

from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.recipe import ModelSpec, Recipe
from autosd.strategies.check import (
    build_strategies,
    check_combination,
    check_on_student,
    check_recipe,
    knobs_of,
)
from autosd.strategies.strategy import Effect, Slot, discover

from .synthetic import TinyStudent, run_spec

FIRST_TEN = {
    "cross_entropy",
    "label_smoothing",
    "masd",
    "ipasd",
    "rskd",
    "drg",
    "dsr",
    "toast",
    "ps_kd",
    "dlb",
}
EXCLUDED = {
    *itertools.combinations(("ipasd", "label_smoothing", "ps_kd", "toast"), 2),
    *itertools.combinations(("drg", "masd", "rskd"), 2),
    ("dlb", "toast"),
    ("dlb", "rskd"),
    ("rskd", "toast"),
    ("dlb", "dsr"),
    ("dsr", "toast"),
    ("dlb", "ipasd"),
    ("dlb", "ps_kd"),
}


def recipe_of(*strategies, **changes):
    return Recipe.parse({"data": "digits", "strategies": list(strategies), **changes})


def message(*strategies, **changes):
    with pytest.raises(AutosdError) as raised:
        check_recipe(recipe_of(*strategies, **changes), "recipe.yaml")
    return str(raised.value)


def test_all_strategies_are_found():
    assert set(discover()) >= FIRST_TEN
    assert all(name == strategy.__module__.split(".")[-1] for name, strategy in discover().items())


def test_unknown_strategy_names_the_nearest():
    text = message("mads")
    assert text.startswith("recipe.yaml: no strategy named 'mads'; there are: ")
    assert text.endswith("Did you mean 'masd'?")


def test_unknown_knob_names_the_nearest():
    text = message({"masd": {"mask_ration": 0.1}})
    assert text.startswith("recipe.yaml: masd: mask_ration: unknown key; allowed: mask_ratio, ")
    assert text.endswith("Did you mean 'mask_ratio'?")


def test_value_out_of_bounds_says_what_is_allowed():
    text = message({"masd": {"mask_ratio": 1.5}})
    assert text == (
        "recipe.yaml: masd: mask_ratio: Input should be less than or equal to 1, not 1.5"
    )


def test_unknown_choice_says_the_choices():
    assert "'snapshot' or 'ema', not 'emma'" in message({"rskd": {"teacher": "emma"}})


def test_all_faults_come_together():
    lines = message({"mads": {}}, {"drg": {"alpha": -1}}, "masd", "dlb", "dsr").splitlines()
    assert len(lines) == 4
    assert all(line.startswith("recipe.yaml: ") for line in lines)


@pytest.mark.parametrize("pair", list(itertools.combinations(sorted(FIRST_TEN), 2)))
def test_which_pairs_exclude_each_other(pair):
    for names in (pair, pair[::-1]):
        if pair in EXCLUDED:
            with pytest.raises(AutosdError) as raised:
                check_combination(names)
            text = str(raised.value)
            assert text.startswith(f"{names[0]} and {names[1]} exclude each other: ")
            assert len(text.splitlines()) == 1
        else:
            check_combination(names)


def test_refusal_names_slot_and_reason():
    with pytest.raises(AutosdError, match="both claim the slot 'heads'; both read the same stages"):
        check_combination(["masd", "drg"])
    with pytest.raises(AutosdError, match="dsr refuses extra rows: it pairs row i of one batch"):
        check_combination(["dlb", "dsr"])


def test_lightskd_and_unknown_names_in_a_combination():
    check_combination(["drg", "dsr"])
    with pytest.raises(AutosdError, match="no strategy named 'dgr'"):
        check_combination(["dgr"])


def test_every_refusal_has_a_reason_and_is_of_an_effect():
    for strategy in discover().values():
        assert all(isinstance(effect, Effect) and why for effect, why in strategy.refuses.items())
        assert all(isinstance(slot, Slot) for slot in strategy.slots)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        (
            {"masd": {"num_taps": 3}},
            "masd.num_taps: resnet8 has 3 stages, so at most 2, not 3",
        ),
        (
            {"rskd": {"residual_layers": 4}},
            "rskd.residual_layers: resnet8 has 3 stages, so at most 3, not 4",
        ),
        (
            {"drg": {"tap": 3}},
            "drg.tap: resnet8 has 3 stages and the head reads one before the last, "
            "so at most 2, not 3",
        ),
    ],
)
def test_what_the_student_cannot_give_is_said(strategy, text):
    student = build_student(ModelSpec(name="resnet8"), 10, (1, 16, 16), seed=0)
    with pytest.raises(AutosdError) as raised:
        check_on_student(recipe_of(strategy), student)
    assert str(raised.value) == text


def test_light_branches_are_said():
    student = build_student(ModelSpec(name="mobilenetv3_small_050"), 10, (3, 32, 32), seed=0)
    (note,) = check_on_student(recipe_of("masd"), student)
    assert "mobilenetv3_small_050 has no blocks to copy" in note
    assert check_on_student(recipe_of({"masd": {"num_taps": 0}}), student) == []


def test_a_teacher_that_never_begins_is_said():
    (warning,) = check_recipe(recipe_of("rskd", epochs=1))
    assert "plain training" in warning
    assert check_recipe(recipe_of("rskd", epochs=2)) == []


def test_knobs_have_published_defaults_for_what_is_not_given():
    knobs = knobs_of("masd", {"mask_ratio": 0.3})
    assert (knobs.mask_ratio, knobs.kd_weight, knobs.temperature, knobs.num_taps) == (
        0.3,
        1.5,
        4,
        2,
    )
    assert knobs_of("masd", {"weighting_temperature": float("inf")}).weighting_temperature > 1e308


def test_building_one_strategy_does_not_move_the_others():
    student = TinyStudent()
    run = run_spec(3, [0, 1, 2], 3)
    alone = build_strategies(recipe_of("masd"), student, run, seed=5)
    beside = build_strategies(recipe_of("dsr", "label_smoothing", "masd"), student, run, seed=5)
    other = build_strategies(recipe_of("masd"), student, run, seed=6)
    pairs = list(zip(alone.parameters(), beside["masd"].parameters(), strict=True))
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert not all(map(torch.equal, alone.parameters(), other.parameters()))


def test_what_mixes_comes_last():
    names = [name for name, strategy in discover().items() if Slot.MIX in strategy.slots]
    for name in names:
        run = run_spec(3, [0, 1, 2], 3)
        built = build_strategies(recipe_of(name, "confidence_penalty"), TinyStudent(), run, seed=0)
        assert list(built) == ["confidence_penalty", name]


def test_a_discouraged_pair_is_allowed_and_warned_about_once():
    (warning,) = check_recipe(recipe_of("label_smoothing", "confidence_penalty"))
    assert warning == (
        "confidence_penalty and label_smoothing: both want evener predictions, nearly the same "
        "prior twice"
    )
    assert check_recipe(recipe_of("label_smoothing", "sd_dropout")) == []


def test_every_discouragement_has_a_reason_and_is_of_an_effect():
    for strategy in discover().values():
        assert all(
            isinstance(effect, Effect) and why for effect, why in strategy.discourages.items()
        )


@pytest.mark.parametrize("name", ["uskd", "zipf"])
def test_two_classes_and_a_term_over_the_wrong_ones_is_said(name):
    student = build_student(ModelSpec(name="resnet8"), 2, (1, 16, 16), seed=0)
    (note,) = check_on_student(recipe_of(name), student)
    assert note.startswith(f"{name}: of two classes one is wrong")
    more = build_student(ModelSpec(name="resnet8"), 3, (1, 16, 16), seed=0)
    assert check_on_student(recipe_of(name), more) == []


def test_a_memory_that_does_not_fit_is_refused_with_its_name_before_anything_is_trained():
    student = build_student(ModelSpec(name="resnet8"), 1000, (3, 16, 16), seed=0)
    assert check_on_student(recipe_of("ipasd", "ps_kd"), student, images=1_000_000) == []
    with pytest.raises(AutosdError) as raised:
        check_on_student(recipe_of("dsr", "ipasd"), student, images=1_281_167)
    (line,) = str(raised.value).splitlines()
    assert line == (
        "ipasd: its memory of 1281167 images x 1000 classes would take 4.8 GiB; at most 4 GiB "
        "are allowed, so leave ipasd out, or take fewer images or classes"
    )


TABLES_OF_POSITIONS = 4 * 8


@pytest.mark.parametrize("name", list(discover()))
def test_what_is_kept_of_every_image_is_declared(name):
    classes = 50

    def kept(images):
        run = run_spec(classes, [k % classes for k in range(images)], 4)
        strategy = discover()[name](discover()[name].Knobs(), TinyStudent(classes), run)
        return sum(buffer.nbytes for buffer in strategy.buffers())

    per_image = (kept(600) - kept(200)) / 400
    declared = 4 * classes * discover()[name].memories
    assert declared <= per_image <= declared + TABLES_OF_POSITIONS
