"""T1: names, prefixes, families, defaults, faults, fingerprint of spaces."""

import random
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search.knobs import KINDS, Family, Knob
from autosd.search.space import Space

BASE = Recipe.parse({"data": "digits"})


def draws(space: Space, count: int = 60) -> list[tuple[dict[str, Any], Recipe]]:
    """Parameters and recipes of random trials."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    found = []
    for _ in range(count):
        trial = study.ask()
        recipe = space.define(trial, BASE)
        study.tell(trial, 0.0)
        found.append((study.trials[-1].params, recipe))
    return found


def faults(read: Any, text: str, **options: Any) -> list[str]:
    """The lines of what is wrong with a space."""
    with pytest.raises(AutosdError) as caught:
        read(text, **options)
    return str(caught.value).splitlines()


def test_every_family_is_reached_and_knobs_carry_its_prefix(joint: Space) -> None:
    seen: dict[str, set[str]] = {}
    for params, _ in draws(joint):
        seen.setdefault(params["strategy"], set()).update(params)
    shared = {"strategy", "optimizer.lr"}
    assert {family: names - shared for family, names in seen.items()} == {
        "cross_entropy": set(),
        "masd": {"masd.mask_ratio", "masd.num_taps", "masd.kd_weight"},
        "rskd": {"rskd.residual_layers", "rskd.teacher", "rskd.ema_momentum"},
        "lightskd": {"drg.alpha", "dsr.weight", "lightskd.temperature"},
        "mixup": {"mixup.alpha"},
    }
    assert all(shared <= names for names in seen.values())


def test_a_recipe_has_the_drawn_values_in_place(joint: Space) -> None:
    for params, recipe in draws(joint):
        assert recipe.optimizer.lr == params["optimizer.lr"]
        assert joint.recipe(params, BASE) == recipe
        assert tuple(each.name for each in recipe.strategies) == joint.strategies(params)
        for each in recipe.strategies:
            for knob, value in each.knobs.items():
                shared = params.get("lightskd.temperature")
                assert value == params.get(f"{each.name}.{knob}", shared)


def test_a_conditional_knob_exists_only_under_its_condition(joint: Space) -> None:
    trials = [params for params, _ in draws(joint) if params["strategy"] == "rskd"]
    assert {params["rskd.teacher"] for params in trials} == {"snapshot", "ema"}
    for params in trials:
        assert ("rskd.ema_momentum" in params) == (params["rskd.teacher"] == "ema")


def test_published_defaults_are_valid_parameters(joint: Space) -> None:
    for family in joint.families:
        joint.check_params(joint.default_params(family))
    assert joint.default_params("masd") == {
        "strategy": "masd",
        "optimizer.lr": 0.1,
        "masd.mask_ratio": 0.15,
        "masd.num_taps": 2,
        "masd.kd_weight": 1.5,
    }


def test_bounds_follow_the_stages_of_the_student(read: Any) -> None:
    small, large = read("masd", stages=2), read("masd", stages=4)
    assert small.parameters()["masd.num_taps"].bounds == (1, 1)
    assert small.default_params("masd")["masd.num_taps"] == 1
    assert large.parameters()["masd.num_taps"].bounds == (1, 3)
    assert small.fingerprint != large.fingerprint


@pytest.mark.parametrize("bound", ["min(2, stages - 1)", " min( 2,stages-1 ) "])
def test_a_bound_may_be_the_smaller_of_a_number_and_the_stages(read: Any, bound: str) -> None:
    text = f"strategies: {{masd: {{num_taps: {{integers: [1, '{bound}']}}}}}}"
    highest = [
        read(text, stages=stages).parameters()["masd.num_taps"].bounds[1] for stages in (2, 3, 6)
    ]
    assert highest == [1, 2, 2]


def test_a_knob_may_be_fixed_or_narrowed(read: Any) -> None:
    space = read(
        "strategies: {rskd: {residual_layers: 2}, masd: {mask_ratio: {uniform: [0.1, 0.3]}}}"
    )
    recipe = space.recipe(space.default_params("rskd"), BASE)
    assert "rskd.residual_layers" not in space.parameters()
    assert recipe.strategies[0].knobs["residual_layers"] == 2
    assert space.parameters()["masd.mask_ratio"].bounds == (0.1, 0.3)
    assert "masd.kd_weight" in space.parameters()


def test_narrowing_keeps_condition_and_default(read: Any, spaces: Path) -> None:
    space = read("strategies: {rskd: {ema_momentum: {choice: [0.999, 0.9]}}}")
    assert space.parameters()["rskd.ema_momentum"].when[0].name == "rskd.teacher"
    text = "strategies: {mixup: {alpha: {uniform: [0.1, 1], default: 0.7}}}"
    (spaces / "mixup.yaml").write_text(text)
    space = read("strategies: {mixup: {alpha: {uniform: [0.5, 1]}}}")
    assert space.default_params("mixup")["mixup.alpha"] == 0.7


def test_fixing_the_condition_decides_the_conditional_knob(read: Any) -> None:
    snapshot = read("strategies: {rskd: {teacher: snapshot}}")
    moving = read("strategies: {rskd: {teacher: ema}}")
    assert "rskd.ema_momentum" not in snapshot.parameters()
    assert moving.parameters()["rskd.ema_momentum"].when == ()


def test_plain_training_takes_part_in_every_space(read: Any) -> None:
    assert read("masd").families == ("cross_entropy", "masd")


def test_settings_of_the_recipe_make_a_family(read: Any) -> None:
    space = read("strategies: {ema: {recipe: {average.kind: ema, average.momentum: 0.9}}}")
    recipe = space.recipe({"strategy": "ema"}, BASE)
    assert (recipe.average.kind, recipe.average.momentum) == ("ema", 0.9)
    assert [each.name for each in recipe.strategies] == ["cross_entropy"]


COMPOSED = """
strategies:
  mixed:
    choices: {input: [mixup], branch: [none, masd, rskd]}
    knobs: {masd.num_taps: 1}
