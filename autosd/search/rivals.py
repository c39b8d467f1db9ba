"""What a running trial is compared with: what the finished ones reached, family by family.

Gathered while trials end, so that a decision costs the same however many there are. Values are
`sign` * value, larger better whatever the objective.
"""

import math
from array import array
from collections import defaultdict
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial, TrialState

from autosd.search.census import DUPLICATE
from autosd.search.knobs import STRATEGY

LAST = 3  # epochs whose best stands for the current value, against noise of a single one


class Curve:
    """A trial's curve of finite values."""

    def __init__(self, trial: FrozenTrial, sign: float) -> None:
        self.family = trial.params.get(STRATEGY)
        self.complete = trial.state is TrialState.COMPLETE
        self.values = {
            step: sign * value
            for step, value in trial.intermediate_values.items()
            if math.isfinite(value)
        }
        told = trial.value if self.complete else trial.user_attrs.get("projected")
        self.final: float | None = None if told is None else sign * told

    def best(self, step: int) -> float:
        """The best value up to an epoch."""
        return max((value for at, value in self.values.items() if at <= step), default=-math.inf)

    def recent(self, step: int) -> float | None:
        """The best of the last three epochs up to `step`, None where there are none."""
        return max(
            (self.values[at] for at in range(step - LAST + 1, step + 1) if at in self.values),
            default=None,
        )

    def gain(self, step: int) -> float | None:
        """The ratio of the final value to the recent best at `step`, None where there is none."""
        recent = self.recent(step)
        if self.final is None or recent is None:
            return None
        if recent == 0:
            return math.inf if self.final > 0 else None
        return self.final / recent


@dataclass
class Gains:
    """Gains of a family's complete trials from one epoch on."""

    count: int = 0
    least: float = math.inf
    most: float = -math.inf

    def add(self, gain: float) -> None:
        """One more."""
        self.count += 1
        self.least, self.most = min(self.least, gain), max(self.most, gain)


@dataclass
class Family:
    """The finished trials of a family.

    Attributes:
        finished, complete: how many.
        reached: by epoch, the best value so far of each trial that has a value there.
        gains: by epoch.
    """

    finished: int = 0
    complete: int = 0
    reached: dict[int, "array[float]"] = field(default_factory=lambda: defaultdict(_numbers))
    gains: dict[int, Gains] = field(default_factory=lambda: defaultdict(Gains))

    def add(self, curve: Curve) -> None:
        """One more."""
        self.finished += 1
        self.complete += curve.complete
        best = -math.inf
        for step in sorted(curve.values):
            best = max(best, curve.values[step])
            self.reached[step].append(best)
            if curve.complete and (gain := curve.gain(step)) is not None:
                self.gains[step].add(gain)


class Rivals:
    """All COMPLETE and PRUNED trials of a study but duplicates.

    Attributes:
        families: by name.
        finals: final values of complete trials, projected ones of the others where they have one.
    """

    def __init__(self, minimise: bool) -> None:
        self.sign = -1.0 if minimise else 1.0
        self.families: dict[str, Family] = defaultdict(Family)
        self.finals = _numbers()
        self._known: set[int] = set()

    def update(self, trial: FrozenTrial) -> None:
        """Take in a trial that has ended; it never changes afterwards."""
        ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if not ended or trial.number in self._known or DUPLICATE in trial.user_attrs:
            return
        self._known.add(trial.number)
        curve = Curve(trial, self.sign)
        self.families[str(curve.family)].add(curve)
        if curve.final is not None:
            self.finals.append(curve.final)


def _numbers() -> "array[float]":
    return array("d")
