"""The confirmed recipes and what they have to beat, on all training data and on test.

The best confirmed recipes, the published defaults of their families, cross-entropy and the best
control, with paired seeds study + 2000, study + 2001, ...; `train`, `val` and `select` together
give gradients; the last epoch counts; test is read once per run, and each reading is on record in
`split.json` before it happens. The winner was chosen before: test chooses nothing.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import AutosdError, WorkFailed
from autosd.files import write_json
from autosd.recipe import Recipe
from autosd.results.attachments import attach
from autosd.results.calibration import PART as FITTED_ON
from autosd.results.calibration import temperatures
from autosd.results.outcome import Winner, winner
from autosd.results.retrain_best import write_from_retraining
from autosd.results.retrain_field import field_of, lasting
from autosd.results.retrain_runs import FIRST_SEED, PART, TRAIN_ON, train_runs
from autosd.results.retrain_table import Trained, planned_runs, read_trained, rows_of
from autosd.results.retrain_words import claims_on, remarks_on
from autosd.results.retrained import FILE, Retrained
from autosd.search.engines import EngineChoice
from autosd.search.interrupts import raised
from autosd.search.progress import Watch
from autosd.search.study import StudyFolder


@dataclass(frozen=True)
class Done:
    """What a call of `retrain` came to.

    Attributes:
        table: as `retrain/results.json` keeps it.
        model_dir: the winner's student with the first seed.
        seconds: wall time of this call.
    """

    table: Retrained
    model_dir: Path
    seconds: float

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd retrain`."""
        return {
            **self.table.mapping(),
            "model_dir": str(self.model_dir),
            "wall_seconds": round(self.seconds, 1),
        }


def retrain(
    name: str,
    root: Path,
    *,
    top: int = 1,
    seeds: int = 3,
    epochs: int | None = None,
    slots: int | None = None,
    watch: Watch | None = None,
    engine: EngineChoice = "ray",
) -> Done:
    """Train the recipes of a study's table that are not trained yet; write table and `best/`.

    Args:
        name, root: which study.
        top: confirmed recipes, by their mean on select.
        seeds: of each recipe; more of them later are added to those that are there.
        epochs: other than the study's; such runs stand beside the others, and fewer than the
            study's leave `best/` as it is.
        slots: runs at the same time, None for as many as there is room for.
        watch: hears of every event.
        engine: `ray`, a `Cluster` to join, or `inline` for one run at a time in this process.

    Raises:
        AutosdError: no such study, no winner yet, other data than the study's, damaged logits of a
            confirmation run, or another process runs it.
        WorkFailed: no run of the winner with the first seed, or none of cross-entropy, succeeded.
        EngineLost: Ray ended; the same call goes on.
        KeyboardInterrupt: with the signal's number; the same call goes on.
    """
    begin = time.monotonic()
    folder = StudyFolder.find(name, root)
    records = folder.records()
    won = winner(folder, records)
    if won is None:
        raise AutosdError(f"study {folder.name}: no trial is complete yet; run the search first")
    entries = lasting(field_of(folder, records, top), epochs)
    data = load_data(won.recipe.data, with_test=True)
    by_entry = [planned_runs(entry, seeds) for entry in entries]
    runs = [run for of_seed in zip(*by_entry, strict=True) for run in of_seed]
    with raised(), folder.lock() as lock:
        folder.split.check(data.counts, data.fingerprint)
        fitted = temperatures(folder.finalists, data.part(FITTED_ON).labels)
        train_runs(folder, data, runs, lock, slots=slots, watch=watch, engine=engine)
        trained = read_trained(folder, entries, seeds, fitted)
        table = _table(folder, won, data, trained)
        write_json(folder.retrain / FILE, table.mapping())
        if not _shorter(folder, table.epochs):
            write_from_retraining(folder, won, table, trained[0])
        attach(folder)
    return Done(table, folder.best, time.monotonic() - begin)


def _table(folder: StudyFolder, won: Winner, data: Data, trained: Sequence[Trained]) -> Retrained:
    """The table of all runs.

    Raises:
        WorkFailed: the winner or cross-entropy has no result.
    """
    metric, recipe = folder.definition.objective, trained[0].entry.recipe
    rows = rows_of(trained, data.part(PART).labels, metric)
    for row in rows:
        if not row.n and {"winner", "baseline"} & set(row.roles):
            raise WorkFailed(f"{folder.retrain}: no run of {row.recipe} gave a result")
    return Retrained(
        study=folder.name,
        model=recipe.model.name,
        data=recipe.data.name,
        metric=metric,
        epochs=recipe.epochs,
        seeds=tuple(recipe.seed + FIRST_SEED + k for k in range(trained[0].runs.planned)),
        trained_on=TRAIN_ON,
        images=data.counts[PART],
        rows=rows,
        claims=tuple(claims_on(trained, rows, metric)),
        remarks=(*_about(folder, won, recipe), *remarks_on(trained, rows, metric)),
    )


def _shorter(folder: StudyFolder, epochs: int) -> bool:
    """Whether these students had fewer epochs than the one that `best/` already has."""
    return epochs < folder.definition.recipe.epochs and folder.best.exists()


def _about(folder: StudyFolder, won: Winner, recipe: Recipe) -> Iterator[str]:
    """What makes this retraining another one than the study's confirmation would ask for."""
    if not won.confirmed:
        yield "The winner is not confirmed: it is the best of the search, which flatters itself."
    epochs = folder.definition.recipe.epochs
    if recipe.epochs != epochs:
        yield (
            f"Trained for {recipe.epochs} epochs, the study's are {epochs}: scores of search and "
            "confirmation and their temperatures are of another training and left out."
        )
    if _shorter(folder, recipe.epochs):
        yield "best/ stays as it was, as its student was trained for longer."
