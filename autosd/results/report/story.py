"""Everything that the report of a study tells, gathered once from its folder.

A study that is old, damaged or copied in part is told as far as it goes: what cannot be told, and
which file would have said it, stands in `Story.missing`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from autosd import resources, stored, yamlfile
from autosd.errors import AutosdError
from autosd.recipe import StudyDefinition
from autosd.results.ensembled import Ensembled, read_ensembled
from autosd.results.leaderboard import BASELINE, Row, leaderboard
from autosd.results.outcome import Comparison, Winner, against_baseline, winner
from autosd.results.report.effort import Effort, read_effort
from autosd.results.report.remains import remains
from autosd.results.retrained import Retrained, read_retrained
from autosd.search import ledger
from autosd.search.census import Counts
from autosd.search.finalists import CHOSEN, Finalist, read_finalists
from autosd.search.meter import Use
from autosd.search.records import TrialRecord, visible
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close

T = TypeVar("T")
FAULTS = (AutosdError, OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged file of a study can raise."""
NAMED_FOLDERS = 5


@dataclass(frozen=True, eq=False)
class Story:
    """What a study is, did and found.

    Attributes:
        folder: of the study.
        attempts: every trial in order of number, with superseded attempts and duplicates.
        counts: trials by their end.
        use: how well the slots were used; all zero where it is not known.
        rows: one per family, the best first.
        winner: None before the first complete trial.
        finalists: the confirmed ones, best first.
        compared: the finalists against cross-entropy, in the same order.
        retrained: the table of `autosd retrain`, None before it.
        ensembled: what `autosd ensemble` found, None before it.
        efforts: what a trial took and how its last epoch scored, by the lineage of the trial.
        images: number of images by part of the data, as far as they are known.
        readings: every reading of the test part: `who`, `when`.
        environment: versions, machine and command; empty where they were not kept.
        controls: families that any claim has to beat.
        missing: what cannot be told, one sentence each.
    """

    folder: StudyFolder
    attempts: tuple[TrialRecord, ...]
    counts: Counts
    use: Use
    rows: tuple[Row, ...]
    winner: Winner | None
    finalists: tuple[Finalist, ...]
    compared: tuple[Comparison, ...]
    retrained: Retrained | None
    ensembled: Ensembled | None
    efforts: Mapping[int, Effort]
    images: Mapping[str, int]
    readings: tuple[Mapping[str, str], ...]
    environment: Mapping[str, Any]
    controls: frozenset[str]
    missing: tuple[str, ...]

    @classmethod
    def read(cls, folder: StudyFolder) -> "Story":
        """Gather what a folder holds; nothing is written, and no other file is needed."""
        return _Reader(folder).story()

    @property
    def name(self) -> str:
        """Of the study."""
        return self.folder.name

    @property
    def handle(self) -> str:
        """What commands find it by under `--dir`: its folder's name, which a copy may have anew."""
        return self.folder.path.name

    @property
    def definition(self) -> StudyDefinition:
        """What was asked for."""
        return self.folder.definition

    @property
    def space(self) -> Space:
        """What could be tried."""
        return self.folder.space

    @property
    def objective(self) -> str:
        """top1, nll or balanced_accuracy."""
        return self.definition.objective

    @property
    def minimise(self) -> bool:
        """Whether a smaller value is better."""
        return self.folder.minimise

    @cached_property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Trials in order of number, without superseded attempts and duplicates."""
        return tuple(visible(self.attempts))

    @cached_property
    def complete(self) -> tuple[TrialRecord, ...]:
        """Trials that trained to their last epoch and have a value."""
        return tuple(
            one for one in self.trials if one.state == "complete" and one.value is not None
        )


class _Reader:
    """Reads file by file; a fault becomes a sentence in `missing`."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        self.missing: list[str] = []

    def story(self) -> Story:
        attempts, counts, use = self._ledger()
        trials = list(visible(attempts))
        finalists = self._finalists(over=counts.counted >= self.folder.definition.trials)
        split = self._json("split.json", "how many images each part has and who read test")
        minimise = self.folder.minimise
        return Story(
            folder=self.folder,
            attempts=tuple(attempts),
            counts=counts,
            use=use,
            rows=tuple(leaderboard(trials, self.folder.space.families, minimise)),
            winner=self._try(
                lambda: winner(self.folder, trials), None, "the winner cannot be told"
            ),
            finalists=tuple(finalists),
            compared=tuple(against_baseline(finalists, minimise)),
            retrained=self._try(
                lambda: read_retrained(self.folder), None, "the retraining cannot be told"
            ),
            ensembled=self._try(
                lambda: read_ensembled(self.folder), None, "the ensemble cannot be told"
            ),
            efforts=self._efforts(trials),
            images=self._try(lambda: _counts(split), {}, "split.json: the counts of images"),
            readings=self._try(
                lambda: tuple(map(dict, split.get("test_readings", ()))),
                (),
                "split.json: the readings of test",
            ),
            environment=self._json("environment.json", "on which machine and versions it ran"),
            controls=controls(),
            missing=tuple(self.missing),
        )

    def _try(self, read: Callable[[], T], otherwise: T, what: str) -> T:
        try:
            return read()
        except FAULTS as error:
            self.missing.append(f"{what}: {self._line(error)}")
            return otherwise

    def _line(self, error: BaseException) -> str:
        """An exception as a sentence on one line, which names files as the folder has them."""
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, KeyError):
            text = f"{text} is not there"
        text = text.replace(f"{self.folder.path}/", "")
        return text if text.endswith(".") else f"{text}."

    def _ledger(self) -> tuple[list[TrialRecord], Counts, Use]:
        try:
            study = self.folder.load()
            try:
                records = self.folder.records(study, hidden=True)
                return records, ledger.counts(study), Use.of(study.user_attrs)
            finally:
                close(study)
        except FAULTS as error:
            self.missing.append(
                f"{self._line(error)} Trials are told from their folders: why one was stopped, "
                "when it ran and how well the slots were used is not known."
            )
        records = self._try(lambda: remains(self.folder), [], "the folders of trials")
        return records, _counted(records), Use()

    def _finalists(self, over: bool) -> list[Finalist]:
        """The confirmed recipes; before the search is `over` nothing of them is missing."""
        folder = self.folder
        if folder.definition.finalists.count == 0:
            return []
        chosen = folder.finalists / CHOSEN
        if over and not chosen.is_file():
            self.missing.append(
                f"finalists/{CHOSEN} is missing: no recipe was confirmed with fresh seeds, and "
                "values are those of the search"
            )
        none: list[Finalist] = []
        found = self._try(
            lambda: read_finalists(folder.finalists, folder.minimise),
            none,
            "the confirmation in finalists/ cannot be read",
        )
        if chosen.is_file() and not found:
            self.missing.append("the confirmation has not ended: values are those of the search")
        return found

    def _efforts(self, trials: list[TrialRecord]) -> dict[int, Effort]:
        found: dict[int, Effort] = {}
        absent: list[int] = []
        for lineage in sorted({one.lineage for one in trials if one.epochs_run}):
            try:
                effort = read_effort(self.folder.trial(lineage) / "history.jsonl")
            except FAULTS:
                effort = None
            if effort is None:
                absent.append(lineage)
            else:
                found[lineage] = effort
        if absent:
            names = ", ".join(f"{one:04d}" for one in absent[:NAMED_FOLDERS])
            more = f" and {len(absent) - NAMED_FOLDERS} more" * (len(absent) > NAMED_FOLDERS)
            self.missing.append(
                f"history.jsonl is missing or broken in trials/ {names}{more}: what these trials "
                "cost is not known"
            )
        return found

    def _json(self, name: str, what: str) -> dict[str, Any]:
        path = self.folder.path / name
        if not path.is_file():
            self.missing.append(f"{name} is missing: {what} is not known")
            return {}

        def read() -> dict[str, Any]:
            values = stored.load(path)
            if not isinstance(values, dict):
                raise ValueError("no mapping")
            return values

        return self._try(read, {}, f"{name} cannot be read, so {what} is not known")


@functools.cache
def controls() -> frozenset[str]:
    """The families of the shipped space `controls`: plain training and what costs nothing."""
    values = yamlfile.read(resources.find("search_spaces", "controls"))
    return frozenset((BASELINE, *values["strategies"]))


def _counts(split: Mapping[str, Any]) -> dict[str, int]:
    counts = split.get("counts", {})
    return {part: int(count) for part, count in counts.items()}


def _counted(records: list[TrialRecord]) -> Counts:
    ends = [record.state for record in records]
    return Counts(complete=ends.count("complete"), pruned=ends.count("pruned"))
