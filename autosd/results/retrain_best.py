"""The winner's retrained student as `best/`: the recipe that was chosen before test was read."""

from typing import Any

from autosd.errors import WorkFailed
from autosd.results.best import DESCRIPTION, write
from autosd.results.card import Card
from autosd.results.card_facts import data_lines, score_facts, score_lines
from autosd.results.numbers import mean_and_sd
from autosd.results.outcome import Winner
from autosd.results.retrain_grids import calibration, scores, way
from autosd.results.retrain_table import Trained
from autosd.results.retrained import Retrained, Row
from autosd.search.lists import Record
from autosd.search.study import StudyFolder

CHOSEN = (
    "This folder holds the winner of the confirmation. It was chosen before test was read: to take "
    "the best row of this table instead would be choosing on test."
)


def write_from_retraining(
    folder: StudyFolder, won: Winner, table: Retrained, first: Trained
) -> None:
    """Put the winner's student of the first seed with a result into `best/`.

    Args:
        folder: of the study.
        won: its winner.
        table: of the retraining.
        first: the winner's runs.

    Raises:
        WorkFailed: none of them has a result; `best/` stays as it was.
    """
    record = next((one for one in first.runs.records if one.metrics), None)
    if record is None:
        raise WorkFailed(f"{folder.retrain}: no run of {first.entry.label} gave a result")
    row = table.rows[0]
    recipe = first.entry.recipe.with_seed(record.seed)
    temperature = None if row.temperature is None else row.temperature.mean
    model = record.folder / "model"
    card = Card(
        study=folder.name,
        recipe=recipe,
        label=row.recipe,
        trained_on=table.trained_on,
        origin="retrain",
        metrics=record.metrics,
        table=[f"{scores(table).title}.", "", scores(table).markdown()],
        remarks=[CHOSEN, *table.sentences],
        data=data_lines(folder, model / DESCRIPTION),
        score=_score(won, table),
        calibration=_calibration(table),
        readings=len(folder.split.readings()),
    )
    details = {"recipe": row.recipe, "seed": record.seed}
    if temperature is not None:
        details["temperature"] = temperature
    write(folder.best, model, recipe, _facts(won, table, record, temperature), card, details)


def _facts(
    won: Winner, table: Retrained, record: Record, temperature: float | None
) -> dict[str, Any]:
    """What `metrics.json` says."""
    return {
        "origin": "retrain",
        "label": table.rows[0].recipe,
        "strategies": list(won.strategies),
        "winner": won.recipe.fingerprint(),
        "seed": record.seed,
        "trained_on": list(table.trained_on),
        "metrics": record.metrics,
        "score": score_facts(won),
        "temperature": temperature,
        "rows": [row.mapping() for row in table.rows],
    }


def _score(won: Winner, table: Retrained) -> list[str]:
    row = table.rows[0]
    reached = row.metrics[table.metric]
    shown = mean_and_sd(reached.mean, reached.sd, table.metric, table.images)
    test = (
        f"Retrained for {table.epochs} epochs on {', '.join(table.trained_on)}: {shown} on `test` "
        f"({reached.n} seed{'' if reached.n == 1 else 's'})."
    )
    lines = [*score_lines(won), test]
    gaps = way(table)
    return [*lines, f"{gaps.title}.", gaps.markdown()] if gaps.rows else lines


def _calibration(table: Retrained) -> list[str]:
    grid = calibration(table)
    return [f"{grid.title}.", grid.markdown(), _scaling(table.rows[0])]


def _scaling(row: Row) -> str:
    """Whether the probabilities of the student should be scaled, and by what."""
    if row.temperature is None or "nll" not in row.scaled:
        return "This recipe has no temperature: no confirmation run of it held images back for one."
    helps = row.scaled["nll"].mean < row.metrics["nll"].mean
    return (
        f"Dividing the logits by {row.temperature.mean:.3f} before the softmax "
        f"{'lowers' if helps else 'does not lower'} the NLL on test. `model.json` has that number "
        "as `details.temperature`; it comes from students that had fewer images to learn from."
    )
