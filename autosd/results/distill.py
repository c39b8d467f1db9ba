"""One student that learns what an ensemble predicts: soft labels, alone and with the winner's own.

Every recipe is trained with the same seeds on train, val and select and tested on test, beside the
plain winner and cross-entropy, whose runs are those of `autosd retrain`.
"""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.data.loading import load_data
from autosd.errors import AutosdError, WorkFailed
from autosd.files import write_atomically
from autosd.recipe import StrategySpec, fingerprint
from autosd.results.distill_table import ALONE, TOGETHER, Arm, judged, rows_of
from autosd.results.ensemble import Done
from autosd.results.ensemble_making import DISTILLED, write_results
from autosd.results.ensemble_worth import device_of
from autosd.results.ensembled import (
    FOLDER,
    Distilled,
    ensembled,
    read_results,
)
from autosd.results.retrain_field import Entry, field_of, lasting
from autosd.results.retrain_runs import PART, TRAIN_ON, train_runs
from autosd.search.engines import EngineChoice
from autosd.search.interrupts import raised
from autosd.search.lists import Record, read_records
from autosd.search.lock import StudyLock
from autosd.search.progress import Watch
from autosd.search.study import StudyFolder
from autosd.strategies.check import check_combination
from autosd.strategies.soft_labels import table_bytes
from autosd.training.ensemble import load_ensemble
from autosd.training.evaluation import evaluate
from autosd.training.export import DESCRIPTION

SOFT = "soft_labels"
NO_RESULT = "none of its runs gave a result"


@dataclass(frozen=True)
class Wish:
    """What is asked of a distillation.

    Attributes:
        seeds: of each recipe, paired.
        epochs: other than the study's, or None.
        temperature, weight: of the soft labels.
    """

    seeds: int = 3
    epochs: int | None = None
    temperature: float = 4.0
    weight: float = 0.9


def distill(
    done: Done,
    wish: Wish,
    *,
    slots: int | None = None,
    watch: Watch | None = None,
    engine: EngineChoice = "ray",
) -> Done:
    """Train what is not trained yet, and add the table to the ensemble's results.

    Args:
        done: the ensemble of a study.
        wish: seeds, epochs and knobs.
        slots: runs at the same time, None for as many as there is room for.
        watch: hears of every event.
        engine: `ray`, a `Cluster` to join, or `inline` for one run at a time in this process.

    Raises:
        AutosdError: another process runs the study, or a folder holds another recipe.
        WorkFailed: no run of the winner or of the distilled student gave a result.
    """
    begin = time.monotonic()
    folder = StudyFolder.open(done.folder.parent)
    with raised(), folder.lock() as lock:
        data = load_data(folder.definition.recipe.data)
        entries = lasting(field_of(folder, folder.records(), 1), wish.epochs)
        winner, plain = entries[0], _baseline(entries)
        file = _write_teacher(folder, data)
        arms, left_out = _arms(folder, winner, plain, file, wish)
        _train(folder, data, arms, wish.seeds, lock, slots, watch, engine)
        found = {arm.role: _records(arm, wish.seeds) for arm in arms}
        made = Distilled(
            rows=rows_of(folder.path, arms, found, wish.seeds),
            best="",
            temperature=wish.temperature,
            weight=wish.weight,
            images=data.counts[PART],
            epochs=winner.recipe.epochs,
            left_out=left_out or ("" if found[TOGETHER] else NO_RESULT),
            remarks=(),
        )
        shown = judged(made, len(done.ensemble.members))
        values = {**(read_results(done.folder) or {}), "distilled": asdict(shown)}
        write_results(done.folder, values, folder.name)
    seconds = done.seconds + time.monotonic() - begin
    return dataclasses.replace(done, ensemble=ensembled(values), seconds=seconds)


def _baseline(entries: Sequence[Entry]) -> Entry:
    return next(entry for entry in entries if "baseline" in entry.roles)


def _write_teacher(folder: StudyFolder, data: Data) -> str:
    """The ensemble's predictions of the training images, in a file named after the ensemble.

    Returns:
        Its path, relative to the study folder, so that a copied study trains the same.
    """
    identity = (folder.path / FOLDER / DESCRIPTION).read_text(encoding="utf-8")
    name = f"{FOLDER}/{DISTILLED}/teacher-{fingerprint(identity)}.safetensors"
    path = folder.path / name
    if path.is_file():
        return name
    part = data.part(*TRAIN_ON)
    model = load_ensemble(folder.path / FOLDER, trust_code=folder.definition.recipe.model.name)
    device = device_of(folder)
    rows = evaluate(model.to(device), Loader(part, data, device=device).plain()).logits
    content = table_bytes(torch.from_numpy(rows), torch.from_numpy(part.labels))
    write_atomically(path, lambda file: file.write(content))
    return name


def _arms(
    folder: StudyFolder, winner: Entry, plain: Entry, file: str, wish: Wish
) -> tuple[list[Arm], str]:
    """The recipes of the table, and why the combination is left out, or nothing."""
    knobs: dict[str, Any] = {
        "file": file,
        "temperature": wish.temperature,
        "weight": wish.weight,
    }
    soft = StrategySpec(name=SOFT, knobs=knobs)
    mark, into = fingerprint(knobs)[:6], folder.path / FOLDER / DISTILLED
    alone = plain.recipe.model_copy(update={"strategies": (soft,)})
    own = folder.definition.recipe.epochs
    suffix = "" if wish.epochs in (None, own) else f"-e{wish.epochs}"
    arms = [Arm(f"{SOFT}-{mark}{suffix}", ALONE, alone, into)]
    left_out = why_not_together(winner, plain)
    if not left_out:
        both = winner.recipe.model_copy(update={"strategies": (*winner.recipe.strategies, soft)})
        arms.append(Arm(f"{winner.label}-{SOFT}-{mark}", TOGETHER, both, into))
    arms.append(Arm(winner.label, "winner", winner.recipe, folder.retrain))
    if plain.label != winner.label:
        arms.append(Arm(plain.label, "cross_entropy", plain.recipe, folder.retrain))
    return arms, left_out


def why_not_together(winner: Entry, plain: Entry) -> str:
    """Why soft labels do not go with the winner's strategies; empty where they do."""
    names = [spec.name for spec in winner.recipe.strategies]
    if winner.label == plain.label:
        return "the winner is plain cross-entropy, so together is the same as alone"
    try:
        check_combination([*names, SOFT])
    except AutosdError as error:
        return str(error)
    return ""


def _train(
    folder: StudyFolder,
    data: Data,
    arms: Sequence[Arm],
    seeds: int,
    lock: StudyLock,
    slots: int | None,
    watch: Watch | None,
    engine: EngineChoice,
) -> None:
    """All runs that have no result yet, seed by seed."""
    for into in dict.fromkeys(arm.into for arm in arms):
        of_arm = [arm.runs(seeds) for arm in arms if arm.into == into]
        runs = [run for of_seed in zip(*of_arm, strict=True) for run in of_seed]
        train_runs(folder, data, runs, lock, into=into, slots=slots, watch=watch, engine=engine)


def _records(arm: Arm, seeds: int) -> dict[int, Record]:
    """Finished runs of a recipe by seed.

    Raises:
        WorkFailed: there is none, and the table cannot do without.
    """
    names = {run.name for run in arm.runs(seeds)}
    found = {
        record.seed: record
        for record in read_records(arm.into)
        if record.folder.name in names and math.isfinite(record.value(PART, "top1"))
    }
    if not found and arm.role != TOGETHER:
        raise WorkFailed(f"{arm.into}: no run of {arm.label} gave a result")
    return found
