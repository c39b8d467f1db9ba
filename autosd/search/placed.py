"""A bridge whose runs may be on other machines: their files come home when a run ends.

The place that all nodes see holds checkpoints of runs in progress and nothing else; at the end of
a run, however it ended, its checkpoint moves to the study folder. So all others (pruning, the best
five, finalists, ensembles, `verify`) find on one machine what they find on a cluster.
"""

import json
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from autosd.errors import AutosdError, EngineLost
from autosd.files import write_atomically, write_json
from autosd.recipe import fingerprint
from autosd.search.cluster import Cluster
from autosd.search.jobs import Answer, Bridge, Failure, Job, Result
from autosd.search.lock import holding
from autosd.search.place import Place, PlaceUnusable
from autosd.search.workplace import CHECKPOINT

logger = logging.getLogger(__name__)

RECORD = "checkpoints.json"
"""In the study folder while checkpoints may lie elsewhere: says where."""
OWNER = "owner"


class Placed:
    """A bridge that sends checkpoints to where workers look, and fetches what they leave."""

    def __init__(self, bridge: Bridge, cluster: Cluster | None) -> None:
        """Nothing is sent before the first job, which says where the study is."""
        self.bridge, self.cluster = bridge, cluster
        self._home: _Home | None = None
        self._away: set[str] = set()

    def ask(self) -> Answer:
        answer = self.bridge.ask()
        if not isinstance(answer, Job) or not answer.lock:
            return answer
        with _reached():
            if self._home is None:
                self._home = _Home(answer, self.cluster)
            self._away.add(answer.key)
            return self._home.sent(answer)

    def report(self, job: Job, result: Result) -> bool:
        return self.bridge.report(job, result)

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        if self._home is not None:
            self._home.check()
        folder = Path(job.folder)
        files = {} if result is None else result.pop("files", {})
        for name, content in files.items():
            _write(folder, name, content)
        if self._home is not None:
            with _reached():
                self._home.fetch(job)
        self._away.discard(job.key)
        self.bridge.complete(job, result, error)

    def close(self) -> None:
        """Leave the checkpoints of runs that are still away: the next session finds them."""
        self.bridge.close()
        if self._home is not None and not self._away:
            self._home.check()
            self._home.leave()


class _Home:
    """A study folder and the place where its checkpoints are while its runs are elsewhere."""

    def __init__(self, job: Job, cluster: Cluster | None) -> None:
        """Bring home what an earlier session left, and say who owns the study now."""
        self.study, self.shared = Path(job.lock).parent, cluster is not None
        self.lock = holding(Path(job.lock))
        self.place = _place(self.study, cluster)
        before = _recorded(self.study)
        for known in (before, self.place):
            if known is not None:
                known.write(OWNER, job.token)
                self._bring_all(known)
        if before is not None and (self.place is None or before.address != self.place.address):
            before.clear()
        if self.place is None:
            (self.study / RECORD).unlink(missing_ok=True)
        else:
            write_json(self.study / RECORD, {"address": self.place.address})

    def check(self) -> None:
        """To be called before files are brought home, or removed.

        Raises:
            TakenOver: they are another driver's by now.
        """
        if self.lock is not None:
            self.lock.check()

    def sent(self, job: Job) -> Job:
        """The job as a worker of any node can do it."""
        if self.place is None:
            return replace(job, place=job.folder) if self.shared else job
        run = self._run(job)
        checkpoint = Path(job.folder, CHECKPOINT)
        if checkpoint.is_file():
            self.place.put(checkpoint, f"{run}/{CHECKPOINT}")
        address = self.place.address.rstrip("/")
        return replace(job, place=f"{address}/{run}", lock=f"{address}/{OWNER}", cache=None)

    def fetch(self, job: Job) -> None:
        """Move the checkpoint of a run that has ended to its folder."""
        if self.place is not None:
            self._bring(self.place, f"{self._run(job)}/{CHECKPOINT}")

    def leave(self) -> None:
        """Nothing is away any more: remove what is left at the place, if it can be."""
        if self.place is None:
            return
        try:
            self.place.clear()
        except PlaceUnusable as error:
            logger.warning("%s", error)
        else:
            (self.study / RECORD).unlink(missing_ok=True)

    def _run(self, job: Job) -> str:
        return Path(job.folder).relative_to(self.study).as_posix()

    def _bring_all(self, place: Place) -> None:
        for name in place.names():
            if name.endswith(f"/{CHECKPOINT}"):
                self._bring(place, name)

    def _bring(self, place: Place, name: str) -> None:
        target = (self.study / name).resolve()
        if target.is_relative_to(self.study) and target.parent.is_dir() and place.get(name, target):
            place.remove(name)


def _place(study: Path, cluster: Cluster | None) -> Place | None:
    """Where a study keeps the checkpoints of this session; None: in its folder.

    The name tells apart studies of one name that share an address.
    """
    if cluster is None or cluster.checkpoints is None:
        return None
    mark = fingerprint([platform.node(), str(study)])[:8]
    return Place(cluster.checkpoints).below(f"{study.name}-{mark}")


def _recorded(study: Path) -> Place | None:
    """Where the session before kept its checkpoints.

    Raises:
        AutosdError: the record cannot be read.
    """
    path = study / RECORD
    if not path.exists():
        return None
    try:
        return Place(str(json.loads(path.read_text(encoding="utf-8"))["address"]))
    except PlaceUnusable as error:
        raise PlaceUnusable(
            f"{error}; to train interrupted runs from their start instead, remove {path}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AutosdError(
            f"{path}: cannot be read ({error}); it says where checkpoints of interrupted runs are. "
            "Remove it to train these runs from their start"
        ) from None


@contextmanager
def _reached() -> Iterator[None]:
    """End the block so that its run can go on from where the place is of no use to the driver.

    Raises:
        EngineLost: in the place of `PlaceUnusable`.
    """
    try:
        yield
    except PlaceUnusable as error:
        raise EngineLost(
            f"{error}; what was finished is kept: mend the place, or the way to it, and run the "
            "same command again"
        ) from error


def _write(folder: Path, name: str, content: bytes) -> None:
    """A file of a worker in the run's folder, and nowhere else."""
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise AutosdError(f"{folder}: a worker gave a file named {name}, which leads out of it")
    write_atomically(target, lambda file: file.write(content))
