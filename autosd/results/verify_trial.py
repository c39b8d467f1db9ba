"""One trial that has ended: its record, its curve, its recipe, its logits, its checkpoint."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autosd.data.dataset import Data
from autosd.data.npzfile import NpzReader
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.results.verify_faults import PUT_BACK, Check
from autosd.search import curve
from autosd.search.bridge import DIGITS
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder

NOT_OURS = "somebody changed it: put back a copy, or leave this trial out of what you conclude"
PARTS = ("val", "select")
DRAW_AGAIN = "remove the file: then the trial takes part in no ensemble"


def check_trial(folder: StudyFolder, record: TrialRecord, data: Data | None, check: Check) -> None:
    """Check a complete, pruned, diverged or failed trial."""
    where = f"trials/{record.lineage:04d}"
    path = folder.trial(record.lineage)
    if record.state != "failed" and not path.is_dir():
        check.wrong(where, f"the folder of trial {record.number} is missing", PUT_BACK)
        return
    _check_recipe(folder, record, path, where, check)
    _check_value(folder, record, check)
    if record.state in ("complete", "pruned"):
        history = read_history(path / "history.jsonl", where, check)
        if history is not None:
            _check_history(folder, record, history, where, check)
    if record.state == "complete" and (path / "logits.npz").is_file():
        check_logits(path / "logits.npz", f"{where}/logits.npz", PARTS, data, check)


def _check_recipe(
    folder: StudyFolder, record: TrialRecord, path: Path, where: str, check: Check
) -> None:
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    if record.state == "failed" and not (path / "recipe.yaml").is_file():
        return
    try:
        written = Recipe.read(path / "recipe.yaml")
        meant = folder.space.recipe(record.params, base)
    except AutosdError as error:
        check.wrong(f"{where}/recipe.yaml", str(error), PUT_BACK)
        return
    if written.fingerprint() != meant.fingerprint():
        what = f"is not the recipe of trial {record.number} in the database"
        check.wrong(f"{where}/recipe.yaml", what, NOT_OURS)


def _check_value(folder: StudyFolder, record: TrialRecord, check: Check) -> None:
    """The value is that of the last epoch; a complete trial has every one of them."""
    where, steps = f"trial {record.number}", [step for step, _ in record.curve]
    epochs = folder.definition.recipe.epochs
    whole = folder.definition.recipe.budget == "epochs"
    if record.state == "complete":
        full = list(range(1, epochs + 1))
        if steps != full if whole else not steps or steps[-1] != epochs:
            missing = sorted(set(full) - set(steps)) if whole else [epochs]
            text = ", ".join(str(step) for step in missing[:5])
            check.wrong(where, f"is complete without the values of epochs {text}", NOT_OURS)
    if record.state not in ("complete", "pruned"):
        return
    if not record.curve or record.value != record.curve[-1][1]:
        check.wrong(where, "its value is not that of its last epoch", NOT_OURS)


def read_history(path: Path, where: str, check: Check) -> list[dict[str, Any]] | None:
    """The records of a curve's file; None, and a fault, where it is none."""
    try:
        history = curve.read(path)
        epochs = [record["epoch"] for record in history]
        if epochs != list(range(1, len(epochs) + 1)) or not epochs:
            raise ValueError(f"holds the epochs {epochs}" if epochs else "is empty or missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"is no whole curve ({error})"
        check.wrong(f"{where}/history.jsonl", what, f"{PUT_BACK}; values are in the database, too")
        return None
    return history


def _check_history(
    folder: StudyFolder,
    record: TrialRecord,
    history: list[dict[str, Any]],
    where: str,
    check: Check,
) -> None:
    """File and database tell the same curve."""
    budget, objective = folder.definition.recipe.epochs, folder.definition.objective
    planned = history[-1].get("epochs", budget)
    told = {
        one["epoch"] * budget // planned: _value(one, objective)
        for one in history
        if _value(one, objective) is not None
    }
    if told != dict(record.curve):
        apart = sorted(
            step
            for step in told.keys() | dict(record.curve).keys()
            if told.get(step) != dict(record.curve).get(step)
        )
        check.wrong(
            f"{where}/history.jsonl",
            f"differs from the database (trial {record.number}, epoch {apart[0]})",
            NOT_OURS,
        )


def _value(record: Mapping[str, Any], objective: str) -> float | None:
    value = record.get("evaluated", {}).get("val", {}).get(objective)
    return None if value is None or not math.isfinite(value) else round(float(value), DIGITS)


def check_logits(
    path: Path, where: str, required: tuple[str, ...], data: Data | None, check: Check
) -> None:
    """A finite row of logits for every image of each part that the file has."""
    try:
        reader = NpzReader(path)
        parts = {name: reader.read(name) for name in dict.fromkeys((*required, *reader.keys))}
    except AutosdError as error:
        check.wrong(where, f"cannot be read ({error})", DRAW_AGAIN)
        return
    check.count("files of logits")
    for part, rows in parts.items():
        wanted = None if data is None else (data.counts.get(part), len(data.class_names))
        if wanted is not None and rows.shape != wanted:
            check.wrong(where, f"has {rows.shape} logits of {part}, not {wanted}", DRAW_AGAIN)
        elif not np.isfinite(rows).all():
            check.note(f"{where}: some logits of {part} are infinite")
