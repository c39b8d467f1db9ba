"""The trials that a learning sampler is shown of a long study: the newest and the best."""

import math
from bisect import insort
from collections.abc import Container

import optuna
from optuna.trial import FrozenTrial, TrialState

from autosd.search.mirror import folded

UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)
LEARNT_FROM = (TrialState.COMPLETE, TrialState.PRUNED)


class NewestAndBest:
    """At most `count` of a study's finished trials: the newest, and of the older ones the best.

    As many of the best as TPE's set of good trials holds, a tenth and at most 25. More of them
    would fill its set of bad trials with good ones, and it would learn nothing.
    """

    def __init__(self, minimise: bool, count: int) -> None:
        self._sign = -1.0 if minimise else 1.0
        self._most_best = min(math.ceil(count / 10), 25)
        self._most_newest = count - self._most_best
        self._newest: list[int] = []
        self._best: list[tuple[tuple[bool, float], int]] = []
        self._kept: dict[int, FrozenTrial] = {}

    def update(self, trial: FrozenTrial) -> None:
        """Take in a trial that has ended; it never changes afterwards."""
        if trial.state not in LEARNT_FROM or trial.number in self._kept:
            return
        self._kept[trial.number] = trial
        insort(self._newest, trial.number)
        if len(self._newest) > self._most_newest:
            self._grow_old(self._kept[self._newest.pop(0)])

    def _grow_old(self, trial: FrozenTrial) -> None:
        value = -math.inf if trial.value is None else self._sign * trial.value
        insort(self._best, ((trial.state is TrialState.COMPLETE, value), trial.number))
        if len(self._best) > self._most_best:
            del self._kept[self._best.pop(0)[1]]

    def trials(self) -> list[FrozenTrial]:
        """These trials in the order of their numbers."""
        return [self._kept[number] for number in sorted(self._kept)]


class Window(optuna.Study):
    """A study that shows at most `count` of its finished trials."""

    def __init__(self, study: optuna.Study, count: int) -> None:
        self.__dict__.update(study.__dict__)
        self._study, self._shown = study, folded(study, NewestAndBest, count).trials()

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        open_states = [one for one in UNFINISHED if states is None or one in states]
        shown = [trial for trial in self._shown if states is None or trial.state in states]
        shown += self._study._get_trials(deepcopy, open_states, use_cache) if open_states else []
        return sorted(shown, key=lambda trial: trial.number)
