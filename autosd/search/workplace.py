"""Where a worker keeps the files of its run: in the run's own folder, or on another machine."""

import shutil
from pathlib import Path
from typing import Protocol

from autosd.search.jobs import Job
from autosd.search.lock import names
from autosd.search.place import Place

CHECKPOINT = "last.pt"


class Workplace(Protocol):
    """Files of one run; `folder` is on a disk of this machine."""

    folder: Path

    def open(self) -> None:
        """Make the folder, with the checkpoint in it where there is one."""

    def keep(self) -> None:
        """The checkpoint in the folder is whole: let others find it."""

    def owned_by(self, token: str) -> bool:
        """Whether the study is still that of the driver with this token."""

    def finished(self) -> dict[str, bytes]:
        """Files for the driver to write into the run's folder, by name below it."""

    def leave(self) -> None:
        """Give back what was only needed here."""


class Here:
    """The run's own folder, where the driver sees all files at once."""

    def __init__(self, job: Job) -> None:
        self.folder, self._lock = Path(job.folder), Path(job.lock)

    def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def keep(self) -> None:
        """Nothing: it lies where it belongs."""

    def owned_by(self, token: str) -> bool:
        return names(self._lock, token)

    def finished(self) -> dict[str, bytes]:
        return {}

    def leave(self) -> None:
        """Nothing."""


class Elsewhere:
    """A folder of this node; checkpoints go to the place that all nodes see."""

    def __init__(self, job: Job, scratch: Path) -> None:
        self.folder = scratch / job.key
        study, _, self._owner = job.lock.rpartition("/")
        self._place, self._study = Place(job.place), Place(study)

    def open(self) -> None:
        self.leave()
        self.folder.mkdir(parents=True)
        self._place.get(CHECKPOINT, self.folder / CHECKPOINT)

    def keep(self) -> None:
        self._place.put(self.folder / CHECKPOINT, CHECKPOINT)

    def owned_by(self, token: str) -> bool:
        return token in self._study.read(self._owner)

    def finished(self) -> dict[str, bytes]:
        paths = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in paths
            if path.name != CHECKPOINT
        }

    def leave(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
