"""Another try for trials that ended without a result, because somebody asked for it."""

from collections.abc import Collection
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from autosd.search import census, ledger

FAILED, DIVERGED = "failed", "diverged"


def without_result(study: optuna.Study, kinds: Collection[str]) -> list[FrozenTrial]:
    """Trials that count as `failed` or `diverged`, in order of number."""
    found = ledger.trials(study)
    gone = census.superseded(found)
    return [
        trial
        for trial in found
        if census.may_be_retried(trial)
        and trial.number not in gone
        and "duplicate_of" not in trial.user_attrs
        and kind(trial) in kinds
    ]


def kind(trial: FrozenTrial) -> str:
    """`failed` by an exception or a dead worker, or `diverged`, which is the recipe's fault."""
    return DIVERGED if trial.user_attrs.get("ended") == DIVERGED else FAILED


def try_again(study: optuna.Study, folder: Path, trial: FrozenTrial) -> None:
    """Put the parameters of an ended trial in the queue, with all attempts before it again.

    For the holder of the lock. The new attempt starts anew: curve and checkpoint of the old one go
    first, so that a kill in between leaves nothing that could be mixed up.

    Args:
        study: open for writing.
        folder: of the study.
        trial: from `without_result`.
    """
    first = census.lineage(trial)
    for name in ("last.pt", "history.jsonl"):
        (folder / f"trials/{first:04d}" / name).unlink(missing_ok=True)
    study.enqueue_trial(
        {**trial.system_attrs.get("fixed_params", {}), **trial.params},
        user_attrs=ledger.inherited(trial) | {census.RETRY: first, "attempt": 1},
    )
