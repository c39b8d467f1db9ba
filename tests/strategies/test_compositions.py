"""Strategies together: every pair that may, and every member of the composed families."""

import itertools
from pathlib import Path

import pytest

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search.space import Space
from autosd.strategies.check import check_combination, check_recipe
from autosd.strategies.strategy import discover

from .conformance import STUDENT_STAGES, assert_same_run, recipe_for, trained, trainer_for

COMPOSED = ("compose_mixed", "compose_plain", "compose_replay")


def together(names: tuple[str, ...]) -> Recipe:
    """Two epochs of two batches of 64 and 35 images, all strategies at their defaults."""
    changes = {"strategies": list(names), "epochs": 2, "batch_size": 64}
    return recipe_for("cross_entropy", **changes)


def may(pair: tuple[str, ...]) -> bool:
    """Whether a pair is allowed."""
    try:
        check_combination(pair)
    except AutosdError:
        return False
    return True


def compatible_pairs() -> list[tuple[str, str]]:
    """Every pair of different strategies that may work together, plain training left out."""
    names = [name for name in discover() if name != "cross_entropy"]
    return [pair for pair in itertools.combinations(names, 2) if may(pair)]


def each_once(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Few of the pairs that together have every strategy."""
    seen: set[str] = set()
    chosen = []
    for fresh in (2, 1):
        for pair in pairs:
            if len(set(pair) - seen) == fresh:
                chosen.append(pair)
                seen.update(pair)
    return chosen


def drawn(family: str) -> list[tuple[str, ...]]:
    """The strategies of every trial that a composed family can have."""
    space = Space.read(family, discover(), check_combination, stages=STUDENT_STAGES)
    return list(dict.fromkeys(space.family(family).combinations()))


def marked(cases: list[tuple[str, ...]], quick: list[tuple[str, ...]]) -> list[object]:
    """Cases for a parametrised test, slow unless they are among the quick ones."""
    return [
        pytest.param(case, id="+".join(case), marks=[] if case in quick else pytest.mark.slow)
        for case in cases
    ]


def assert_trains_and_resumes(names: tuple[str, ...], folder: Path) -> None:
    """Training works, goes on bit for bit after an interruption, and leaves the student's keys."""
    recipe, checkpoint = together(names), folder / "last.pt"
    uninterrupted = trained(recipe)
    begun = trainer_for(recipe, checkpoint=checkpoint)
    next(begun.epochs())
    begun.save()
    resumed = trainer_for(recipe, checkpoint=checkpoint)
    list(resumed.epochs())
    assert len(resumed.history) == 2
    assert_same_run(resumed, uninterrupted)
    assert list(resumed.student.state_dict()) == list(plain_keys())


def plain_keys() -> list[str]:
    """Names in the state of a student that is trained plainly."""
    return list(trainer_for(together(("cross_entropy",))).student.state_dict())


PAIRS = compatible_pairs()


@pytest.mark.parametrize("pair", marked(PAIRS, each_once(PAIRS)))
def test_a_compatible_pair_trains_and_resumes(pair: tuple[str, ...], tmp_path: Path) -> None:
    assert_trains_and_resumes(pair, tmp_path)


ALL_DRAWN = {family: drawn(family) for family in COMPOSED}
TRIPLE = ("cutmix", "masd", "sd_dropout")


def test_the_composition_of_the_issue_can_be_found() -> None:
    assert TRIPLE in ALL_DRAWN["compose_mixed"]


@pytest.mark.parametrize("family", COMPOSED)
def test_every_drawn_composition_is_a_valid_recipe(family: str) -> None:
    for names in ALL_DRAWN[family]:
        check_recipe(together(names))


@pytest.mark.parametrize(
    "names",
    marked([names for found in ALL_DRAWN.values() for names in found if len(names) > 2], [TRIPLE]),
)
def test_a_drawn_composition_trains_and_resumes(names: tuple[str, ...], tmp_path: Path) -> None:
    assert_trains_and_resumes(names, tmp_path)
