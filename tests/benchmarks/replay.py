"""What a pruner would have cost and lost, replayed on the recorded curves of real trials.

    python tests/benchmarks/replay.py CURVES.csv --seeds 200            every pruner, one table
    python tests/benchmarks/replay.py --take runs/a runs/b >CURVES.csv  the curves of studies

Each seed draws the recorded trials in another order, the defaults of the families first and
protected as in a search, and lets the real pruner decide on two simulated slots; an epoch takes
the time that its strategies declare. Two questions: what the whole list would have cost and lost
("all"), and what would have been found with the time of `--budget` full plain trainings, where a
pruner that saves time sees more trials ("budget"). Lost is the last value of the best trial of
the list minus that of the best complete one, in points, with the standard error over seeds. The
sampler does not learn here: what an unfair pruner teaches it is not in these figures.

Before that, how well epoch k ranks the trials as the last epoch does: Spearman's correlation over
all, and the mean within families of at least five.
"""

import argparse
import csv
import heapq
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import Trial
from scipy.stats import spearmanr

from autosd.search import ledger
from autosd.search.pruners import decide, make_pruner
from autosd.search.study import StudyFolder

PRUNERS = ("family", "family-percentile", "family-projection", "median", "asha", "none")
FACTS = ("study", "trial", "family", "default", "cost")
SLOTS = 2
FEWEST = 5


@dataclass(frozen=True)
class Recorded:
    """A complete trial: whether it is its family's default, cost of a step, values by epoch."""

    family: str
    default: bool
    cost: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Replayed:
    """One run: trials begun, time in plain epochs, and what was lost of the best, in points."""

    trials: int
    time: float
    lost: float


def take(folders: Sequence[Path]) -> Iterator[dict[str, object]]:
    """Rows of the table: the complete trials of studies, all of as many epochs."""
    for path in folders:
        for trial in StudyFolder.open(path).records():
            if trial.state == "complete":
                facts = (path.name, trial.number, trial.family, int(trial.origin == "default"))
                values = {f"e{epoch}": round(value, 4) for epoch, value in trial.curve}
                yield dict(zip(FACTS, (*facts, trial.cost), strict=True)) | values


def write(rows: Sequence[dict[str, object]]) -> None:
    """The table on standard output."""
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def read(path: Path) -> list[Recorded]:
    """The table from a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_recorded(row) for row in csv.DictReader(file)]


def _recorded(row: dict[str, str]) -> Recorded:
    values = tuple(float(value) for name, value in row.items() if name not in FACTS)
    return Recorded(row["family"], row["default"] == "1", float(row["cost"] or 1), values)


class Replay:
    """One order of the trials under one pruner."""

    def __init__(self, curves: Sequence[Recorded], pruner: str, budget: float | None) -> None:
        self.curves = curves
        self.epochs = len(curves[0].values)
        self.families = CategoricalDistribution(sorted({one.family for one in curves}))
        self.until = float("inf") if budget is None else budget * self.epochs / SLOTS
        self.study = optuna.create_study(
            sampler=optuna.samplers.RandomSampler(0),
            pruner=make_pruner(pruner, self.epochs),
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
        best = max(one.values[-1] for one in self.curves)
        return Replayed(begun, used, 100 * (best - max(complete, default=0.0)))

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
    """The defaults first, one of each family, then everything else by chance."""
    shuffled = random.Random(seed).sample(curves, len(curves))
    first = {one.family: one for one in shuffled if one.default}.values()
    return [*first, *(one for one in shuffled if all(one is not other for other in first))]


def replayed(curves: Sequence[Recorded], budget: float | None, run: tuple[str, int]) -> Replayed:
    """One run, in a process of its own kind."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner, seed = run
    return Replay(curves, pruner, budget).run(seed)


def show(curves: Sequence[Recorded], seeds: int, budget: float, processes: int) -> None:
    """Both tables."""
    epochs, finals = len(curves[0].values), [one.values[-1] for one in curves]
    print(f"{len(curves)} trials, {len({one.family for one in curves})} families")
    print(f"best {max(finals):.4f}, median {statistics.median(finals):.4f}")
    print("\nepoch   all   within families   (rank correlation with the last epoch)")
    for epoch in range(1, epochs):
        print(f"{epoch:5}{correlation(curves, epoch):6.2f}{within(curves, epoch):18.2f}")
    print(
        f"\n{seeds} seeds              all: time   lost          {budget:g} trainings: trials  lost"
    )
    plain = sum(one.cost for one in curves) * epochs
    with ProcessPoolExecutor(processes) as pool:
        for name in PRUNERS:
            runs = [(name, seed) for seed in range(seeds)]
            whole = list(pool.map(partial(replayed, curves, None), runs))
            bounded = list(pool.map(partial(replayed, curves, budget), runs))
            print(
                f"{name:22}{100 * statistics.fmean(one.time for one in whole) / plain:10.0f} %"
                f"{_lost(whole)}{statistics.fmean(one.trials for one in bounded):17.0f}"
                f"{_lost(bounded)}",
                flush=True,
            )


def _lost(runs: Sequence[Replayed]) -> str:
    lost = [run.lost for run in runs]
    spread = statistics.stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else float("nan")
    return f"{statistics.fmean(lost):8.2f} ± {spread:.2f}"


def correlation(curves: Sequence[Recorded], epoch: int) -> float:
    """Spearman's rank correlation of an epoch's values with the last ones."""
    pairs = [(one.values[epoch - 1], one.values[-1]) for one in curves]
    return float(spearmanr([early for early, _ in pairs], [last for _, last in pairs]).statistic)


def within(curves: Sequence[Recorded], epoch: int) -> float:
    """The mean of it within families of enough trials whose values differ."""
    found = []
    for family in {one.family for one in curves}:
        own = [one for one in curves if one.family == family]
        if len(own) >= FEWEST and all(
            len({one.values[at] for one in own}) > 1 for at in (epoch - 1, -1)
        ):
            found.append(correlation(own, epoch))
    return statistics.fmean(found) if found else float("nan")


def main() -> None:
    """Take curves or replay them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("curves", type=Path, nargs="?")
    parser.add_argument("--take", type=Path, nargs="+", metavar="STUDY")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--budget", type=float, default=30.0, help="in full plain trainings")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.take:
        write(list(take(options.take)))
    elif options.curves:
        show(read(options.curves), options.seeds, options.budget, options.processes)
    else:
        parser.error("name a table of curves, or studies to --take them from")


if __name__ == "__main__":
    main()
