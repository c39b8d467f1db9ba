"""Trials that are enqueued beside the sampler's own: near a published default, or at random.

Authors have tuned their defaults. Besides trying the defaults themselves, the next trial is a
*prior trial* with a probability that falls from one half as evidence grows: the default of a
promising family, a little changed. Being enqueued, it works with every sampler and shows on the
dashboard (after PriorBand and piBO). And where a sampler keeps repeating finished trials, as it
does when the best family has nothing left to vary, a random draw keeps the study going.
"""

import math
import random
import statistics
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from autosd.search import ledger
from autosd.search.knobs import STRATEGY, Knob
from autosd.search.space import Space

START = 0.5  # probability of a prior trial right after the defaults
DECAY = 25.0  # trials after which it has fallen to 1/e of that
SPREAD = 0.15  # standard deviation as a share of the range, on the log scale where drawn so
PATIENCE = 3  # proposals in a row that repeat earlier trials, before one is drawn at random
STAY = 0.7  # probability that a choice keeps its default


def enqueue_prior(study: optuna.Study, space: Space, seed: int) -> bool:
    """Perhaps enqueue a trial, unless one waits; to be called before each `ask`.

    The draw depends on `seed` and the number of trials so far, nothing else is remembered.
    """
    if ledger.trials(study, TrialState.WAITING):
        return False
    trials = len(ledger.trials(study))
    stream = random.Random(f"prior/{seed}/{trials}")
    if stream.random() >= probability(trials, len(space.families)):
        return False
    params = near_default(space, _draw_family(study, space, stream), stream)
    ledger.enqueue(study, space, params, "prior")
    return True


def break_repeats(study: optuna.Study, space: Space, seed: int) -> bool:
    """Enqueue a random trial where a sampler, whichever it is, keeps repeating itself.

    To be called before each `ask`, unless a trial waits; the draw is as that of `enqueue_prior`.
    """
    if ledger.trials(study, TrialState.WAITING) or ledger.census(study).repeats < PATIENCE:
        return False
    stream = random.Random(f"random/{seed}/{len(ledger.trials(study))}")
    ledger.enqueue(study, space, at_random(space, stream), "search")
    return True


def at_random(space: Space, stream: random.Random) -> dict[str, Any]:
    """Parameters drawn uniformly, on the log scale where drawn so; each family equally likely."""
    params: dict[str, Any] = {STRATEGY: stream.choice(space.families)}
    for knob in space.knobs(params[STRATEGY]):
        if knob.active(params):
            params[knob.name] = _anywhere(knob, stream)
    return params


def _anywhere(knob: Knob, stream: random.Random) -> Any:
    if knob.kind == "choice":
        return stream.choice(knob.choices)
    low, high = knob.bounds
    if knob.kind == "integers":
        return stream.randint(int(low), int(high))
    if knob.log:
        return min(max(math.exp(stream.uniform(math.log(low), math.log(high))), low), high)
    return stream.uniform(low, high)


def probability(trials: int, defaults: int) -> float:
    """Probability that the next trial is a prior trial, after `trials` of which some defaults."""
    return START * math.exp(-max(0, trials - defaults) / DECAY)


def near_default(space: Space, family: str, stream: random.Random) -> dict[str, Any]:
    """Parameters of a family near its published default."""
    params: dict[str, Any] = {STRATEGY: family}
    for knob in space.knobs(family):
        if knob.active(params):
            params[knob.name] = _near(knob, stream)
    return params


def _near(knob: Knob, stream: random.Random) -> Any:
    if knob.kind == "choice":
        others = [value for value in knob.choices if value != knob.default]
        return knob.default if not others or stream.random() < STAY else stream.choice(others)
    low, high = knob.bounds
    if knob.log:
        value = math.exp(_truncated(math.log(knob.default), math.log(low), math.log(high), stream))
    else:
        value = _truncated(knob.default, low, high, stream)
    value = min(max(value, low), high)
    return round(value) if knob.kind == "integers" else float(value)


def _truncated(centre: float, low: float, high: float, stream: random.Random) -> float:
    """A normal draw around `centre`, repeated until it lies in the range."""
    while not low <= (value := stream.gauss(centre, SPREAD * (high - low))) <= high:
        pass
    return value


def _draw_family(study: optuna.Study, space: Space, stream: random.Random) -> str:
    """A family by softmax of its best value so far, in units of their spread.

    Families without a finished trial stand at the mean; those without any knob have nothing to
    change and are left out where others exist.
    """
    names = [name for name in space.families if space.knobs(name)] or list(space.families)
    best = _best_values(study)
    known = [best[name] for name in names if name in best]
    mean = statistics.fmean(known) if known else 0.0
    spread = statistics.pstdev(known) if len(known) > 1 else 0.0
    scores = [(best.get(name, mean) - mean) / spread if spread else 0.0 for name in names]
    return stream.choices(names, [math.exp(score) for score in scores])[0]


def _best_values(study: optuna.Study) -> Mapping[str, float]:
    """The best value of each family's complete trials, larger better."""
    sign = -1.0 if study.direction is StudyDirection.MINIMIZE else 1.0
    best: dict[str, float] = {}
    for trial in ledger.trials(study, TrialState.COMPLETE):
        if trial.value is not None:
            family = trial.params[STRATEGY]
            best[family] = max(best.get(family, -math.inf), sign * trial.value)
    return best
