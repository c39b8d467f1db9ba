"""One complete trial trained again, to see whether it gives the same curve bit for bit."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autosd.data.dataset import Data
from autosd.errors import AutosdError, TrialDiverged
from autosd.recipe import Recipe
from autosd.results.verify_faults import Check
from autosd.results.verify_origin import changed_since
from autosd.search import curve
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder

COMPARED = ("evaluated", "train", "terms")


@dataclass(frozen=True)
class Replayed:
    """A trial that was trained again.

    Attributes:
        trial: its number.
        epochs: trained.
        equal: whether every score and loss of every epoch is the same number.
        seconds: taken.
    """

    trial: int
    epochs: int
    equal: bool
    seconds: float

    def mapping(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "seconds": round(self.seconds, 1)}


def check_replay(
    folder: StudyFolder,
    data: Data,
    number: int | None,
    check: Check,
    say: Callable[[str], object],
) -> Replayed | None:
    """Train the trial of this number, or the cheapest complete one, on the processor.

    Raises:
        AutosdError: there is no complete trial of this number.
    """
    complete = [one for one in folder.records() if one.state == "complete"]
    record = _wanted(complete, number)
    if record is None:
        return None
    history = curve.read(folder.trial(record.lineage) / "history.jsonl")
    recipe = Recipe.read(folder.trial(record.lineage) / "recipe.yaml")
    if not history:
        return None
    if history[0].get("record", {}).get("device", "cpu") != "cpu":
        check.note(f"trial {record.number} was trained on a GPU; a processor gives other bits")
        return None
    say(f"training trial {record.number} again ({record.family}, {len(history)} epochs)")
    begin = time.monotonic()
    apart = _first_difference(recipe, data, history, folder.definition.per_trial.cpus)
    if apart:
        what = f"trained again it is not the same: {apart}"
        check.wrong(f"trial {record.number}", what, changed_since(folder))
    return Replayed(record.number, len(history), not apart, time.monotonic() - begin)


def _wanted(complete: list[TrialRecord], number: int | None) -> TrialRecord | None:
    if number is None:
        return min(complete, key=lambda one: (one.seconds, one.number), default=None)
    found = [one for one in complete if one.number == number]
    if not found:
        there = ", ".join(str(one.number) for one in complete[:10]) or "none"
        raise AutosdError(f"--replay {number}: no complete trial; there are: {there}")
    return found[0]


def _first_difference(
    recipe: Recipe, data: Data, history: list[dict[str, Any]], threads: int
) -> str:
    """Where the training differs from its record, in words; empty where it does not."""
    from autosd.training.trainer import Trainer

    trainer = Trainer(recipe, data, device="cpu", threads=threads)
    recorded = history[0].get("record")
    if recorded is not None and recorded != trainer.record:
        return f"it ran with {_said(recorded)}, here with {_said(trainer.record)}"
    try:
        for report, then in zip(trainer.epochs(), history, strict=False):
            apart = _apart(_plain(report.mapping()), then)
            if apart:
                return f"epoch {report.epoch}: {apart}"
    except TrialDiverged as error:
        return str(error)
    return "" if len(trainer.history) == len(history) else "it has another number of epochs"


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as its file would tell it."""
    values: dict[str, Any] = json.loads(json.dumps({key: report[key] for key in COMPARED}))
    return values


def _apart(now: Mapping[str, Any], then: Mapping[str, Any], prefix: str = "") -> str:
    """The first number that differs, of those that the record has."""
    for key, value in now.items():
        if key not in then:
            continue
        if isinstance(value, dict):
            found = _apart(value, then[key], f"{prefix}{key}.")
            if found:
                return found
        elif value != then[key]:
            return f"{prefix}{key} is {value!r} here, {then[key]!r} on record"
    return ""


def _said(record: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in record.items())
