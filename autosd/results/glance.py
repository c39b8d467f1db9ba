"""A running study at one moment, for those who only look: nothing is written, not even a lock."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autosd.results.leaderboard import best_trial
from autosd.search import curve
from autosd.search.census import Counts
from autosd.search.finalists import read_chosen
from autosd.search.lists import read_recipe
from autosd.search.lock import Owner
from autosd.search.look import looked
from autosd.search.meter import Use
from autosd.search.progress import Best, Progress, Running, seconds_left
from autosd.search.records import TrialRecord
from autosd.search.requests import driver_anywhere
from autosd.search.study import StudyFolder

SHORTEST_PAUSE = 1.0
SHARE_OF_TIME = 0.05
"""A watcher takes no more of a core than this, however large the study is."""


@dataclass(frozen=True)
class Glance:
    """What can be seen of a study.

    Attributes:
        progress: of the stage that runs, or ran last.
        owner: who runs it, None where nobody does.
    """

    progress: Progress
    owner: Owner | None


def watch(folder: StudyFolder, pause: Callable[[float], object] = time.sleep) -> Iterator[Glance]:
    """A glance now and then, until nobody runs the study; the last one is without an owner."""
    while True:
        begin = time.monotonic()
        seen = glance(folder)
        yield seen
        if seen.owner is None:
            return
        took = time.monotonic() - begin
        pause(max(SHORTEST_PAUSE, took / SHARE_OF_TIME))


def glance(folder: StudyFolder) -> Glance:
    """One look at the record and at the folders of runs."""
    owner = driver_anywhere(folder.lock_path, folder.url)
    with looked(folder) as look:
        counts, use = look.census.counts, Use.of(look.attributes)
        best = look.best()
        known = look.records([*look.census.at("running"), *(() if best is None else (best,))])
    if owner is None:  # what a killed driver left running goes back to the queue
        counts = replace(counts, waiting=counts.waiting + counts.running, running=0)
    stage = _stage(folder, counts, owner is not None)
    searched = _searched(folder, known, counts, use, owner is not None)
    return Glance(searched if stage is None else _listed(stage, searched, owner is not None), owner)


def _stage(folder: StudyFolder, counts: Counts, live: bool) -> Path | None:
    """The list of runs that is being worked on, or None where it is the search."""
    if counts.running or counts.waiting or counts.counted < folder.definition.trials:
        chosen = read_chosen(folder.finalists)
        unconfirmed = chosen is not None and not chosen.confirmed
        return folder.finalists if unconfirmed and not counts.running else None
    lists = [path.parent.parent for path in folder.path.glob("*/*/job.json")]
    if live and lists:
        return max(lists, key=_touched)
    return folder.finalists if read_chosen(folder.finalists) is not None else None


def _touched(runs: Path) -> float:
    files = [*runs.glob("*/job.json"), *runs.glob("*/history.jsonl")]
    return max(path.stat().st_mtime for path in files)


def _searched(
    folder: StudyFolder, records: list[TrialRecord], counts: Counts, use: Use, live: bool
) -> Progress:
    planned, epochs = folder.definition.trials, folder.definition.recipe.epochs
    best = best_trial(records, minimise=folder.minimise)
    left = max(0, planned - counts.counted)
    return Progress(
        stage="search",
        planned=planned,
        complete=counts.complete,
        pruned=counts.pruned,
        failed=counts.failed,
        waiting=counts.waiting,
        running=tuple(
            Running(f"trials/{one.lineage:04d}", one.family, _epoch(one), epochs)
            for one in records
            if live and one.state == "running"
        ),
        best=None if best is None else Best(best.number, best.value or 0.0, best.family),
        seconds=use.seconds,
        seconds_left=seconds_left(use.seconds, counts.counted, left, 1) if live else None,
    )


def _epoch(record: TrialRecord) -> int:
    return record.curve[-1][0] if record.curve else 0


def _listed(runs: Path, searched: Progress, live: bool) -> Progress:
    """Runs that have begun; how many there will be is known of the finalists only."""
    begun = sorted(path.parent for path in runs.glob("*/job.json"))
    done = [path for path in begun if (path / "result.json").is_file()]
    open_ = [path for path in begun if path not in done]
    planned = _planned(runs) or len(begun)
    return Progress(
        stage=runs.name,
        planned=planned,
        complete=len(done),
        waiting=max(0, planned - len(done) - (len(open_) if live else 0)),
        running=tuple(_run(path) for path in open_) if live else (),
        best=searched.best,
        seconds=searched.seconds,
    )


def _planned(runs: Path) -> int:
    chosen = read_chosen(runs)
    return 0 if chosen is None else sum(len(one.seeds) for one in chosen.finalists)


def _run(folder: Path) -> Running:
    """A run with its epochs; until the first one tells how many there are, the recipe does."""
    records = curve.read(folder / "history.jsonl")
    planned = records[0].get("epochs") if records else None
    epochs = read_recipe(folder).epochs if planned is None else int(planned)
    return Running(f"{folder.parent.name}/{folder.name}", folder.name, len(records), epochs)
