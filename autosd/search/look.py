"""One look at a study's record, for those who only read: without Optuna where that is possible."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autosd.search import origin, tables
from autosd.search.census import Census, superseded
from autosd.search.records import TrialRecord, Whole, record, visible
from autosd.search.study import StudyFolder, close


@dataclass(frozen=True)
class Look:
    """A study's record at one moment.

    Attributes:
        folder: of the study.
        attributes: of the study.
        trials: in order of number; of their attributes only `why` and those that decide counts.
        census: where the trials stand.
        whole: all that is known of trials of these numbers.
    """

    folder: StudyFolder
    attributes: Mapping[str, Any]
    trials: Sequence[Whole]
    census: Census
    whole: Callable[[Collection[int]], Sequence[Whole]]

    def best(self) -> int | None:
        """The number of the complete trial with the best value, the first of equals."""
        complete = [
            (trial.value, trial.number)
            for trial in (self.trials[number] for number in self.census.at("complete"))
            if trial.value is not None
        ]
        sign = 1 if self.folder.minimise else -1
        return min(complete, key=lambda one: sign * one[0])[1] if complete else None

    def records(self, numbers: Collection[int]) -> list[TrialRecord]:
        """The records of these trials."""
        return [record(trial, self.folder.space) for trial in self.whole(numbers)]


@contextlib.contextmanager
def looked(folder: StudyFolder) -> Iterator[Look]:
    """A look at a study, whose questions are all answered from the same moment.

    Raises:
        AutosdError: the storage is missing, broken, or another study's.
    """
    with _opened(folder) as found:
        if found is not None:
            trials = found.brief(("why",))
            yield _look(folder, found.attributes, trials, found.whole)
            return
    study = folder.load()
    try:
        every = study.get_trials(deepcopy=False)
        yield _look(folder, study.user_attrs, every, lambda which: [every[one] for one in which])
    finally:
        close(study)


def running(folder: StudyFolder) -> int:
    """Trials that the record calls running.

    Raises:
        AutosdError: as `looked`.
    """
    with _opened(folder) as found:
        if found is not None:
            return found.running()
    with looked(folder) as look:
        return look.census.counts.running


def all_records(folder: StudyFolder, *, hidden: bool = False) -> list[TrialRecord]:
    """Records of a study in order of number.

    Args:
        folder: of the study.
        hidden: also superseded attempts and duplicates (rule R55).
    """
    with looked(folder) as look:
        trials = look.whole(range(len(look.trials)))
        gone = superseded(trials)
        found = [record(trial, folder.space, trial.number in gone) for trial in trials]
    return found if hidden else list(visible(found))


@contextlib.contextmanager
def _opened(folder: StudyFolder) -> Iterator[tables.Tables | None]:
    folder.check_storage()
    try:
        with tables.opened(folder.url, folder.name) as found:
            if found is not None:
                origin.check_origin(found.attributes, folder.name, folder.path, folder.url)
            yield found
    except tables.NoStudy:
        raise folder.unknown() from None


def _look(
    folder: StudyFolder,
    attributes: Mapping[str, Any],
    trials: Sequence[Whole],
    whole: Callable[[Collection[int]], Sequence[Whole]],
) -> Look:
    return Look(folder, attributes, trials, Census(folder.minimise, trials), whole)
