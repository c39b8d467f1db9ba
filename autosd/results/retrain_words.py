"""What has to be said beside the table of a retraining, so that it claims no more than it shows."""

from collections.abc import Iterator, Sequence

from autosd.results.compare_table import difference_of
from autosd.results.compare_words import missing
from autosd.results.retrain_runs import PART
from autosd.results.retrain_table import Trained
from autosd.results.retrained import Row
from autosd.results.wording import sentence

REFERENCES = {
    "control": (
        "best control",
        "is itself a control: plain training with a cheap, well-known change",
    ),
    "tuned": (
        "cross-entropy with the winner's settings of training",
        "has no strategy: it is cross-entropy with other settings of training",
    ),
}
"""Of a role: what it means beside a label, and what to say of a winner that has it."""


def remarks_on(trained: Sequence[Trained], rows: Sequence[Row], metric: str) -> list[str]:
    """Sentences beside the claims, in order of weight.

    Args:
        trained: the winner first.
        rows: of the same entries.
        metric: the study's objective.
    """
    return [
        *_certainty(rows),
        *_choice(rows, metric),
        *(line for one in trained for line in missing(one.runs)),
        *_control(rows),
        *_temperatures(trained),
    ]


def claims_on(trained: Sequence[Trained], rows: Sequence[Row], metric: str) -> Iterator[str]:
    """The winner against cross-entropy, the best control and cross-entropy with its settings."""
    won = rows[0]
    if won.verdict in ("diverged", "incomplete"):
        return
    if "baseline" in won.roles:
        yield "The winner is plain cross-entropy: no recipe that was confirmed did better."
        return
    yield sentence(won.recipe, won.difference, metric)
    for role, (meaning, itself) in REFERENCES.items():
        other = next((one for one in trained if role in one.entry.roles), None)
        if role in won.roles:
            yield f"{won.recipe} {itself}."
        elif other and not other.runs.diverged:
            difference = difference_of(trained[0].runs, other.runs, (PART, metric))
            yield sentence(won.recipe, difference, metric, than=f"{other.entry.label} ({meaning})")


def _certainty(rows: Sequence[Row]) -> Iterator[str]:
    if max(row.n for row in rows) < 2:
        yield "One seed gives no interval and no verdict: give --seeds 3 or more."
        return
    compared = [row for row in rows if row.difference is not None]
    if len(compared) > 1:
        left = ", ".join(row.recipe for row in compared if row.verdict_holm == "better")
        yield (
            "Intervals and verdicts hold for one comparison at a time; for all "
            f"{len(compared)} together (Holm) better than cross-entropy: {left or 'none shown'}."
        )


def _choice(rows: Sequence[Row], metric: str) -> Iterator[str]:
    """Where a row is above the winner on test, why it is not taken."""
    sign = -1 if metric == "nll" else 1
    known = [row for row in rows if metric in row.metrics]
    best = max(known, key=lambda row: sign * row.metrics[metric].mean)
    if rows[0] in known and best.metrics[metric] != rows[0].metrics[metric]:
        yield (
            f"best/ holds {rows[0].recipe}, chosen before test was read; {best.recipe} has the "
            "better mean on test, which may not choose."
        )


def _control(rows: Sequence[Row]) -> Iterator[str]:
    if not any("control" in row.roles for row in rows):
        yield (
            "The study's space has no control (see search_spaces/controls.yaml): a gain may be "
            "one that label smoothing or mixing would give as well."
        )


def _temperatures(trained: Sequence[Trained]) -> Iterator[str]:
    without = ", ".join(one.entry.label for one in trained if one.temperature is None)
    if without:
        yield (
            f"No temperature, because no confirmation run of the same recipe has held-back images "
            f"to fit it on: {without}."
        )
    bound = ", ".join(
        one.entry.label for one in trained if one.temperature and one.temperature.at_bound
    )
    if bound:
        yield (
            f"A temperature at the end of its range, select does not settle it: {bound}. This "
            "happens where nearly every image is classified right."
        )
