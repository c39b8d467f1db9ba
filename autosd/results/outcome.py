"""What a study found: the winner and the one number that every command shows for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosd import stored
from autosd.recipe import Recipe
from autosd.results import numbers
from autosd.results.leaderboard import BASELINE, best_trial
from autosd.search.finalists import Finalist, read_finalists
from autosd.search.lists import read_recipe
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder

if TYPE_CHECKING:
    from autosd.results.statistics import Difference

REFERENCE = "reference"


@dataclass(frozen=True)
class Score:
    """A value of the objective with what stands behind it.

    Attributes:
        value: mean over `n` seeds.
        sd: sample standard deviation, None for one seed.
        n: seeds.
        objective: top1, nll or balanced_accuracy.
        part: `select` where confirmed, else `val`.
        images: number of images of that part, None where it is not known.
    """

    value: float
    sd: float | None
    n: int
    objective: str = "top1"
    part: str = "val"
    images: int | None = None


@dataclass(frozen=True)
class Winner:
    """The best recipe of a study.

    Attributes:
        label: of the finalist (`masd-0012`, `masd-default`, `cross_entropy`), or of the trial.
        family: the value of `strategy`.
        strategies: of the recipe.
        recipe: what `autosd train` accepts, with the study's seed.
        params: what the search had drawn; empty where no trial ran this recipe.
        trial: its trial in the search, or None.
        search_value: what the search had measured on `val`, or None.
        score: the number to be shown.
        confirmed: whether fresh seeds on `select` stand behind it.
        source: folder of the confirmation run whose student may be kept, or None.
    """

    label: str
    family: str
    strategies: tuple[str, ...]
    recipe: Recipe
    params: dict[str, Any]
    trial: int | None
    search_value: float | None
    score: Score
    confirmed: bool
    source: Path | None = None

    @property
    def line(self) -> str:
        """Its label and score, and what stands behind the score."""
        if self.confirmed:
            return f"{self.label}: {numbers.score(self.score)} on select, confirmed"
        value = numbers.metric(self.score.value, self.score.objective, self.score.images)
        named = numbers.unless_top1(self.score.objective)
        return f"{self.label}: {value}{named} on val, one run of the search, not confirmed"


def winner(folder: StudyFolder, records: Sequence[TrialRecord] | None = None) -> Winner | None:
    """The winner: of the confirmation where it is done, else of the search; None before a trial.

    The highest mean on `select` wins; of equal means the earlier in the list, in which
    cross-entropy and published defaults come first.
    """
    found = folder.records() if records is None else list(records)
    finalists = read_finalists(folder.finalists, folder.minimise)
    if finalists:
        return _confirmed(folder, finalists[0], found)
    best = best_trial(found, minimise=folder.minimise)
    return None if best is None else _searched(folder, best)


def _confirmed(folder: StudyFolder, first: Finalist, records: list[TrialRecord]) -> Winner:
    trial = next((one for one in records if one.number == first.trial), None)
    recipe = read_recipe(first.folder).with_seed(folder.definition.seed)
    return Winner(
        label=first.label,
        family=first.family,
        strategies=first.strategies,
        recipe=recipe,
        params=dict(trial.params) if trial else {},
        trial=first.trial,
        search_value=first.search_value,
        score=score(folder, first),
        confirmed=True,
        source=first.folder,
    )


def _searched(folder: StudyFolder, best: TrialRecord) -> Winner:
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    value = 0.0 if best.value is None else best.value
    objective = folder.definition.objective
    return Winner(
        label=f"{best.family}-{best.lineage:04d}",
        family=best.family,
        strategies=best.strategies,
        recipe=folder.space.recipe(best.params, base),
        params=dict(best.params),
        trial=best.number,
        search_value=best.value,
        score=Score(value, None, 1, objective, "val", images(folder, "val")),
        confirmed=False,
    )


def score(folder: StudyFolder, finalist: Finalist) -> Score:
    """A finalist's score on `select`."""
    objective = folder.definition.objective
    part = images(folder, "select")
    return Score(finalist.mean, finalist.sd, finalist.n, objective, "select", part)


def images(folder: StudyFolder, part: str) -> int | None:
    """Number of images of a part as the study recorded it; None before it did, or if it is lost."""
    try:
        split = stored.load(folder.path / "split.json")
        return int(split["counts"][part])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Comparison:
    """A finalist against cross-entropy, seed by seed, on `select`; itself is the `reference`."""

    finalist: Finalist
    difference: "Difference | None"
    verdict: str


def against_baseline(finalists: Sequence[Finalist], minimise: bool = False) -> list[Comparison]:
    """Each finalist compared with cross-entropy over the seeds that both have, best first.

    Selection makes these optimistic: the finalists were chosen, cross-entropy was not. `retrain`
    repeats the comparison on `test`.
    """
    from autosd.results.statistics import paired_difference, verdict

    baseline = next((one for one in finalists if one.label == BASELINE), None)
    compared = []
    for finalist in finalists:
        if finalist is baseline:
            compared.append(Comparison(finalist, None, REFERENCE))
            continue
        pairs = _pairs(finalist, baseline)
        if not pairs:
            compared.append(Comparison(finalist, None, "no difference shown"))
            continue
        difference = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
        compared.append(Comparison(finalist, difference, verdict(difference, not minimise)))
    return compared


def _pairs(finalist: Finalist, baseline: Finalist | None) -> list[tuple[float, float]]:
    if baseline is None or len(finalist.values) != len(baseline.values):
        return []
    pairs = zip(finalist.values, baseline.values, strict=True)
    return [pair for pair in pairs if all(math.isfinite(value) for value in pair)]
