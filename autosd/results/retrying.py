"""Which trials of a study ended without a result, and another try for them."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd import stored
from autosd.errors import AutosdError
from autosd.search import again, ledger
from autosd.search.knobs import STRATEGY
from autosd.search.study import StudyFolder, close


@dataclass(frozen=True)
class Retry:
    """A trial that gets another try.

    Attributes:
        trial: its number.
        family: the value of `strategy`.
        state: failed or diverged.
        reason: why, in one line.
    """

    trial: int
    family: str
    state: str
    reason: str


@dataclass(frozen=True)
class Retried:
    """What is tried again.

    Attributes:
        study: its name.
        trials: in order of number.
        waiting: trials in the queue now.
        command: what goes on with the study.
    """

    study: str
    trials: list[Retry]
    waiting: int
    command: str

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd retry`."""
        return {
            "study": self.study,
            "trials": [vars(one) for one in self.trials],
            "waiting": self.waiting,
            "command": self.command,
        }


def retry(
    name: str, root: Path, *, failed: bool, diverged: bool = False, dry_run: bool = False
) -> Retried:
    """Put trials without a result back in the queue; the next search of the study runs them.

    Args:
        name, root: which study.
        failed: those that ended by an exception or with their worker.
        diverged: those whose loss became infinite; a retry on the same machine diverges again.
        dry_run: only say which.

    Raises:
        AutosdError: no such study, nothing asked for, or another process runs it.
    """
    if not failed and not diverged:
        raise AutosdError("say what is to be tried again: --failed, --diverged, or both")
    kinds = [again.FAILED] * failed + [again.DIVERGED] * diverged
    folder = StudyFolder.find(name, root)
    with folder.lock():
        study = folder.load(read_only=False)
        try:
            ledger.sweep(study)
            found = again.without_result(study, kinds)
            for trial in [] if dry_run else found:
                again.try_again(study, folder.path, trial)
            waiting = ledger.counts(study).waiting
        finally:
            close(study)
    retries = [
        Retry(
            trial.number,
            str(trial.params.get(STRATEGY, "")),
            again.kind(trial),
            str(trial.user_attrs.get("why", "")),
        )
        for trial in found
    ]
    return Retried(folder.name, retries, waiting, search_command(folder, root))


def search_command(folder: StudyFolder, root: Path) -> str:
    """The command that began the study, made to go on with it where it lies now."""
    here = root if root.resolve() == folder.path.parent else folder.path.parent
    where = [] if here == Path("runs") else ["--dir", str(here)]
    words = _recorded(folder) or ["search", folder.name]
    return shlex.join(["autosd", *words, *where])


def _recorded(folder: StudyFolder) -> list[str]:
    """Words of the command that began the study, without its folder; none where it is not known."""
    path = folder.path / "environment.json"
    try:
        words = stored.load(path)["command"][1:]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    before = ["", *words]
    kept = [
        word
        for word, last in zip(words, before, strict=False)
        if last != "--dir" and word.partition("=")[0] != "--dir"
    ]
    return kept if "search" in kept else []
