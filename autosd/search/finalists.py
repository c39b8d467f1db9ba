"""Confirmation: the best few recipes, their published defaults and cross-entropy on new seeds.

The highest of many noisy validation scores is too good to be true. The finalists are trained
again with the same fresh seeds for all of them and scored on `select`, which the search has
never seen. Their record are the folders of a list and `chosen.json` beside them.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autosd import stored
from autosd.files import write_json
from autosd.recipe import Recipe, StrategySpec
from autosd.search.lists import Record, Run, read_records
from autosd.search.records import TrialRecord
from autosd.search.space import Space

PART = "select"
BASELINE = "cross_entropy"
MOST_PER_FAMILY = 2
FIRST_SEED = 1000
CHOSEN = "chosen.json"
CHOOSE_ANEW = "put back a copy of it, or remove it: the next search chooses anew"


@dataclass(frozen=True)
class Candidate:
    """A recipe to be confirmed.

    Attributes:
        label: starts the names of its folders: `masd-0012`, `masd-default` or `cross_entropy`.
        family: of the space.
        recipe: with the study's seed.
        trial: number of the trial it comes from, None for one that the search did not run.
        search_value: what the search had measured on `val`, or None.
    """

    label: str
    family: str
    recipe: Recipe
    trial: int | None = None
    search_value: float | None = None


@dataclass(frozen=True)
class Finalist:
    """A confirmed recipe.

    Attributes:
        label: as in `Candidate`.
        family: of the space.
        strategies: of its recipe.
        mean, sd: of the objective on `select` over the seeds; sd is None for a single seed.
        n: seeds that gave a value.
        values: one per seed, in the order of the seeds, NaN where a run diverged.
        trial, search_value: where it comes from, and what the search had measured.
        folder: of its run with the first seed.
    """

    label: str
    family: str
    strategies: tuple[str, ...]
    mean: float
    sd: float | None
    n: int
    values: tuple[float, ...]
    trial: int | None
    search_value: float | None
    folder: Path


def choose(
    trials: Iterable[TrialRecord], space: Space, base: Recipe, count: int, minimise: bool
) -> list[Candidate]:
    """Cross-entropy, the best `count` distinct recipes, and the defaults of their families.

    At most two come from a family. A default that is among the best is one candidate, not two.
    """
    if count == 0:
        return []
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    best = _best(sorted(complete, key=_rank(minimise)), space, base, count)
    families = dict.fromkeys((BASELINE, *(candidate.family for candidate in best)))
    defaults = [_with_trial(default(space, base, family), complete) for family in families]
    taken = {_identity(candidate.recipe) for candidate in defaults}
    return [*defaults, *(one for one in best if _identity(one.recipe) not in taken)]


def default(space: Space, base: Recipe, family: str) -> Candidate:
    """The published default of a family; cross-entropy also where the space does not have it."""
    label = BASELINE if family == BASELINE else f"{family}-default"
    if family in space.families:
        return Candidate(label, family, space.recipe(space.default_params(family), base))
    plain = base.model_copy(update={"strategies": (StrategySpec(name=BASELINE),)})
    return Candidate(label, family, plain)


def runs(candidates: Iterable[Candidate], seeds: int) -> list[Run]:
    """Every candidate with every seed; a seed is the same for all of them."""
    return [
        Run(candidate.label, candidate.recipe.with_seed(candidate.recipe.seed + FIRST_SEED + k))
        for candidate in candidates
        for k in range(seeds)
    ]


def write_chosen(
    folder: Path, candidates: Sequence[Candidate], seeds: int, metric: str, confirmed: bool
) -> None:
    """Record for readers who the finalists are, and whether all of their runs have ended."""
    entries = []
    for candidate in candidates:
        fields: dict[str, Any] = {**asdict(candidate), "recipe": candidate.recipe.mapping()}
        entries.append({**fields, "seeds": [run.recipe.seed for run in runs([candidate], seeds)]})
    chosen = {"metric": metric, "confirmed": confirmed, "finalists": entries}
    write_json(folder / CHOSEN, chosen)


@dataclass(frozen=True)
class Choice:
    """A recipe that was chosen, as readers need it; the fields are those of `Candidate`."""

    label: str
    family: str
    trial: int | None
    search_value: float | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Chosen:
    """What `chosen.json` says.

    Attributes:
        metric: the study's objective.
        confirmed: whether all runs of the finalists have ended.
        finalists: cross-entropy first.
    """

    metric: str
    confirmed: bool
    finalists: tuple[Choice, ...]


_CHOSEN = TypeAdapter(Chosen)


def read_chosen(folder: Path) -> Chosen | None:
    """Who the finalists are; None before they were chosen.

    Raises:
        AutosdError: the file is damaged; names it and the way out.
    """
    path = folder / CHOSEN
    if not path.exists():
        return None
    with stored.sound(path, CHOOSE_ANEW):
        return _CHOSEN.validate_python(stored.load(path))


def read_finalists(folder: Path, minimise: bool = False) -> list[Finalist]:
    """The confirmed finalists, best first; none before all of their runs have ended.

    Those that lack a seed (it diverged or failed) come last.

    Raises:
        AutosdError: a file of the confirmation is damaged; names it and the way out.
    """
    chosen = read_chosen(folder)
    if chosen is None or not chosen.confirmed:
        return []
    records = {(record.label, record.seed): record for record in read_records(folder)}
    found: list[tuple[int, Finalist]] = []
    for entry in chosen.finalists:
        runs_of = [records.get((entry.label, seed)) for seed in entry.seeds]
        finalist = _finalist(entry, runs_of, chosen.metric)
        if finalist is not None:
            found.append((len(runs_of) - finalist.n, finalist))
    found.sort(key=lambda pair: (pair[0], pair[1].mean if minimise else -pair[1].mean))
    return [finalist for _, finalist in found]


def are_confirmed(folder: Path) -> bool:
    """Whether it is on record that all runs of the finalists have ended."""
    chosen = read_chosen(folder)
    return chosen is not None and chosen.confirmed


def _finalist(entry: Choice, planned: Sequence[Record | None], metric: str) -> Finalist | None:
    """A finalist of its runs, one for each seed; a run that is lost gave no value."""
    done = [run for run in planned if run is not None]
    values = tuple(math.nan if run is None else run.value(PART, metric) for run in planned)
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    return Finalist(
        label=entry.label,
        family=entry.family,
        strategies=done[0].strategies,
        mean=statistics.fmean(finite),
        sd=statistics.stdev(finite) if len(finite) > 1 else None,
        n=len(finite),
        values=values,
        trial=entry.trial,
        search_value=entry.search_value,
        folder=done[0].folder,
    )


def _rank(minimise: bool) -> Any:
    """Best first; of equal values the earlier trial."""
    sign = 1.0 if minimise else -1.0
    return lambda trial: (sign * (trial.value or 0.0), trial.number)


def _best(ranked: Sequence[TrialRecord], space: Space, base: Recipe, count: int) -> list[Candidate]:
    best: list[Candidate] = []
    seen: set[str] = set()
    families: Counter[str] = Counter()
    for trial in ranked:
        recipe = space.recipe(trial.params, base)
        if _identity(recipe) in seen or families[trial.family] == MOST_PER_FAMILY:
            continue
        seen.add(_identity(recipe))
        families[trial.family] += 1
        label = f"{trial.family}-{trial.lineage:04d}"
        best.append(Candidate(label, trial.family, recipe, trial.number, trial.value))
        if len(best) == count:
            break
    return best


def _with_trial(candidate: Candidate, trials: Iterable[TrialRecord]) -> Candidate:
    """A default with the trial that ran it in the search."""
    for trial in trials:
        if trial.family == candidate.family and "default_of" in trial.attributes:
            return Candidate(
                candidate.label, candidate.family, candidate.recipe, trial.number, trial.value
            )
    return candidate


def _identity(recipe: Recipe) -> str:
    return recipe.with_seed(0).fingerprint()
