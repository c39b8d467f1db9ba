"""What has to be said beside a table of a comparison, so that it claims no more than it shows."""

from collections.abc import Iterator, Sequence

from autosd.recipe import Recipe
from autosd.results.compare_entries import Field
from autosd.results.compare_runs import Runs
from autosd.results.compare_table import Row
from autosd.strategies.check import check_recipe


def remarks_on(
    field: Field,
    base: Recipe,
    runs: Sequence[Runs],
    rows: Sequence[Row],
    deciding: tuple[str, str],
) -> list[str]:
    """Sentences in order of weight.

    Args:
        field: who took part.
        base: what all have in common.
        runs: of each entry of the field.
        rows: of the table.
        deciding: part and metric of the differences.
    """
    return [
        _budget(base),
        *_certainty(rows),
        *(line for one in runs for line in missing(one)),
        *_selection(field, deciding[0]),
        *_readings(field),
        *_advice(field, rows),
        *field.left_out,
    ]


def _budget(base: Recipe) -> str:
    if base.budget == "compute":
        return (
            f"Equal compute: as many image passes as {base.epochs} epochs of plain training; what "
            "costs more per image trained fewer epochs, as the table says."
        )
    return (
        f"Equal epochs ({base.epochs}): a recipe that costs more per image had more compute for "
        "its gain; --budget compute holds image passes equal."
    )


def _certainty(rows: Sequence[Row]) -> Iterator[str]:
    compared = rows[1:]
    if not compared:
        return
    if max(row.n for row in rows) < 2:
        yield "One seed gives no interval and no verdict: give --seeds 3 or more."
        return
    yield (
        f"Intervals and the first verdict hold for one comparison at a time; Holm's verdict holds "
        f"for all {len(compared)} together (at most 5 % chance of any false claim)."
        if len(compared) > 1
        else "A single comparison: Holm's verdict is the same as the first."
    )


def missing(runs: Runs) -> Iterator[str]:
    """What to say where runs of a recipe gave no result."""
    diverged = runs.diverged
    if diverged:
        yield (
            f"{runs.label}: {len(diverged)} of {runs.planned} runs diverged ({diverged[0]}); the "
            "others alone say nothing fair, so there is no verdict."
        )
    failed = runs.planned - len(runs.records)
    if failed:
        yield (
            f"{runs.label}: {failed} of {runs.planned} runs gave no result; the same command tries "
            "them again."
        )


def _selection(field: Field, part: str) -> Iterator[str]:
    chosen = ", ".join(entry.label for entry in field.entries if entry.chosen)
    if chosen and part == "val":
        yield (
            f"A recipe that a search chose on val looks better there than it is ({chosen}); --test "
            "compares on images that nothing was chosen by."
        )


def _readings(field: Field) -> Iterator[str]:
    readings = ", ".join(entry.label for entry in field.entries if entry.is_reading)
    if readings:
        yield f"Our reading of papers whose text could not be read: {readings}."


def _advice(field: Field, rows: Sequence[Row]) -> Iterator[str]:
    """What the check of the recipes has to say of the epochs that they really had."""
    epochs = {row.recipe: row.effort.epochs for row in rows}
    for entry in field.entries:
        planned = epochs[entry.label] or entry.recipe.epochs
        yield from check_recipe(entry.recipe.model_copy(update={"epochs": planned}))