"""


def test_a_composed_family_searches_only_the_knobs_of_drawn_members(read: Any) -> None:
    space = read(COMPOSED)
    seen = set()
    for params, recipe in draws(space, 80):
        if params["strategy"] != "mixed":
            continue
        names = [each.name for each in recipe.strategies]
        branch = params["mixed.branch"]
        seen.add(branch)
        assert names == (["mixup"] if branch == "none" else ["mixup", branch])
        prefixes = {name.split(".")[0] for name in params} - {"strategy", "mixed"}
        assert prefixes == set(names)
        if branch == "masd":
            assert recipe.strategies[1].knobs["num_taps"] == 1
    assert seen == {"none", "masd", "rskd"}
    assert space.default_params("mixed") == {
        "strategy": "mixed",
        "mixed.input": "mixup",
        "mixed.branch": "none",
        "mixup.alpha": 0.2,
    }


def test_a_composed_family_with_a_forbidden_pair_is_refused(read: Any) -> None:
    text = "strategies: {mixed: {choices: {input: [none, mixup], more: [none, drg, dsr]}}}"
    assert faults(read, text) == [
        "mine.yaml: strategies.mixed: mixup and dsr: the neighbours would be mixed"
    ]


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "my family", ""])
def test_a_family_that_no_folder_can_be_named_after_is_refused(read: Any, name: str) -> None:
    (fault,) = faults(read, f"strategies: {{'{name}': {{members: [masd]}}}}")
    assert fault.startswith(f"mine.yaml: strategies.{name}: a family's name has letters")
    with pytest.raises(AutosdError, match="no name that a folder may have"):
        Space.parse({"families": {name: {"members": ["cross_entropy"]}}})


def test_all_faults_are_reported_together_with_file_key_and_nearest_name(read: Any) -> None:
    lines = faults(
        read,
        """
recipe:
  optimizer.lrr: {log_uniform: [0.03, 0.3]}
  optimizer.momentum: {uniform: [0.5, 1.5]}
  data: {choice: [a]}
  augment.crop: {integers: [0, 4]}
strategies:
  mads:
  masd: {mask_ratoi: {uniform: [0, 1]}, mask_ratio: {uniformm: [0, 1]}, num_taps: {uniform: [1, 2]}}
  rskd: {residual_layers: {integers: [3, 1]}, teacher: {choice: []}}
  drg: {temperature: {uniform: [5, 6]}, alpha: -1}
  dsr: {weight: {log_uniform: [0, 1]}, temperature: {uniform: [1, 9], default: 20}}
  foo: {members: [masd, drgg], sharde: {}}
