"""A search with everything that follows it: the winner, its folder, the tables, the note."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autosd import stored
from autosd.recipe import StudyDefinition
from autosd.results.attachments import attach, write_note
from autosd.results.best import DESCRIPTION, student, write_from_confirmation
from autosd.results.leaderboard import BASELINE, Row, leaderboard
from autosd.results.outcome import Comparison, Winner, against_baseline, winner
from autosd.results.room import check_search
from autosd.results.state import short
from autosd.results.wording import sentence
from autosd.search.address import storage_url
from autosd.search.capacity import crowding
from autosd.search.cluster import Cluster
from autosd.search.engines import EngineChoice, slots_of
from autosd.search.forked import record
from autosd.search.lists import TRAIN_AGAIN
from autosd.search.progress import Watch
from autosd.search.ready import Ready, check
from autosd.search.run import Outcome, run_search
from autosd.search.samplers import limits
from autosd.search.study import StudyFolder


@dataclass(frozen=True)
class Found:
    """What a search came to, for people and machines.

    Attributes:
        outcome: of the search itself.
        rows: families, best first.
        comparisons: finalists against cross-entropy, best first.
        winner: None where no trial is complete.
        model_dir: the winner's student, None where there is none.
    """

    outcome: Outcome
    rows: list[Row]
    comparisons: list[Comparison]
    winner: Winner | None
    model_dir: Path | None

    @property
    def verdict(self) -> str:
        """One sentence on the winner; empty without a confirmation."""
        if self.winner is None or not self.comparisons:
            return ""
        first = self.comparisons[0]
        return sentence(first.finalist.label, first.difference, self.objective)

    @property
    def winner_line(self) -> str:
        """Who won."""
        return "" if self.winner is None else f"Winner: {self.winner.label}."

    @property
    def objective(self) -> str:
        """What was searched for."""
        return self.outcome.folder.definition.objective

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd search`."""
        counts = self.outcome.counts
        return {
            "study": self.outcome.folder.name,
            "folder": str(self.outcome.folder.path),
            "trials": {
                "complete": counts.complete,
                "pruned": counts.pruned,
                "failed": counts.failed,
            },
            "best": None if self.winner is None else short(self.winner),
            "finalists": [
                {"recipe": one.label, "mean": one.mean, "sd": one.sd, "n": one.n}
                for one in self.outcome.finalists
            ],
            "ended": self.outcome.ended or None,
            "forked": record(self.outcome.folder.path),
            "seconds": round(self.outcome.seconds, 1),
        }


def prepare(
    definition: StudyDefinition,
    fixed: Mapping[str, Any],
    root: Path,
    *,
    storage: str | None = None,
    engine: EngineChoice = "ray",
    progress: Callable[[str, int, int], None] | None = None,
) -> Ready:
    """Check everything before anything is written, and say what the user should know.

    Args:
        definition: resolved.
        fixed: parameters of the space with a value or a range of the user's.
        root: the folder of studies.
        storage: URL of a database server, None for the study's own file.
        engine: that will do it.
        progress: of decoding, as `load_data` tells it.

    Raises:
        AutosdError: all faults that were found, one per line.
    """
    slots_of(engine, definition.slots, definition.per_trial)
    storage_url(root / definition.name, storage)
    ready = check(definition, fixed, progress=progress)
    advice = [*ready.advice, limits(definition.sampler)]
    if not isinstance(engine, Cluster):
        advice.append(crowding(definition.slots, definition.per_trial))
    return replace(ready, advice=tuple(line for line in advice if line))


def search(
    ready: Ready,
    root: Path,
    *,
    storage: str | None = None,
    engine: EngineChoice = "ray",
    command: Sequence[str] = (),
    watch: Watch | None = None,
    accept_code: bool = False,
    fork: str | None = None,
) -> Found:
    """Begin or go on with a study, confirm its finalists and write `best/`; see `run_search`.

    Raises:
        AutosdError: also where its disk has no room for it.
    """
    ends: list[Found] = []
    definition = ready.definition
    slots = slots_of(engine, definition.slots, definition.per_trial)
    check_search(definition, ready.data, slots, root)
    run_search(
        ready,
        root,
        storage=storage,
        engine=engine,
        command=command,
        watch=watch,
        accept_code=accept_code,
        fork=fork,
        opened=_check_students,
        begun=write_note,
        ended=lambda outcome: ends.append(_end(outcome)),
    )
    return ends[0]


def _check_students(folder: StudyFolder) -> None:
    """Tell of a damaged `best/` or winner now, not when all trainings have ended."""
    from autosd.training.export import check_exported

    student(folder.best)
    won = winner(folder, folder.records())
    model = None if won is None or won.source is None else won.source / "model"
    if model is not None and (model / DESCRIPTION).is_file():
        with stored.sound(model, TRAIN_AGAIN):
            check_exported(model)


def _end(outcome: Outcome) -> Found:
    """Write `best/`, note and figures of the dashboard; to be called with the lock held."""
    folder = outcome.folder
    records = folder.records()
    won = winner(folder, records)
    comparisons = against_baseline(outcome.finalists, folder.minimise)
    families = dict.fromkeys((BASELINE, *folder.space.families))
    rows = leaderboard(records, families, folder.minimise)
    kept = won is not None and write_from_confirmation(folder, won)
    attach(folder)
    return Found(outcome, rows, comparisons, won, folder.best if kept else None)
