import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosd.errors import AutosdError
from autosd.files import write_text
from autosd.recipe import Recipe
from autosd.results.calibration import (
    HIGHEST,
    LOWEST,
    fit_temperature,
    identity,
    nll,
    temperatures,
)
from autosd.yamlfile import dumps

seeds = st.integers(0, 10_000)


def sample(seed: int, size: int = 200, classes: int = 4, scale: float = 2.0):
    """Logits, and labels drawn from their own softmax: calibrated as they are."""
    generator = np.random.default_rng(seed)
    logits = scale * generator.standard_normal((size, classes))
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    return logits, labels


def test_the_temperature_of_two_classes_worked_by_hand():
    # Three of four are right at a margin of 3: sigmoid(3 / T) = 3/4, so T = 3 / log 3.
    logits = np.array([[3.0, 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(3 / math.log(3))


def test_the_nll_worked_by_hand():
    logits = np.log([[0.7, 0.3], [0.2, 0.8]]) + 5
    assert nll(logits, np.array([0, 0])) == pytest.approx(-math.log(0.7 * 0.2) / 2)


@settings(deadline=None, max_examples=25)
@given(seeds, st.floats(0.5, 2.0))
def test_scaled_logits_scale_the_temperature(seed, factor):
    logits, labels = sample(seed)
    alone = fit_temperature(logits, labels)
    assert fit_temperature(factor * logits, labels) == pytest.approx(factor * alone, rel=1e-4)


@settings(deadline=None, max_examples=25)
@given(seeds, st.floats(0.01, 30.0), st.integers(1, 12))
def test_the_temperature_never_raises_the_nll_it_was_fitted_on(seed, scale, size):
    logits, labels = sample(seed, size=size)
    logits = scale * logits
    fitted = fit_temperature(logits, labels)
    assert LOWEST <= fitted <= HIGHEST
    assert nll(logits / fitted, labels) <= nll(logits, labels)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_no_temperature_on_a_grid_is_better(seed):
    logits, labels = sample(seed, size=40)
    best = nll(logits / fit_temperature(logits, labels), labels)
    for t in np.geomspace(LOWEST, HIGHEST, 41):
        assert best <= nll(logits / t, labels) + 1e-9


def test_calibrated_logits_keep_a_temperature_near_one():
    assert fit_temperature(*sample(0, size=20_000)) == pytest.approx(1, abs=0.03)


def test_images_that_are_all_right_leave_the_temperature_at_its_bound():
    assert fit_temperature(np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) == LOWEST


@pytest.mark.parametrize("labels", [[], [0]])
def test_no_images_have_no_temperature(labels):
    with pytest.raises(ValueError, match="rows of logits"):
        fit_temperature(np.zeros((len(labels) * 2, 3)), np.array(labels, dtype=int))


def confirmed(folder: Path, recipe: Recipe, logits, failure: str | None = None) -> None:
    """The folder of a confirmation run."""
    write_text(folder / "recipe.yaml", dumps(recipe.mapping()))
    facts = {"label": "a", "seed": recipe.seed, "strategies": [], "metrics": {}, "epochs": 1}
    result = {**facts, "seconds": 1.0} | ({} if failure is None else {"failure": failure})
    write_text(folder / "result.json", json.dumps(result))
    if logits is not None:
        np.savez(folder / "logits.npz", select=logits.astype(np.float16))


def test_the_temperature_of_a_recipe_is_the_mean_over_its_confirmation_runs(tmp_path: Path):
    logits, labels = sample(3)
    ours = Recipe.parse({"data": "digits"})
    for seed, factor in enumerate((1.0, 2.0, 3.0)):
        confirmed(tmp_path / f"a-{seed}", ours.with_seed(1000 + seed), factor * logits)
    other = Recipe.parse({"data": "digits", "epochs": 3})
    confirmed(tmp_path / "b-1000", other, None)
    confirmed(tmp_path / "b-1001", other, logits, failure="diverged")
    found = temperatures(tmp_path, labels)
    assert set(found) == {identity(ours)}
    one = fit_temperature(logits, labels)
    assert found[identity(ours)].value.mean == pytest.approx(2 * one, rel=1e-2)
    assert found[identity(ours)].value.n == 3
    assert not found[identity(ours)].at_bound


def test_a_fit_at_its_bound_is_told(tmp_path: Path):
    recipe = Recipe.parse({"data": "digits"})
    confirmed(tmp_path / "a-0", recipe, np.eye(3))
    assert temperatures(tmp_path, np.arange(3))[identity(recipe)].at_bound


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_damaged_logits_are_named_before_anything_is_trained(tmp_path: Path, content):
    confirmed(tmp_path / "a-0", Recipe.parse({"data": "digits"}), np.eye(3))
    (tmp_path / "a-0/logits.npz").write_bytes(content)
    with pytest.raises(AutosdError, match=r"a-0/logits.npz: not an npz file .* remove the file"):
        temperatures(tmp_path, np.arange(3))


def test_logits_of_other_images_are_refused(tmp_path: Path):
    confirmed(tmp_path / "a-0", Recipe.parse({"data": "digits"}), np.eye(3))
    with pytest.raises(AutosdError, match="has 3 rows of select, not 4"):
        temperatures(tmp_path, np.arange(4))