""",
        overrides={"masd.mask_ration": 1},
    )
    expected = {
        "recipe.optimizer.lrr: ": "Did you mean 'optimizer.lr'?",
        "recipe.optimizer.momentum: ": "less than 1, not 1.5",
        "recipe.data: ": "decided by the study",
        "recipe.augment.crop: ": "needs a default",
        "strategies.mads: ": "Did you mean 'masd'?",
        "strategies.masd.mask_ratoi: ": "Did you mean 'mask_ratio'?",
        "strategies.masd.mask_ratio: ": "Did you mean 'uniform'?",
        "strategies.masd.num_taps: ": "integer",
        "strategies.rskd.residual_layers: ": "low 3 is above high 1",
        "strategies.rskd.teacher: ": "at least one value",
        "strategies.drg.temperature: ": "4.0 is not in",
        "strategies.drg.alpha: ": "not -1",
        "strategies.dsr.weight: ": "above 0",
        "strategies.dsr.temperature: ": "default 20 is not in",
        "strategies.foo.sharde: ": "Did you mean 'shared'?",
        "strategies.foo: ": "Did you mean 'drg'?",
        "masd.mask_ration: ": "Did you mean 'mask_ratio'?",
    }
    for key, words in expected.items():
        where = "--set: " if key.startswith("masd.") else "mine.yaml: "
        assert any(line.startswith(where + key) and words in line for line in lines), key
    assert len(lines) == len(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- masd\n", "a mapping with the key strategies"),
        ("recip: {}\nstrategies: {masd: }", "Did you mean 'recipe'?"),
        ("recipe: {}", "at least one family"),
        ("strategies: [masd]", "a mapping is needed"),
        ("strategies: {masd: 3}", "a mapping is needed"),
        ("strategies: {masd: {mask_ratio: {uniform: 3}}}", "takes [low, high]"),
        ("strategies: {masd: {mask_ratio: {uniform: [0, stage]}}}", "`stages - 1`"),
        (
            "strategies: {masd: {num_taps: {integers: [1, 'min(3, stages']}}}",
            "`min(3, stages - 1)`",
        ),
        ("strategies: {masd: {num_taps: {integers: [1, 'stages - 1)']}}}", "`min(3, stages - 1)`"),
        ("strategies: {masd: {num_taps: {integers: [1, 'min(1, 2)']}}}", "`min(3, stages - 1)`"),
        ("strategies: {masd: {num_taps: {integers: [1, 2.5]}}}", "whole numbers"),
        ("strategies: {masd: {mask_ratio: {uniform: [0, .inf]}}}", "finite"),
        ("strategies: {masd: {mask_ratio: {default: 0.1}}}", "exactly one kind"),
        ("strategies: {masd: {mask_ratio: {choice: [0.1, 0.1]}}}", "stands twice"),
        (
            "strategies: {rskd: {ema_momentum: {choice: [0.999], when: {teacher: em}}}}",
            "never 'em'",
        ),
        ("strategies: {rskd: {ema_momentum: {choice: [0.999], when: {tea: em}}}}", "'teacher'?"),
        ("strategies: {rskd: {ema_momentum: {choice: [0.999], when: ema}}}", "a mapping such as"),
        ("strategies: {masd: {members: [masd]}}", "a name that no strategy has"),
        ("strategies: {two: {members: drg}}", "a list of names"),
        ("strategies: {two: {members: [drg, drg]}}", "drg stands twice"),
        ("strategies: {two: {members: [drg, dsr], shared: {t: [drg.x, dsr.y]}}}", "named 'x'"),
        ("strategies: {two: {members: [drg], knobs: {dsr.weight: 1}}}", "is no knob of drg"),
        ("strategies: {two: {recipe: {average.kin: ema}}}", "'average.kind'?"),
        ("strategies: {two: {recipe: {average.kind: emma}}}", "not 'emma'"),
        ("strategies: {two: {choices: {a: [drg, masd], b: [drg, none]}}}", "stands there twice"),
    ],
)
def test_a_fault_is_explained(read: Any, text: str, words: str) -> None:
    lines = faults(read, text)
    assert any(words in line for line in lines), lines


def test_what_a_space_says_of_a_strategy_holds_in_its_compositions(read: Any) -> None:
    space = read(
        "strategies: {masd: {mask_ratio: {uniform: [0, 0.5]}, num_taps: 1}, "
        "mixed: {choices: {branch: [none, masd]}}}"
    )
    assert space.parameters()["masd.mask_ratio"].bounds == (0, 0.5)
    drawn = {**space.default_params("mixed"), "mixed.branch": "masd"}
    assert space.recipe(drawn, BASE).strategies[0].knobs == {"num_taps": 1}


def test_one_name_has_one_range(read: Any) -> None:
    text = """
strategies:
  masd: {mask_ratio: {uniform: [0, 0.5]}}
  mixed: {choices: {branch: [none, masd]}, knobs: {masd.mask_ratio: {uniform: [0, 0.3]}}}
