"""Temperature scaling: one number that makes a classifier's probabilities honest.

The temperature of a recipe is the mean over its confirmation runs, each fitted on `select`, which
gave no gradient there. What is trained on everything but test has no images left to fit it on:
fitted on images of its own training it would answer for a confidence that holds for those alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from autosd import stored
from autosd.data.npzfile import NpzReader
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.results.statistics import Summary, summary
from autosd.search.lists import read_recipe, read_records

LOWEST, HIGHEST = 0.1, 10.0
PART = "select"
LEFT_OUT = "put back a copy, or remove the file: this run then takes no part in the calibration"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Temperature:
    """The temperature of a recipe.

    Attributes:
        value: mean and spread over its confirmation runs.
        at_bound: whether a fit ended at `LOWEST` or `HIGHEST`: the images then do not settle it,
            as where every one of them was classified right.
    """

    value: Summary
    at_bound: bool


def fit_temperature(logits: Array, labels: Array) -> float:
    """The temperature T in `LOWEST` .. `HIGHEST` for which `logits / T` have the smallest NLL.

    The NLL is convex in 1 / T, so the bounded search over log T ends in the one minimum there is;
    1 where nothing does better.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
    section 4.2.

    Args:
        logits: `[N, K]`, of images that gave no gradient.
        labels: `[N]`.

    Raises:
        ValueError: no image, or as many labels as images are not there.
    """
    if not len(labels) or len(logits) != len(labels):
        raise ValueError(f"{len(logits)} rows of logits and {len(labels)} labels")
    logits = np.asarray(logits, dtype=np.float64)
    found = minimize_scalar(
        lambda log_t: nll(logits / np.exp(log_t), labels),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    candidates = (1.0, LOWEST, HIGHEST, float(np.exp(found.x)))
    return min(candidates, key=lambda t: nll(logits / t, labels))


def nll(logits: Array, labels: Array) -> float:
    """Mean negative log-likelihood in nats of `labels` `[N]` under `logits` `[N, K]`."""
    right = logits[np.arange(len(labels)), labels]
    return float(np.mean(logsumexp(logits, axis=1) - right))


def temperatures(finalists: Path, labels: Array) -> dict[str, Temperature]:
    """The temperature of every recipe that has confirmation runs with finite logits.

    Args:
        finalists: folder of the confirmation runs, each with the logits of `select`.
        labels: of `select`, in the order of the part.

    Returns:
        By `identity` of the recipe.

    Raises:
        AutosdError: a file of logits is damaged, or of other images.
    """
    fits: dict[str, list[float]] = {}
    for record in read_records(finalists):
        path = record.folder / "logits.npz"
        if record.failure is not None or not path.is_file():
            continue
        logits = kept_logits(path, PART)
        if len(logits) != len(labels):
            raise AutosdError(f"{path}: has {len(logits)} rows of {PART}, not {len(labels)}")
        if np.isfinite(logits).all():
            recipe = read_recipe(record.folder)
            fits.setdefault(identity(recipe), []).append(fit_temperature(logits, labels))
    return {
        key: Temperature(summary(of), any(fit in (LOWEST, HIGHEST) for fit in of))
        for key, of in fits.items()
    }


def identity(recipe: Recipe) -> str:
    """What recipes have in common that differ in their seed alone."""
    return recipe.with_seed(0).fingerprint()


def kept_logits(path: Path, part: str) -> Array:
    """The logits `[N, K]` of a part from a run's `logits.npz`, in float64.

    Raises:
        AutosdError: the file is damaged.
    """
    with stored.sound(path, LEFT_OUT):
        logits: Array = NpzReader(path).read(part).astype(np.float64)
    return logits
