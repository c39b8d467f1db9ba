"""The tables of a retraining as cells of text, the same for terminal, card and report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autosd.results.card import NAMES
from autosd.results.numbers import duration, mean_and_sd, metric
from autosd.results.retrained import CALIBRATION, Retrained, Row
from autosd.results.statistics import Summary
from autosd.results.wording import against, amount


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Attributes:
        title: what it shows.
        columns: heads.
        numbers: heads of columns that are flush right.
        rows: cells.
    """

    title: str
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def scores(table: Retrained) -> Grid:
    """Test scores, paired differences to cross-entropy, verdicts and costs."""
    count = len(table.seeds)
    return Grid(
        title=(
            f"Test {NAMES[table.metric]} over {count} paired seed{'' if count == 1 else 's'}, "
            f"{table.images:,} images; trained on {', '.join(table.trained_on)}"
        ),
        columns=("recipe", "role", "mean ± sd", "to CE (95 % interval)", "verdict", "cost", "time"),
        numbers=("cost", "time"),
        rows=tuple(
            (
                row.recipe,
                row.role,
                _mean(row, table) + _missing(row),
                _difference(row, table.metric),
                "none shown" if row.verdict == "no difference shown" else row.verdict,
                "-" if row.declared is None else f"{row.declared['step']:.2f}",
                duration(row.seconds),
            )
            for row in table.rows
        ),
    )


def way(table: Retrained) -> Grid:
    """The score in the search, confirmed and on test, each with the gap to the one before."""
    return Grid(
        title=(
            f"{NAMES[table.metric].capitalize()} from the search (best of many, too good) to test "
            "(more images learned from)"
        ),
        columns=("recipe", "search (val)", "confirmed (select)", "gap", "test", "gap "),
        numbers=("gap", "gap "),
        rows=tuple(
            _steps(row, table)
            for row in table.rows
            if row.search is not None or row.confirmed is not None
        ),
    )


def calibration(table: Retrained) -> Grid:
    """Calibration on test, raw and with the recipe's temperature."""
    return Grid(
        title=(
            "Calibration on test, raw and with the recipe's temperature (fitted on select when it "
            "was confirmed)"
        ),
        columns=("recipe", "logits", *(NAMES[name] for name in CALIBRATION)),
        numbers=(),
        rows=tuple(cells for row in table.rows for cells in _calibrated(row)),
    )


def grids(table: Retrained) -> Iterator[Grid]:
    """Every table that has something to show."""
    return (grid for grid in (scores(table), way(table), calibration(table)) if grid.rows)


def _steps(row: Row, table: Retrained) -> tuple[str, ...]:
    """Search, confirmed, gap, test, gap."""
    confirmed = None if row.confirmed is None else row.confirmed.mean
    reached = row.metrics.get(table.metric)
    test = None if reached is None else reached.mean
    return (
        row.recipe,
        metric(row.search, table.metric),
        _summary(row.confirmed, table.metric),
        _gap(row.search, confirmed, table.metric),
        _mean(row, table),
        _gap(confirmed, test, table.metric),
    )


def _mean(row: Row, table: Retrained) -> str:
    return _summary(row.metrics.get(table.metric), table.metric, table.images)


def _summary(one: Summary | None, objective: str, images: int | None = None) -> str:
    return "-" if one is None else mean_and_sd(one.mean, one.sd, objective, images)


def _missing(row: Row) -> str:
    return "" if row.n == row.planned else f", {row.n} of {row.planned}"


def _difference(row: Row, objective: str) -> str:
    return "" if row.difference is None else against(row.difference, objective)


def _gap(before: float | None, after: float | None, objective: str) -> str:
    if before is None or after is None:
        return "-"
    return amount(after - before, objective).split()[0]


def _calibrated(row: Row) -> Iterator[tuple[str, ...]]:
    if row.metrics:
        told = "raw" if row.temperature else "raw, no temperature"
        yield row.recipe, told, *_cells([row.metrics.get(name) for name in CALIBRATION])
    if row.temperature and row.scaled:
        shown = mean_and_sd(row.temperature.mean, row.temperature.sd, "nll")
        yield "", f"/ {shown}", *_cells([row.scaled.get(name) for name in CALIBRATION])


def _cells(values: Sequence[Summary | None]) -> Iterator[str]:
    return (_summary(one, "nll") for one in values)
