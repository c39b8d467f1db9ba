"""The rows of a comparison: scores, paired differences, verdicts, and what each recipe cost."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autosd.results.compare_runs import Effort, Runs, effort_of
from autosd.results.statistics import (
    Difference,
    Summary,
    adjusted_verdict,
    holm,
    paired_difference,
    summary,
    verdict,
)

METRICS = ("top1", "nll", "ece")
REFERENCE = "reference"


@dataclass(frozen=True)
class Row:
    """One recipe of the table.

    Attributes:
        recipe: its label.
        strategies: of the recipe.
        n: runs with a result.
        diverged, failed: runs that ended without one; failed ones are tried again by the same call.
        scores: part -> metric -> mean and spread over the runs with a result.
        difference: to the reference, seed by seed; None for itself and without a common seed.
        verdict: better, worse or no difference shown; `reference`; `diverged` or `incomplete` where
            runs are missing, since those that are left say nothing fair.
        verdict_holm: the same after Holm's adjustment for all comparisons of the table.
        p_holm: the adjusted p-value.
        effort: what it took.
    """

    recipe: str
    strategies: tuple[str, ...]
    n: int
    diverged: int
    failed: int
    scores: dict[str, dict[str, Summary]]
    difference: Difference | None
    verdict: str
    verdict_holm: str
    p_holm: float | None
    effort: Effort

    def mapping(self) -> dict[str, Any]:
        """Plain values: the row of `autosd compare --json`."""
        apart, effort = self.difference, self.effort
        return {
            "recipe": self.recipe,
            "strategies": list(self.strategies),
            "n": self.n,
            "diverged": self.diverged,
            "failed": self.failed,
            **{part: _spreads(values) for part, values in self.scores.items()},
            "difference": None
            if apart is None
            else {
                "mean": apart.mean,
                "low": apart.low,
                "high": apart.high,
                "n": apart.n,
                "p": apart.p,
                "p_holm": self.p_holm,
                "why": apart.why,
            },
            "verdict": self.verdict,
            "verdict_holm": self.verdict_holm,
            "detectable": None if apart is None else apart.smallest,
            "cost": {"declared": effort.declared, "measured": effort.measured},
            "epochs": effort.epochs,
            "seconds": effort.seconds,
            "images": effort.images,
            "forwards": effort.forwards,
            "memory": effort.memory,
        }


def rows_of(field: Sequence[Runs], parts: Sequence[str], part: str, metric: str) -> list[Row]:
    """A row for each recipe: the first is the reference, the others follow from best to worst.

    Args:
        field: the runs of each recipe, the reference first.
        parts: of the data whose scores are shown.
        part, metric: what the differences are of.
    """
    baseline, higher = field[0], metric != "nll"
    rows = [_row(runs, baseline, parts, (part, metric)) for runs in field]
    return [rows[0], *_ranked(_adjusted(rows[1:], higher), higher)]


def to_csv(rows: Sequence[Row]) -> str:
    """The table with one column for each value; names as in the JSON, levels joined by dots."""
    flat = [_flat(row.mapping()) for row in rows]
    keys = dict.fromkeys(key for values in flat for key in values)
    columns = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _row(
    runs: Runs,
    baseline: Runs,
    parts: Sequence[str],
    deciding: tuple[str, str],
) -> Row:
    difference = difference_of(runs, baseline, deciding)
    return Row(
        recipe=runs.label,
        strategies=runs.strategies,
        n=len(runs.scores(*deciding)),
        diverged=len(runs.diverged),
        failed=runs.planned - len(runs.records),
        scores={part: _summaries(runs, part) for part in parts},
        difference=difference,
        verdict=_verdict(runs, baseline, difference, deciding[1]),
        verdict_holm=REFERENCE if runs is baseline else "",
        p_holm=None,
        effort=effort_of(runs, baseline),
    )


def difference_of(runs: Runs, baseline: Runs, deciding: tuple[str, str]) -> Difference | None:
    """Paired difference of a part and metric; None for itself and without a common seed."""
    own, other = runs.scores(*deciding), baseline.scores(*deciding)
    shared = sorted(own.keys() & other.keys())
    if runs is baseline or not shared:
        return None
    return paired_difference([own[seed] for seed in shared], [other[seed] for seed in shared])


def _verdict(runs: Runs, baseline: Runs, difference: Difference | None, metric: str) -> str:
    if runs is baseline:
        return REFERENCE
    if runs.diverged:
        return "diverged"
    if difference is None or difference.n < runs.planned:
        return "incomplete"
    return verdict(difference, higher_is_better=metric != "nll")


def _adjusted(rows: Sequence[Row], higher: bool) -> list[Row]:
    """Rows with Holm's verdicts: every comparison of the table counts."""
    p_values = holm([None if row.difference is None else row.difference.p for row in rows])
    return [
        replace(row, p_holm=p, verdict_holm=_holm_verdict(row, p, higher))
        for row, p in zip(rows, p_values, strict=True)
    ]


def _holm_verdict(row: Row, p: float | None, higher: bool) -> str:
    if row.difference is None or row.verdict in ("diverged", "incomplete"):
        return row.verdict
    return adjusted_verdict(row.difference, p, higher)


def _ranked(rows: Sequence[Row], higher: bool) -> list[Row]:
    """Best first; those without a difference last, in their order."""
    sign = -1.0 if higher else 1.0

    def place(row: Row) -> tuple[bool, float]:
        return row.difference is None, sign * (row.difference.mean if row.difference else 0.0)

    return sorted(rows, key=place)


def _summaries(runs: Runs, part: str) -> dict[str, Summary]:
    scores = {metric: list(runs.scores(part, metric).values()) for metric in METRICS}
    return {metric: summary(values) for metric, values in scores.items() if values}


def _spreads(values: Mapping[str, Summary]) -> dict[str, Any]:
    return {metric: {"mean": one.mean, "sd": one.sd} for metric, one in values.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = " ".join(value) if isinstance(value, list) else value
    return flat
