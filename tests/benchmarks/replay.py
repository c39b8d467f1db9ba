"""What a pruner would have cost and lost, replayed on the recorded curves of real trials.

    python tests/benchmarks/replay.py CURVES.csv --seeds 200            every pruner
    python tests/benchmarks/replay.py CURVES.csv --ranks                what each epoch knows
    python tests/benchmarks/replay.py CURVES.csv --families             who starts slowly
    python tests/benchmarks/replay.py --take runs/a runs/b >CURVES.csv  the curves of studies

Everything is printed as CSV. Curves are taken from studies that drew at random and pruned nothing:
others have only the trials that some pruner spared.

Each seed puts the recorded trials in another order, one default of each family first and protected
as in a search, and lets the real pruner decide on two simulated slots; an epoch takes the time that
its strategies declare. Two questions. What would the whole list have cost and lost? Lost is the
last value of the best trial of the list minus that of the best complete one, in points; and how
many of the best four were completed, as four finalists are confirmed. And what would have been
found in a fixed time, that of `--budget` full plain trainings, where a pruner that saves time sees
more trials? Gain is the best value found minus that found without a pruner in the same order.

± is the standard error over orders of the same trials. It holds for these trials alone: with other
ones, or another data set, the figures may be others. A value is one run's on val and as noisy as
that. The sampler does not learn here: what an unfair pruner teaches it is not in these figures.

Ranks: Spearman's correlation of an epoch's values with the last ones, over all trials, the mean
within families of at least five, with the learning rate held constant, and among the better half by
the last value, where a pruner has to choose (to choose by the outcome lowers a correlation by
itself). Families: by how many places a family's trials rise from an epoch to the last one, mean ±
standard error; who rises starts slowly. The last epoch's own noise bounds both.
"""

import argparse
import csv
import heapq
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, Trial
from scipy.stats import rankdata, spearmanr

from autosd.search import ledger
from autosd.search.mirror import folded
from autosd.search.pruners import Decision, FamilyPruner, decide, make_pruner
from autosd.search.rivals import Rivals
from autosd.search.study import StudyFolder

SETTINGS: dict[str, Callable[[int], BasePruner]] = {
    "family 67/67": lambda epochs: FamilyPruner(epochs, inside=67.0, across=67.0),
    "family 50/80": lambda epochs: FamilyPruner(epochs, inside=50.0, across=80.0),
    "family from epoch 4": lambda epochs: _later(epochs, 4),
    "family from epoch 6": lambda epochs: _later(epochs, 6),
    "family after 20 trials": lambda epochs: _Patient(epochs),
}
"""Settings of the family pruner that are not offered, beside the pruners that are."""
PRUNERS = (
    "family", "family-percentile", "family-projection", *SETTINGS, "median", "asha", "none",
)  # fmt: skip
FACTS = ("study", "trial", "family", "origin", "lr", "cost")
NEEDED = ("random", "none", "top1")
RATE = "optimizer.lr"
SLOTS = 2
FEWEST = 5
PATIENCE = 20
FINALISTS = 4


def _later(epochs: int, first: int) -> FamilyPruner:
    pruner = FamilyPruner(epochs)
    pruner.first = first
    return pruner


class _Patient(FamilyPruner):
    """Stops nothing before twenty trials are complete."""

    def decide(self, study: optuna.Study, trial: FrozenTrial) -> Decision | None:
        enough = len(folded(study, Rivals).finals) >= PATIENCE
        return super().decide(study, trial) if enough else None


@dataclass(frozen=True)
class Recorded:
    """A complete trial: whether it is a default, learning rate, cost of a step, values by epoch."""

    family: str
    default: bool
    lr: float
    cost: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Replayed:
    """One run: trials begun, time in plain epochs, best value, and how many of the best four."""

    trials: int
    time: float
    best: float
    kept: int


def take(folders: Sequence[Path]) -> Iterator[dict[str, object]]:
    """Rows of the table: the complete trials of studies, all of as many epochs."""
    lengths = set()
    for path in folders:
        folder = StudyFolder.open(path)
        definition = folder.definition
        lengths.add(definition.recipe.epochs)
        if (definition.sampler, definition.pruner, definition.objective) != NEEDED:
            sys.exit(f"{path}: sampler, pruner and objective must be {', '.join(NEEDED)}")
        if len(lengths) > 1:
            sys.exit(f"{path}: has other epochs than the studies before it")
        for trial in folder.records():
            if trial.state == "complete":
                rate = trial.params.get(RATE, definition.recipe.optimizer.lr)
                facts = (path.name, trial.number, trial.family, trial.origin, round(rate, 5))
                values = {f"e{epoch}": round(value, 4) for epoch, value in trial.curve}
                yield dict(zip(FACTS, (*facts, trial.cost), strict=True)) | values


