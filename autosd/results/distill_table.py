"""The table of a distillation: what soft labels add to the winner, seed by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autosd.recipe import Recipe
from autosd.results.ensembled import Distilled, DistilledRow
from autosd.results.retrain_runs import FIRST_SEED, PART
from autosd.results.statistics import Difference, paired_difference, summary, verdict
from autosd.results.wording import amount, interval
from autosd.search.lists import Record, Run

ALONE = "distilled"
TOGETHER = "distilled with the winner's strategies"
WINNER, PLAIN = "winner", "cross_entropy"
WORDS = {ALONE: "soft labels alone", TOGETHER: "soft labels with the winner's strategies"}
Runs = Mapping[int, Record]


@dataclass(frozen=True)
class Arm:
    """A recipe of the table with the folder that holds its runs."""

    label: str
    role: str
    recipe: Recipe
    into: Path

    def runs(self, seeds: int) -> list[Run]:
        """One for each seed; a seed is the same for all arms."""
        first = self.recipe.seed + FIRST_SEED
        return [Run(self.label, self.recipe.with_seed(first + k)) for k in range(seeds)]


def rows_of(
    root: Path, arms: Sequence[Arm], found: Mapping[str, Runs], planned: int
) -> tuple[DistilledRow, ...]:
    """One row for each recipe with a result.

    Args:
        root: the study folder.
        arms: in the order of the table.
        found: role -> finished runs by seed.
        planned: seeds of each recipe; where some gave no result, those that did say nothing fair.
    """
    return tuple(_row(root, arm, found, planned) for arm in arms if found[arm.role])


def judged(table: Distilled, members: int) -> Distilled:
    """The table with the student to take, and what it shows in words.

    Of two distilled recipes the one with the winner's strategies is taken, whatever test says of
    them: no part of the data is left that could choose, and test may not.

    Args:
        table: with its rows.
        members: of the ensemble that taught.
    """
    taught = [row for row in table.rows if row.role in WORDS]
    best = next((row for row in taught if row.role == TOGETHER), taught[0])
    remarks = [sentence(row) for row in taught]
    if table.left_out:
        remarks.append(f"Soft labels with the winner's strategies are left out: {table.left_out}.")
    if not any(row.verdict == "better" for row in taught):
        remarks.append("No gain over the winner is shown; the winner stays the safe choice.")
    if len(taught) > 1:
        remarks.append(
            f"Of the distilled, {best.recipe} is the one to take: so laid down before test was "
            "read, which may not choose."
        )
    seeds = max(row.top1.n for row in table.rows)
    teacher = "the teacher's members" if members > 1 else "the teacher, a single student,"
    remarks.append(
        f"All are trained on train, val and select with {seeds} paired "
        f"seed{'' if seeds == 1 else 's'}; {teacher} learnt from train alone."
    )
    return replace(table, best=best.models[min(best.models)], remarks=tuple(remarks))


def sentence(row: DistilledRow) -> str:
    """What is known of a distilled student against the plain winner."""
    top1, nll = row.to_winner, row.nll_to_winner
    name = WORDS[row.role].capitalize()
    if top1 is None or nll is None:
        return f"{name}: no seed is shared with the winner."
    if row.verdict == "incomplete":
        return f"{name}: runs are missing, so that nothing is said of the difference to the winner."
    parts = [f"top-1 {_shown(top1, 'top1')}", f"NLL {_shown(nll, 'nll')}"]
    words = [verdict(top1), verdict(nll, higher_is_better=False)]
    told = {one for one in words if one != "no difference shown"}
    if not told:
        return f"{name}: no difference to the winner shown ({'; '.join(parts)})."
    found = [f"{part}: {word}" for part, word in zip(parts, words, strict=True)]
    return f"{name} against the winner: {'; '.join(found)}."


def _shown(difference: Difference, metric: str) -> str:
    mean = amount(difference.mean, metric)
    if difference.low is None:
        return f"{mean}, {difference.why}"
    return f"{mean}, 95 % interval {interval(difference, metric)}"


def _row(root: Path, arm: Arm, found: Mapping[str, Runs], planned: int) -> DistilledRow:
    own = found[arm.role]
    reference = arm.role == WINNER
    to_winner = None if reference else _difference(own, found[WINNER], "top1")
    plain = found.get(PLAIN, found[WINNER])
    return DistilledRow(
        recipe=arm.label,
        role=arm.role,
        top1=summary(_values(own, "top1")),
        nll=summary(_values(own, "nll")),
        to_winner=to_winner,
        nll_to_winner=None if reference else _difference(own, found[WINNER], "nll"),
        to_cross_entropy=None if own is plain else _difference(own, plain, "top1"),
        verdict=_verdict(reference, to_winner, min(len(own), len(found[WINNER])) == planned),
        models={seed: _model(root, record) for seed, record in sorted(own.items())},
    )


def _model(root: Path, record: Record) -> str:
    return (record.folder / "model").relative_to(root).as_posix()


def _verdict(reference: bool, difference: Difference | None, whole: bool) -> str:
    if reference:
        return "reference"
    if not whole:
        return "incomplete"
    return "no difference shown" if difference is None else verdict(difference)


def _values(runs: Runs, metric: str) -> list[float]:
    return [runs[seed].value(PART, metric) for seed in sorted(runs)]


def _difference(runs: Runs, reference: Runs, metric: str) -> Difference | None:
    shared = sorted(runs.keys() & reference.keys())
    if not shared:
        return None
    values = [[each[seed].value(PART, metric) for seed in shared] for each in (runs, reference)]
    return paired_difference(values[0], values[1])
