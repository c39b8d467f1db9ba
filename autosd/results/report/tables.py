"""The tables of a report: recipes and families side by side, in the words of the terminal."""

from collections.abc import Collection, Mapping, Sequence

from autosd.results import numbers
from autosd.results.leaderboard import Row as FamilyRow
from autosd.results.numbers import mean_and_sd, metric
from autosd.results.outcome import Comparison
from autosd.results.report.blocks import Cell, Row, Table, Tone, row
from autosd.results.retrained import Retrained
from autosd.results.retrained import Row as RetrainedRow
from autosd.results.statistics import Difference, Summary
from autosd.results.wording import amount, interval

TONES: dict[str, Tone] = {"better": "better", "worse": "worse", "reference": "note"}
CONTROL = "control"
CALIBRATION = {
    "ece": "ECE, 15 equal bins",
    "ece_equal_mass": "ECE, equal mass",
    "nll": "NLL",
    "brier": "Brier",
}


def families(
    rows: Sequence[FamilyRow], controls: Collection[str], objective: str, images: int | None
) -> Table:
    """The leaderboard of the search, best family first."""
    heads = ["family", "best on val", "to cross-entropy", "trial", "complete", "pruned", "failed"]
    lines = [
        row(
            Cell(one.family, tag=CONTROL if one.family in controls else ""),
            metric(one.value, objective, images),
            "-" if one.gain is None else amount(one.gain, objective).split()[0],
            "-" if one.trial is None else str(one.trial),
            str(one.complete),
            str(one.pruned),
            str(one.failed),
        )
        for one in rows
    ]
    return Table(heads, lines)


def finalists(
    compared: Sequence[Comparison],
    controls: Collection[str],
    objective: str,
    images: Mapping[str, int],
) -> Table:
    """Confirmed recipes on `select`, best first, with their differences to cross-entropy.

    Args:
        compared: best first.
        controls: families that are marked as such.
        objective: of the scores.
        images: by part, as far as they are known.
    """
    heads = ["recipe", "on select", "seeds", "to cross-entropy", "95 % interval", "verdict"]
    heads.append("in the search, on val")
    lines = []
    for place, one in enumerate(compared):
        found = one.finalist
        lines.append(
            row(
                Cell(found.label, tag=CONTROL if found.family in controls else ""),
                mean_and_sd(found.mean, found.sd, objective, images.get("select")),
                str(found.n)
                if found.n == len(found.values)
                else f"{found.n} of {len(found.values)}",
                *difference(one.difference, objective),
                verdict(one.verdict),
                metric(found.search_value, objective, images.get("val")),
                strong=place == 0,
            )
        )
    return Table(heads, lines)


def retrained(table: Retrained) -> Table:
    """Recipes trained on everything but test, and scored on test."""
    heads = ["recipe", "on test", "seeds", "to cross-entropy", "95 % interval", "verdict"]
    heads += ["Holm's verdict", "on select", "in the search", "cost"]
    return Table(heads, [_retrained(one, table, place) for place, one in enumerate(table.rows)])


def _retrained(one: RetrainedRow, table: Retrained, place: int) -> Row:
    score = one.metrics.get(table.metric)
    confirmed = one.confirmed
    return row(
        Cell(one.recipe, tag=", ".join(one.roles)),
        spread(score, table.metric, table.images),
        str(one.n) if one.n == one.planned else f"{one.n} of {one.planned}",
        *difference(one.difference, table.metric),
        verdict(one.verdict),
        verdict(one.verdict_holm),
        spread(confirmed, table.metric),
        metric(one.search, table.metric),
        "-" if one.declared is None else f"{one.declared['step']:.2f}",
        strong=place == 0,
    )


def calibration(table: Retrained) -> Table:
    """Calibration on test: as trained, and with the logits divided by one temperature."""
    heads = ["recipe"]
    for name in CALIBRATION.values():
        heads += [name, f"{name}, scaled"]
    heads.append("temperature")
    lines = []
    for place, one in enumerate(table.rows):
        cells = [one.recipe]
        for name in CALIBRATION:
            cells += [spread(one.metrics.get(name), "nll"), spread(one.scaled.get(name), "nll")]
        cells.append("-" if one.temperature is None else f"{one.temperature.mean:.2f}")
        lines.append(row(*cells, strong=place == 0))
    return Table(heads, lines)


def spread(one: Summary | None, objective: str, images: int | None = None) -> str:
    """A mean with its standard deviation, a dash where there is none."""
    return "-" if one is None else mean_and_sd(one.mean, one.sd, objective, images)


def difference(one: Difference | None, objective: str) -> tuple[str, str]:
    """A difference and its interval, each for a cell of its own."""
    if one is None:
        return "-", "-"
    return amount(one.mean, objective).split()[0], interval(one, objective)


def verdict(word: str) -> Cell:
    """A verdict in its colour."""
    return Cell("none shown" if word == "no difference shown" else word, TONES.get(word, ""))


def seconds(value: float | None) -> str:
    """A time as people say it."""
    return numbers.duration(value)