"""
    (line,) = faults(read, text)
    assert "masd.mask_ratio" in line
    assert "one range in a study" in line


def test_a_broken_file_of_a_strategy_is_named(read: Any, spaces: Path) -> None:
    (spaces / "masd.yaml").write_text("strategies: {masd: [}")
    assert any("masd.yaml:1" in line for line in faults(read, "joint"))


def test_options_fix_parameters_and_leave_the_recipe_to_the_recipe(read: Any) -> None:
    options = {"optimizer.lr": 0.05, "masd.mask_ratio": 0.3, "epochs": 5, "drg.temperature": 2.0}
    space = read("joint", overrides=options)
    assert not {"optimizer.lr", "masd.mask_ratio", "lightskd.temperature"} & set(space.parameters())
    recipe = space.recipe(space.default_params("masd"), BASE)
    assert (recipe.optimizer.lr, recipe.strategies[0].knobs["mask_ratio"]) == (0.05, 0.3)
    light = space.recipe(space.default_params("lightskd"), BASE)
    assert [each.knobs["temperature"] for each in light.strategies] == [2.0, 2.0]


def test_an_option_may_set_a_knob_that_no_file_searches(read: Any, spaces: Path) -> None:
    (spaces / "masd.yaml").write_text("strategies: {masd: {mask_ratio: {uniform: [0, 0.75]}}}")
    space = read("joint", overrides={"masd.num_taps": 1, "mixup.alpha": {"uniform": [0.2, 0.3]}})
    assert space.recipe(space.default_params("masd"), BASE).strategies[0].knobs["num_taps"] == 1
    assert space.parameters()["mixup.alpha"].bounds == (0.2, 0.3)


def test_an_option_may_draw_a_setting_of_the_recipe(read: Any) -> None:
    text = "strategies: {masd: }"
    drawn = {"optimizer.lr": {"log_uniform": [0.02, 0.2], "default": 0.15}}
    lr = read(text, overrides=drawn).parameters()["optimizer.lr"]
    assert (lr.bounds, lr.default) == ((0.02, 0.2), 0.15)
    narrow = {"optimizer.lr": {"log_uniform": [0.05, 0.2]}}
    lr = read("joint", overrides=narrow).parameters()["optimizer.lr"]
    assert (lr.bounds, lr.default) == ((0.05, 0.2), 0.1)


def test_what_is_drawn_has_the_studys_value_as_its_default(read: Any) -> None:
    base = Recipe.parse({**BASE.mapping(), "batch_size": 48}, "base")
    sizes = {"batch_size": {"choice": [32, 48]}}
    read_size = read("strategies: {masd: }", overrides=sizes, base=base).parameters()["batch_size"]
    assert read_size.default == 48
    (line,) = faults(read, "strategies: {masd: }", overrides={"batch_size": {"choice": [32, 64]}})
    assert line.startswith(
        f"--set: batch_size: the study's {Recipe.model_fields['batch_size'].default}"
    )
    assert line.endswith("give another with 'default:'")


def test_what_makes_a_family_is_no_range_for_the_others(read: Any) -> None:
    text = """
strategies:
  masd:
  ema: {recipe: {average.kind: ema}}
  erasing: {recipe: {augment.erase: {uniform: [0.1, 0.9], default: 0.5}}}
