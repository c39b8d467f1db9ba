"""Whether a study goes on, and why it ends before its plan is full.

Besides the plan two things end it: its sampler proposes nothing new any more, or the best value was
not improved for as many trials as the user had patience for. Trials that wait in the queue, such as
published defaults, begin all the same.
"""

import optuna

from autosd.search import ledger
from autosd.search.census import Census
from autosd.search.mirror import folded


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
    return folded(study, Census).unimproved


def _impatient(study: optuna.Study, patience: int | None) -> bool:
    return patience is not None and unimproved(study) >= patience
