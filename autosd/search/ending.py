"""Whether a study goes on, and why it ends before its plan is full.

Besides the plan two things end it: its sampler proposes nothing new any more, or the best value was
not improved for as many trials as the user had patience for. Trials that wait in the queue, such as
published defaults, begin all the same.
"""

from autosd.search.census import MOST_DUPLICATES, Census


def goes_on(census: Census, planned: int, patience: int | None = None) -> bool:
    """Whether to ask for another trial: one waits, or the plan has room beside the running."""
    now = census.counts
    if now.waiting:
        return True
    full = now.counted + now.running >= planned
    return not (full or census.exhausted or _impatient(census, patience))


def reason(census: Census, planned: int, patience: int | None = None) -> str:
    """Why no trial begins though the plan has room, in words; empty where one may begin."""
    now = census.counts
    if now.waiting or now.counted + now.running >= planned:
        return ""
    if _impatient(census, patience):
        return (
            f"ended by patience after {now.counted} of {planned} trials: the last "
            f"{census.unimproved} did not improve the best value"
        )
    if census.exhausted:
        return (
            f"the space is exhausted after {now.counted} of {planned} trials: the last "
            f"{MOST_DUPLICATES} proposals repeated earlier ones"
        )
    return ""


def _impatient(census: Census, patience: int | None) -> bool:
    return patience is not None and census.unimproved >= patience