def write(rows: Iterable[dict[str, object]]) -> None:
    """Rows on standard output, as they come."""
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)
        sys.stdout.flush()


def read(path: Path) -> list[Recorded]:
    """The table from a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_recorded(row) for row in csv.DictReader(file)]


def _recorded(row: dict[str, str]) -> Recorded:
    values = tuple(float(value) for name, value in row.items() if name not in FACTS)
    default, rate, cost = row["origin"] == "default", float(row["lr"]), float(row["cost"] or 1)
    return Recorded(row["family"], default, rate, cost, values)


class Replay:
    """One order of the trials under one pruner."""

    def __init__(self, curves: Sequence[Recorded], pruner: str, budget: float | None) -> None:
        self.best = sorted((one.values[-1] for one in curves), reverse=True)[:FINALISTS]
        self.curves = curves
        self.epochs = len(curves[0].values)
        self.families = CategoricalDistribution(sorted({one.family for one in curves}))
        self.until = float("inf") if budget is None else budget * self.epochs / SLOTS
        self.study = optuna.create_study(
            sampler=optuna.samplers.RandomSampler(0),
            pruner=SETTINGS[pruner](self.epochs)
            if pruner in SETTINGS
            else make_pruner(pruner, self.epochs),
            direction="maximize",
        )

    def run(self, seed: int) -> Replayed:
        """Train as long as trials and time last; what the end cuts off counts for nothing."""
        waiting = iter(ordered(self.curves, seed))
        live: list[tuple[float, int, Trial, Recorded, int]] = []
        now, used, begun, complete = 0.0, 0.0, 0, []
        while True:
            while len(live) < SLOTS and (one := next(waiting, None)) is not None:
                heapq.heappush(live, (now + one.cost, begun, self._begin(one), one, 1))
                begun += 1
            if not live or live[0][0] > self.until:
                break
            now, order, trial, one, epoch = heapq.heappop(live)
            used += one.cost
            if self._goes_on(trial, one, epoch):
                heapq.heappush(live, (now + one.cost, order, trial, one, epoch + 1))
            elif epoch == self.epochs:
                complete.append(one.values[-1])
        kept = sum(value >= self.best[-1] for value in complete)
        return Replayed(begun, used, max(complete, default=0.0), min(kept, FINALISTS))

    def _begin(self, one: Recorded) -> Trial:
        self.study.enqueue_trial({"strategy": one.family}, {"protected": one.default})
        trial = self.study.ask()
        trial.suggest_categorical("strategy", self.families.choices)
        return trial

    def _goes_on(self, trial: Trial, one: Recorded, epoch: int) -> bool:
        """Report an epoch and do what the pruner says."""
        value = one.values[epoch - 1]
        trial.report(value, epoch)
        if epoch == self.epochs:
            self.study.tell(trial, value)
            return False
        decision = decide(self.study, trial)
        if decision is not None:
            ledger.tell_pruned(self.study, trial, **decision.facts())
        return decision is None


def ordered(curves: Sequence[Recorded], seed: int) -> list[Recorded]:
    """The defaults first, one of each family, then everything else by chance and unprotected."""
    shuffled = random.Random(seed).sample(curves, len(curves))
    first = {one.family: one for one in shuffled if one.default}.values()
    others = (one for one in shuffled if all(one is not other for other in first))
    return [*first, *(replace(one, default=False) for one in others)]


def replayed(curves: Sequence[Recorded], budget: float | None, run: tuple[str, int]) -> Replayed:
    """One run, in a process of its own kind."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner, seed = run
    return Replay(curves, pruner, budget).run(seed)


