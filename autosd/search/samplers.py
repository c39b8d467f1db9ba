"""Samplers by name, what each cannot do, and the window that keeps a long study fast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from autosd.errors import AutosdError
from autosd.recipe import unknown
from autosd.search.store import quiet
from autosd.search.window import Window

WINDOW = 1000


@dataclass(frozen=True)
class SamplerKind:
    """A sampler by name.

    Attributes:
        make: the sampler for a seed and a number of random trials at the start.
        limits: what a user should know before choosing it; empty where there is nothing.
        learns: whether a proposal looks at all finished trials, and so needs the window.
    """

    make: Callable[[int, int], BaseSampler]
    limits: str = ""
    learns: bool = False


def _tpe(seed: int, startup: int) -> BaseSampler:
    return optuna.samplers.TPESampler(
        multivariate=True, group=True, constant_liar=True, n_startup_trials=startup, seed=seed
    )


def _qmc(seed: int, startup: int) -> BaseSampler:
    return optuna.samplers.QMCSampler(
        seed=seed,
        scramble=True,
        warn_asynchronous_seeding=False,
        warn_independent_sampling=False,
    )


def _gp(seed: int, startup: int) -> BaseSampler:
    return optuna.samplers.GPSampler(
        seed=seed, n_startup_trials=startup, warn_independent_sampling=False
    )


SAMPLERS: dict[str, SamplerKind] = {
    "tpe": SamplerKind(_tpe, learns=True),
    "random": SamplerKind(
        lambda seed, startup: optuna.samplers.RandomSampler(seed=seed),
        "random learns nothing from finished trials; it is a baseline for the other samplers",
    ),
    "qmc": SamplerKind(
        _qmc,
        "qmc spreads only the numbers that all families share; families and their own knobs are "
        "drawn at random, and nothing is learnt from finished trials",
    ),
    "gp": SamplerKind(
        _gp,
        "gp models only the parameters that all families share, draws each family's own knobs at "
        "random, and takes seconds per trial",
        learns=True,
    ),
    "nsga2": SamplerKind(
        lambda seed, startup: optuna.samplers.NSGAIISampler(
            seed=seed, population_size=max(10, startup)
        ),
        "nsga2 is made for several objectives; for one it needs hundreds of trials",
    ),
}


def make_sampler(
    name: str, seed: int, *, families: int, trials: int, counted: int = 0
) -> BaseSampler:
    """The sampler of a name.

    Args:
        name: one of `SAMPLERS`.
        seed: the study's seed.
        families: families of the space.
        trials: planned trials.
        counted: trials counted so far; moves the seed, or a resumed run would draw its first
            random numbers again.

    Raises:
        AutosdError: no such sampler; names those there are.
    """
    check_sampler(name)
    with quiet():
        inner = SAMPLERS[name].make((seed + counted) % 2**32, startup_trials(families, trials))
    return WindowSampler(inner) if SAMPLERS[name].learns else inner


def check_sampler(name: str) -> None:
    """Refuse an unknown name."""
    if name not in SAMPLERS:
        raise AutosdError(unknown("sampler", name, SAMPLERS))


def limits(name: str) -> str:
    """One line on what a sampler cannot do; empty where there is nothing to say."""
    check_sampler(name)
    return SAMPLERS[name].limits


def startup_trials(families: int, trials: int) -> int:
    """Random trials at the start, enqueued defaults among them."""
    return min(max(10, 2 * families), trials // 4)


class WindowSampler(BaseSampler):
    """Another sampler that sees at most 1,000 finished trials, the newest and the best.

    A proposal of TPE takes time in proportion to what it looks at: half a second at 10,000.
    """

    def __init__(self, inner: BaseSampler, window: int = WINDOW) -> None:
        self.inner, self.window = inner, window

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The inner sampler's, from the window."""
        return self.inner.infer_relative_search_space(self._view(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The inner sampler's, from the window."""
        return self.inner.sample_relative(self._view(study), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The inner sampler's, from the window."""
        return self.inner.sample_independent(
            self._view(study), trial, param_name, param_distribution
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Passed on."""
        self.inner.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Passed on."""
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Passed on."""
        self.inner.reseed_rng()

    def _view(self, study: optuna.Study) -> optuna.Study:
        return Window(study, self.window)
