"""Whether a study goes on, and why it ends before its plan is full.

Besides the plan two things end it: its sampler proposes nothing new any more, or the best value was
not improved for as many trials as the user had patience for. Trials that wait in the queue, such as
published defaults, begin all the same.
"""

import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from autosd.search import ledger


def goes_on(study: optuna.Study, planned: int, patience: int | None = None) -> bool:
    """Whether to ask for another trial; see `ledger.wants_more`."""
    if not ledger.wants_more(study, planned):
        return False
    return bool(ledger.counts(study).waiting) or not _impatient(study, patience)


def reason(study: optuna.Study, planned: int, patience: int | None = None) -> str:
    """Why no trial begins though the plan has room, in words; empty where one may begin."""
    now = ledger.counts(study)
    if now.waiting or now.counted + now.running >= planned:
        return ""
    if _impatient(study, patience):
        return (
            f"ended by patience after {now.counted} of {planned} trials: the last "
            f"{unimproved(study)} did not improve the best value"
        )
    if ledger.exhausted(study):
        return (
            f"the space is exhausted after {now.counted} of {planned} trials: the last "
            f"{ledger.MOST_DUPLICATES} proposals repeated earlier ones"
        )
    return ""


def unimproved(study: optuna.Study) -> int:
    """Trials counted since the one that improved the best value last; 0 before any is complete.

    They count in the order in which they ended, so that it is the same after an interruption.
    """
    minimise = study.direction is optuna.study.StudyDirection.MINIMIZE
    best: float | None = None
    since = 0
    for trial in sorted(_counted(study), key=_ended):
        value = trial.value if trial.state is TrialState.COMPLETE else None
        better = value is not None and (
            best is None or (value < best if minimise else value > best)
        )
        best = value if better else best
        since = 0 if better or best is None else since + 1
    return since


def _impatient(study: optuna.Study, patience: int | None) -> bool:
    return patience is not None and unimproved(study) >= patience


def _counted(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that the plan is compared with; see `ledger.Counts`."""
    found = ledger.trials(study)
    gone = ledger.superseded(found)
    return [
        trial
        for trial in found
        if trial.state.is_finished()
        and "duplicate_of" not in trial.user_attrs
        and trial.number not in gone
    ]


def _ended(trial: FrozenTrial) -> tuple[datetime.datetime, int]:
    return trial.datetime_complete or datetime.datetime.min, trial.number