def pruned(
    curves: Sequence[Recorded], seeds: int, budget: float, processes: int
) -> Iterator[dict[str, object]]:
    """A row for each pruner."""
    best = max(one.values[-1] for one in curves)
    plain = sum(one.cost for one in curves) * len(curves[0].values)
    with ProcessPoolExecutor(processes) as pool:

        def runs(name: str, limit: float | None) -> list[Replayed]:
            each = [(name, seed) for seed in range(seeds)]
            return list(pool.map(partial(replayed, curves, limit), each))

        free = runs("none", budget)
        for name in PRUNERS:
            whole, bounded = runs(name, None), runs(name, budget)
            gains = [one.best - other.best for one, other in zip(bounded, free, strict=True)]
            share = statistics.fmean(one.time for one in whole) / plain
            yield {
                "pruner": name,
                "time of the whole list": f"{100 * share:.0f} %",
                "lost (points)": _points([best - one.best for one in whole]),
                "of the best four": f"{statistics.fmean(one.kept for one in whole):.1f}",
                f"trials in the time of {budget:g}": (
                    f"{statistics.fmean(one.trials for one in bounded):.0f}"
                ),
                "gain in that time (points)": _points(gains),
            }


def _points(shares: Sequence[float]) -> str:
    return _with_error([100 * share for share in shares], 2)


def _with_error(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.{digits}f}"


def ranked(curves: Sequence[Recorded]) -> Iterator[dict[str, object]]:
    """A row for each epoch but the last: how well it ranks the trials as the last one does."""
    better = sorted(curves, key=lambda one: -one.values[-1])[: len(curves) // 2]
    for epoch in range(1, len(curves[0].values)):
        yield {
            "epoch": epoch,
            "all trials": f"{correlation(curves, epoch):.2f}",
            "within families": f"{within(curves, epoch):.2f}",
            "rate held constant": f"{beyond_rate(curves, epoch):.2f}",
            "better half": f"{correlation(better, epoch):.2f}",
        }


def correlation(curves: Sequence[Recorded], epoch: int) -> float:
    """Spearman's rank correlation of an epoch's values with the last ones."""
    pairs = [(one.values[epoch - 1], one.values[-1]) for one in curves]
    return float(spearmanr([early for early, _ in pairs], [last for _, last in pairs]).statistic)


def beyond_rate(curves: Sequence[Recorded], epoch: int) -> float:
    """It, of what a parabola in the learning rate's rank does not explain of either."""
    rates = rankdata([one.lr for one in curves])
    left = []
    for at in (epoch - 1, -1):
        places = rankdata([one.values[at] for one in curves])
        left.append(places - np.polyval(np.polyfit(rates, places, 2), rates))
    return float(np.corrcoef(*left)[0, 1])


def measured(curves: Sequence[Recorded]) -> dict[str, list[Recorded]]:
    """The trials of each family that has enough of them, by name."""
    families = sorted({one.family for one in curves})
    found = {name: [one for one in curves if one.family == name] for name in families}
    return {name: own for name, own in found.items() if len(own) >= FEWEST}


def within(curves: Sequence[Recorded], epoch: int) -> float:
    """The mean of it within families whose values differ."""
    found = [
        correlation(own, epoch)
        for own in measured(curves).values()
        if all(len({one.values[at] for one in own}) > 1 for at in (epoch - 1, -1))
    ]
    return statistics.fmean(found) if found else float("nan")


def risen(curves: Sequence[Recorded]) -> Iterator[dict[str, object]]:
    """A row for each family: places that its trials rise from an epoch to the last one."""
    last = len(curves[0].values)
    places = {
        epoch: rankdata([-one.values[epoch - 1] for one in curves])
        for epoch in sorted({min(3, last), round(0.6 * last), round(0.8 * last), last})
    }
    for name, own in measured(curves).items():
        at = [place for place, one in enumerate(curves) if one in own]
        rises = {
            f"from epoch {epoch}": _with_error([of[k] - places[last][k] for k in at], 1)
            for epoch, of in places.items()
            if epoch != last
        }
        yield {"family": name, "trials": len(own), **rises}


def main() -> None:
    """Take curves or replay them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curves", type=Path, nargs="?")
    parser.add_argument("--take", type=Path, nargs="+", metavar="STUDY")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--budget", type=float, default=30.0, help="in full plain trainings")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ranks", action="store_true", help="what each epoch knows")
    parser.add_argument("--families", action="store_true", help="who starts slowly")
    options = parser.parse_args()
    if options.take:
        write(take(options.take))
        return
    if not options.curves:
        parser.error("name a table of curves, or studies to --take them from")
    curves = read(options.curves)
    first = sum(one.cost for one in ordered(curves, 0) if one.default)
    if options.ranks:
        write(ranked(curves))
    elif options.families:
        write(risen(curves))
    elif options.budget <= first:
        parser.error(f"--budget: the families' defaults alone cost {first:.1f} trainings")
    else:
        write(pruned(curves, options.seeds, options.budget, options.processes))


if __name__ == "__main__":
    main()
