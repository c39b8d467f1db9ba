"""Families side by side: the best each reached in the search, and how many trials it took."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from autosd.search.records import TrialRecord

BASELINE = "cross_entropy"


@dataclass(frozen=True)
class Row:
    """One family of a study.

    Attributes:
        family: its name.
        value: value of its best complete trial, None before there is one.
        trial: number of that trial.
        complete, pruned, failed: its trials by their end; diverged ones are among the pruned.
        gain: `value` minus that of cross-entropy, None where either is missing.
    """

    family: str
    value: float | None
    trial: int | None
    complete: int
    pruned: int
    failed: int
    gain: float | None


def leaderboard(
    records: Iterable[TrialRecord], families: Iterable[str], minimise: bool = False
) -> list[Row]:
    """One row per family, best first, families without a value last.

    Values are those of the search: the best of several noisy ones, so families with more trials
    look better than they are. The finalists' scores do not have this fault.
    """
    found = list(records)
    best = {family: best_trial(found, family, minimise) for family in families}
    baseline = best.get(BASELINE)
    reference = None if baseline is None else baseline.value
    rows = [_row(family, best[family], found, reference) for family in best]
    worst = float("inf") if minimise else float("-inf")
    sign = 1 if minimise else -1
    return sorted(rows, key=lambda row: sign * (worst if row.value is None else row.value))


def best_trial(
    records: Iterable[TrialRecord], family: str | None = None, minimise: bool = False
) -> TrialRecord | None:
    """The complete trial with the best value, of one family or of all; the first of equals."""
    complete = [
        record
        for record in records
        if record.state == "complete"
        and record.value is not None
        and family in (None, record.family)
    ]
    if not complete:
        return None
    return (min if minimise else max)(complete, key=_value)


def _value(record: TrialRecord) -> float:
    return 0.0 if record.value is None else record.value


def _row(
    family: str, best: TrialRecord | None, records: list[TrialRecord], reference: float | None
) -> Row:
    ends = Counter(record.state for record in records if record.family == family)
    value = None if best is None else best.value
    return Row(
        family=family,
        value=value,
        trial=None if best is None else best.number,
        complete=ends["complete"],
        pruned=ends["pruned"] + ends["diverged"],
        failed=ends["failed"],
        gain=None if value is None or reference is None else value - reference,
    )
