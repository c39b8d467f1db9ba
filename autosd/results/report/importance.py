"""What mattered: the choice of family first, then each knob within its family.

Importances over all parameters at once mislead in a conditional space: most knobs exist in few
trials, and the choice that explains nearly everything comes out last. So the variance between
families is set apart, and a knob is judged among the trials that have it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from autosd.results.report.story import Story
from autosd.results.report.variance import Array, Share, share_of_groups, share_of_terms
from autosd.search.knobs import Knob, same
from autosd.search.records import TrialRecord

COUNTED = ("complete", "pruned", "diverged")
FEW_LEVELS = 3


@dataclass(frozen=True)
class KnobShare:
    """What one knob explains.

    Attributes:
        knob: its name, such as `masd.mask_ratio`.
        family: among whose trials; empty for a knob of training, within all families together.
        share: of the variance of the trials' standing within their family.
    """

    knob: str
    family: str
    share: Share


@dataclass(frozen=True)
class Mattered:
    """What a search tells of the weight of its choices.

    Attributes:
        families: share of the variance of the values of complete trials between families.
        training: knobs of training that all families share, the most important first.
        knobs: knobs of families, by the family's place in the leaderboard, then by importance.
        too_few: families whose knobs cannot be told, with the reason.
    """

    families: Share
    training: tuple[KnobShare, ...]
    knobs: tuple[KnobShare, ...]
    too_few: tuple[tuple[str, str], ...]


@lru_cache(maxsize=4)
def mattered(story: Story) -> Mattered:
    """What mattered in a study."""
    knobs: list[KnobShare] = []
    too_few: list[tuple[str, str]] = []
    for family in (row.family for row in story.rows):
        found = _of_family(story, family)
        told = [one for one in found if one.share.value is not None]
        knobs += sorted(told, key=_weight)
        if found and not told:
            too_few.append((family, found[0].share.why))
    return Mattered(
        between_families(story.complete), _training(story), tuple(knobs), tuple(too_few)
    )


def between_families(trials: Iterable[TrialRecord]) -> Share:
    """The share of the variance of the values of complete trials that lies between families."""
    pairs = [(one.value, one.family) for one in trials if one.value is not None]
    return share_of_groups([value for value, _ in pairs], [family for _, family in pairs])


def of_knob(knob: Knob, trials: Sequence[TrialRecord], minimise: bool = False) -> Share:
    """What a knob explains of the standing of these trials, those that have it.

    A numeric knob enters with its square, so that a best value in the middle of the range counts;
    one with few levels, and a choice, level by level.

    Args:
        knob: of the space.
        trials: of one family, or of several, within which the share is then taken.
        minimise: whether a smaller value is better.
    """
    having = [one for one in trials if knob.name in one.params]
    if not having:
        return Share(None, None, None, 0, "no trial has it")
    scores = standings(having, minimise)
    terms = _terms(knob, [one.params[knob.name] for one in having])
    return share_of_terms(scores, terms, [one.family for one in having])


def standings(trials: Sequence[TrialRecord], minimise: bool = False) -> list[float]:
    """Each trial's wins less its losses against the others of its family, from -1 to 1.

    Two trials are compared after the last epoch that both have run, so that pruned ones count for
    what they showed; one that diverged loses to every other. Among trials that ran equally long
    these are ranks. Source: Gehan, "A generalized Wilcoxon test for comparing arbitrarily
    singly-censored samples", Biometrika 52, 1965.
    """
    scores = []
    for one in trials:
        rivals = [other for other in trials if other is not one and other.family == one.family]
        won = sum(_duel(one, other, minimise) for other in rivals)
        scores.append(won / len(rivals) if rivals else 0.0)
    return scores


def _duel(one: TrialRecord, other: TrialRecord, minimise: bool) -> float:
    """1 where `one` did better than the other, -1 where worse, 0 where that is not known."""
    lost, won = one.state == "diverged", other.state == "diverged"
    if lost or won:
        return float(won) - float(lost)
    if one.value is not None and other.value is not None and one.state == other.state == "complete":
        own, rival = one.value, other.value
    else:
        until = min((max(dict(trial.curve), default=0) for trial in (one, other)), default=0)
        own, rival = _reached(one, until), _reached(other, until)
    return float(np.sign(rival - own if minimise else own - rival))


def _reached(trial: TrialRecord, until: int) -> float:
    """The value of a trial at the last epoch up to this one; 0 before the first epoch of either."""
    return next((value for epoch, value in reversed(trial.curve) if epoch <= until), 0.0)


def _of_family(story: Story, family: str) -> list[KnobShare]:
    trials = [one for one in story.trials if one.family == family and one.state in COUNTED]
    return [
        KnobShare(knob.name, family, of_knob(knob, trials, story.minimise))
        for knob in story.space.family(family).parameters
    ]


def _training(story: Story) -> tuple[KnobShare, ...]:
    trials = [one for one in story.trials if one.state in COUNTED]
    found = [
        KnobShare(knob.name, "", of_knob(knob, trials, story.minimise))
        for knob in story.space.training
    ]
    return tuple(sorted(found, key=_weight))


def _weight(one: KnobShare) -> float:
    return -(one.share.value or 0.0)


def _terms(knob: Knob, values: Sequence[Any]) -> Array:
    """The columns `[n, p]` by which a knob enters the model."""
    levels: list[Any] = []
    for value in values:
        if not any(same(value, level) for level in levels):
            levels.append(value)
    if knob.kind == "choice" or len(levels) <= FEW_LEVELS:
        rows = [[same(value, level) for level in levels[1:]] for value in values]
        return np.array(rows, dtype=np.float64).reshape(len(values), -1)
    numbers = np.asarray(values, dtype=np.float64)
    scaled = np.log(numbers) if knob.log else numbers
    scaled = (scaled - scaled.min()) / (scaled.max() - scaled.min())
    return np.stack([scaled, scaled**2], axis=1)
