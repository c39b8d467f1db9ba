"""Opens everything that a study consists of, and says what is wrong and what to do about it.

Nothing is written, not even to the database; what a running driver works on is left out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd import stored
from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.results.verify_faults import PUT_BACK, Check, Fault
from autosd.results.verify_record import check_record
from autosd.results.verify_replay import Replayed, check_replay
from autosd.results.verify_runs import check_runs
from autosd.results.verify_students import check_students
from autosd.search import code
from autosd.search.census import Counts
from autosd.search.forked import record, told
from autosd.search.requests import driver_anywhere
from autosd.search.study import StudyFolder


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes:
        study: its name.
        faults: what is wrong; empty where the study is whole.
        notes: what is worth knowing and nobody's fault.
        counts: of the trials; None where the database could not be read.
        planned: trials in all.
        checked: kind of thing -> how many were opened.
        replayed: the trial that was trained again, None where none was.
        seconds: taken.
    """

    study: str
    faults: list[Fault]
    notes: list[str]
    counts: Counts | None
    planned: int | None
    checked: dict[str, int]
    replayed: Replayed | None
    seconds: float

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd verify`."""
        replayed = self.replayed
        return {
            "study": self.study,
            "whole": self.whole,
            "faults": [vars(fault) for fault in self.faults],
            "notes": self.notes,
            "planned": self.planned,
            "counted": None if self.counts is None else self.counts.counted,
            "checked": self.checked,
            "replayed": None if replayed is None else replayed.mapping(),
            "seconds": round(self.seconds, 1),
        }


def verify(
    name: str,
    root: Path,
    *,
    replay: int | None = None,
    replays: bool = True,
    say: Callable[[str], object] = lambda line: None,
) -> Verified:
    """Check a study.

    Args:
        name, root: which one.
        replay: number of the complete trial to be trained again, None for the cheapest.
        replays: whether one is trained again at all.
        say: told what takes long.

    Raises:
        AutosdError: no such study, or no such complete trial.
    """
    begin, check = time.monotonic(), Check()
    folder = _opened(name, root, check)
    if folder is None:
        return _verified(Path(name).name, check, None, None, None, begin)
    live = driver_anywhere(folder.lock_path, folder.url)
    if live is not None:
        check.note(f"run by {live}: what is not finished yet is left out")
    taken_over = record(folder.path)
    for line in [*([told(taken_over)] if taken_over else []), *code.accepted(folder.path)]:
        check.note(line)
    data = _data(folder, check)
    counts = check_record(folder, data, live is not None, check)
    check_runs(folder, data, live is not None, check)
    check_students(folder, live is not None, check)
    replayed = None
    if replays and data is not None and counts is not None:
        replayed = check_replay(folder, data, replay, check, say)
    return _verified(folder.name, check, counts, folder.definition.trials, replayed, begin)


def _verified(
    study: str,
    check: Check,
    counts: Counts | None,
    planned: int | None,
    replayed: Replayed | None,
    begin: float,
) -> Verified:
    seconds = time.monotonic() - begin
    return Verified(
        study, check.faults, check.notes, counts, planned, check.checked, replayed, seconds
    )


def _opened(name: str, root: Path, check: Check) -> StudyFolder | None:
    """The study, or a fault where its definition cannot be read."""
    found = [path for path in (root / name, Path(name)) if (path / "study.yaml").is_file()]
    if not found:
        return StudyFolder.find(name, root)
    try:
        folder = StudyFolder.open(found[0])
    except AutosdError as error:
        first, *rest = str(error).splitlines()
        check.wrong("study.yaml", first, " ".join(rest) or PUT_BACK)
        return None
    check.count("files of the definition", 3)
    for path in (folder.path / "environment.json", folder.path / "split.json"):
        check.read_json(path, path.name)
    return folder


def _data(folder: StudyFolder, check: Check) -> Data | None:
    """The data of the study, against its split; None where they cannot be had here."""
    recipe = folder.definition.recipe
    try:
        data = load_data(recipe.data, progress=_no_download)
    except AutosdError as error:
        what = f"{recipe.data.name} cannot be read here: {error}"
        check.wrong("data", what, "put the data back; neither split nor replay was checked")
        return None
    split = folder.path / "split.json"
    if not split.is_file():
        return data
    try:
        known = stored.load(split)
        found = known["fingerprint"], known["counts"]
    except (OSError, ValueError, KeyError, TypeError):
        check.wrong("split.json", "does not say which data the study began with", PUT_BACK)
        return data
    if found != (data.fingerprint, data.counts):
        check.wrong(
            "split.json",
            f"{recipe.data.name} is not the data that the study began with",
            "put the old data back; results of this study do not hold for the new",
        )
    check.count("images of the split", sum(data.counts.values()))
    return data


def _no_download(what: str, done: int, count: int) -> None:
    """Stop before a download: verifying reads what is there."""
    if what.startswith("downloading"):
        raise AutosdError("it is not on this machine, and verifying downloads nothing")