"""
    kinds = {"average.kind": {"choice": ["none", "ema"]}}
    (line,) = faults(read, text, overrides=kinds)
    assert line == "--set: average.kind: cannot be drawn; it is what ema is made of"
    space = read(text, overrides={"augment.erase": {"uniform": [0.3, 0.6]}})
    assert space.parameters()["augment.erase"].bounds == (0.3, 0.6)
    assert "augment.erase" not in space.default_params("masd")


def test_the_fingerprint_ignores_the_order_of_keys_and_sees_every_change(read: Any) -> None:
    one = read("strategies: {masd: , mixup: {alpha: {uniform: [0.1, 1]}}}")
    other = read("strategies: {mixup: {alpha: {uniform: [0.1, 1]}}, masd: }")
    assert one.fingerprint == other.fingerprint
    wider = read("strategies: {masd: , mixup: {alpha: {uniform: [0.1, 2]}}}")
    fewer = read("strategies: {masd: }")
    default = read("strategies: {masd: , mixup: {alpha: {uniform: [0.1, 1], default: 0.5}}}")
    assert len({each.fingerprint for each in (one, wider, fewer, default)}) == 4


def test_the_categories_do_not_depend_on_the_order_of_the_file(read: Any) -> None:
    seen = []
    for text in ("strategies: {masd: , mixup: }", "strategies: {mixup: , masd: }"):
        study = optuna.create_study()
        read(text).define(study.ask(), BASE)
        seen.append(study.trials[0].distributions["strategy"])
    assert seen[0] == seen[1]


def test_a_stored_space_is_read_back_without_any_other_file(
    read: Any, spaces: Path, tmp_path: Path
) -> None:
    for text in ("joint", COMPOSED):
        space = read(text)
        file = tmp_path / "space.yaml"
        file.write_text(yamlfile.dumps(space.mapping()))
        loaded = Space.load(file)
        assert loaded == space
        assert loaded.fingerprint == space.fingerprint
    shutil.rmtree(spaces)
    assert Space.load(file) == space


@pytest.mark.parametrize("text", ["families: 3", "- 1", "families: {a: {knobs: {x: {}}}}", ""])
def test_a_stored_space_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(AutosdError, match=r"space\.yaml: not a stored space"):
        Space.load(tmp_path / "space.yaml")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strategy": "mads"}, "Did you mean 'masd'?"),
        ({"masd.mask_ratio": 0.9}, "0.9 is not in"),
        ({"masd.num_taps": 1.5}, "1.5 is not in"),
        ({"masd.mask_ration": 0.1}, "Did you mean 'masd.mask_ratio'?"),
        ({"masd.kd_weight": True}, "True is not in"),
    ],
)
def test_impossible_parameters_are_refused(joint: Space, change: Any, words: str) -> None:
    with pytest.raises(AutosdError) as caught:
        joint.check_params({**joint.default_params("masd"), **change})
    assert words in str(caught.value)


def test_missing_parameters_are_refused(joint: Space) -> None:
    with pytest.raises(AutosdError, match=r"masd\.kd_weight: is missing"):
        joint.check_params({"strategy": "masd", "optimizer.lr": 0.1})


def test_the_size_of_a_space_is_told(joint: Space) -> None:
    told = joint.describe()
    assert told["families"]["masd"] == 3
    assert told["training"] == ["optimizer.lr"]
    assert told["parameters"] == 12


class Drawn:
    """Draws with Python's own generator: all that a space may ask of a trial."""

    def __init__(self, seed: int) -> None:
        self.stream, self.params = random.Random(seed), dict[str, Any]()

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert not log or low > 0
        self.params[name] = min(max(self.stream.uniform(low, high), low), high)
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.params[name] = self.stream.randint(low, high)
        return self.params[name]

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.params[name] = self.stream.choice(choices)
        return self.params[name]


@st.composite
def knobs(draw: st.DrawFn, name: str) -> Knob:
    kind = draw(st.sampled_from(KINDS))
    if kind == "choice":
        values = draw(st.lists(st.sampled_from(["a", "b", 1, 2.5, None]), min_size=1, unique=True))
        return Knob(name, kind, choices=tuple(values), default=values[-1], sets=(name,))
    if kind == "integers":
        low, high = sorted(draw(st.tuples(st.integers(0, 9), st.integers(0, 9))))
        return Knob(name, kind, low, high, default=low, sets=(name,))
    bound = st.floats(0.001, 100.0, allow_nan=False)
    low, high = sorted(draw(st.tuples(bound, bound)))
    return Knob(name, kind, low, high, default=high, sets=(name, f"{name}x"))


@st.composite
def written(draw: st.DrawFn) -> Space:
    """Spaces over two strategies with any knobs."""
    families = []
    for name in draw(st.sets(st.sampled_from(["one", "two"]), min_size=1)):
        found = [draw(knobs(f"{name}.k{each}")) for each in range(draw(st.integers(0, 3)))]
        families.append(Family(name, (name,), (), {f"{name}.fixed": 1}, tuple(found)))
    return Space(tuple(families))


@settings(max_examples=60, deadline=None)
@given(space=written(), seed=st.integers(0, 1000))
def test_any_space_survives_its_file_and_accepts_what_it_draws(space: Space, seed: int) -> None:
    text = yamlfile.dumps(space.mapping())
    loaded = Space.parse(yamlfile.loads(text, "space.yaml"))
    assert loaded == space
    trial = Drawn(seed)
    recipe = loaded.define(trial, BASE)
    space.check_params(trial.params)
    assert space.recipe(trial.params, BASE) == recipe
    assert recipe.strategies[0].knobs["fixed"] == 1
    for family in space.families:
        space.check_params(space.default_params(family))
