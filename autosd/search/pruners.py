"""Pruners by name, and why a trial was stopped.

`family` compares a trial with its own family at the same epoch (rule A) and, across families, by
projected final values (rule B). Pruners that compare raw values of all families at one epoch end
the slow starters, which self-distillation methods often are: in a simulation they lost up to 4
points of accuracy, and the sampler learnt to avoid the best family. They are offered by name.

No pruner keeps state: what it needs it reads from the storage, so that a resumed study decides as
an uninterrupted one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, Trial

from autosd.errors import AutosdError
from autosd.recipe import unknown
from autosd.search import ledger
from autosd.search.mirror import folded
from autosd.search.rivals import Curve, Family, Rivals


@dataclass(frozen=True)
class Decision:
    """Why a trial should stop: the rule, its epoch, and the numbers it compared.

    `projected` and `needed` are in the objective's own units; `projected` is None where the rule
    makes no projection.
    """

    by: str
    at: int
    value: float | None = None
    needed: float | None = None
    projected: float | None = None

    def facts(self) -> dict[str, str | int | float | None]:
        """User attributes of the pruned trial."""
        why = f"pruned by {self.by} at epoch {self.at}"
        if self.needed is not None and self.value is not None:
            why += f": {self.value:.4f} where {self.needed:.4f} was needed"
        return {
            "pruned_by": self.by,
            "pruned_at": self.at,
            "projected": self.projected,
            "needed": self.needed,
            "why": why,
        }


class FamilyPruner(BasePruner):
    """Rules A and B; either one prunes. Never a protected trial.

    Args:
        epochs: planned epochs E of a trial; it decides from epoch max(3, E / 6) to E - 1.
        inside: percentile of rule A among finished trials of the family, None to leave it out.
        across: percentile of rule B among finals and projections of all, None to leave it out.
    """

    def __init__(self, epochs: int, inside: float | None = 50.0, across: float | None = 50.0):
        self.epochs, self.inside, self.across = epochs, inside, across
        self.first = max(3.0, epochs / 6)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether a trial should stop now."""
        return self.decide(study, trial) is not None

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        """The decision to stop a trial, with its numbers, or None."""
        step = trial.last_step
        if step is None or not self.first <= step < self.epochs or _protected(trial):
            return None
        rivals = folded(study, Rivals)
        sign, own = rivals.sign, Curve(trial, rivals.sign)
        family = rivals.families[str(own.family)]
        if 3 * family.complete < family.finished:  # rule R50: first a third of them complete
            return None
        projected = projection(own, family, step)
        found = self._inside(own, family, step) or self._across(rivals, projected)
        if found is None:
            return None
        by, value, needed = found
        shown = None if projected is None else sign * projected
        return Decision(by, step, sign * value, sign * needed, shown)

    def _inside(self, own: Curve, family: Family, step: int) -> tuple[str, float, float] | None:
        """Rule A: the best so far below the percentile of the family's at the same epoch."""
        reached = family.reached.get(step, ())
        if self.inside is None or len(reached) < 3:
            return None
        needed, value = float(np.percentile(reached, self.inside)), own.best(step)
        return ("family", value, needed) if value < needed else None

    def _across(self, rivals: Rivals, projected: float | None) -> tuple[str, float, float] | None:
        """Rule B: the projected final below the percentile of finals and projections of all."""
        if self.across is None or projected is None:
            return None
        needed = float(np.percentile(rivals.finals, self.across))
        return ("projection", projected, needed) if projected < needed else None


def projection(own: Curve, family: Family, step: int) -> float | None:
    """The final value at the family's most optimistic gain from here; needs two complete trials.

    A gain is the ratio of a final value to the best of the last three epochs at `step`.
    """
    gains, recent = family.gains.get(step), own.recent(step)
    if gains is None or gains.count < 2 or recent is None:
        return None
    # Of negative values, which a minimised objective has here, the smallest ratio gains most.
    projected = recent * (gains.most if recent >= 0 else gains.least)
    return projected if math.isfinite(projected) else None


def _protected(trial: Trial | FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("protected"))


def _warm_up(epochs: int) -> int:
    return math.ceil(max(3.0, epochs / 6))


def _least(epochs: int) -> int:
    """Epochs before the first rung of successive halving."""
    return max(1, math.ceil(epochs / 9))


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "family": FamilyPruner,
    "family-percentile": lambda epochs: FamilyPruner(epochs, inside=67.0, across=None),
    "family-projection": lambda epochs: FamilyPruner(epochs, inside=None, across=80.0),
    "median": lambda epochs: optuna.pruners.MedianPruner(
        n_startup_trials=5, n_warmup_steps=_warm_up(epochs)
    ),
    "percentile": lambda epochs: optuna.pruners.PercentilePruner(
        25.0, n_startup_trials=5, n_warmup_steps=_warm_up(epochs)
    ),
    "asha": lambda epochs: optuna.pruners.SuccessiveHalvingPruner(
        min_resource=_least(epochs), reduction_factor=3
    ),
    "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(
        min_resource=_least(epochs), max_resource=epochs, reduction_factor=3
    ),
    "none": lambda epochs: optuna.pruners.NopPruner(),
}


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner of a name for trials of so many epochs.

    Raises:
        AutosdError: no such pruner; names those there are.
    """
    if name not in PRUNERS:
        raise AutosdError(unknown("pruner", name, PRUNERS))
    return PRUNERS[name](epochs)


def decide(study: optuna.Study, trial: Trial) -> Decision | None:
    """Whether a RUNNING trial should stop after what was reported, and why; None to go on.

    To be called once after each report. Protected trials go on under every pruner, and count as
    competitors of others.
    """
    if isinstance(study.pruner, FamilyPruner):
        return study.pruner.decide(study, ledger.frozen(study, trial))
    if not trial.should_prune() or _protected(trial):
        return None
    now = ledger.frozen(study, trial)
    name = type(study.pruner).__name__.removesuffix("Pruner").lower()
    return Decision("asha" if name == "successivehalving" else name, now.last_step or 0)
