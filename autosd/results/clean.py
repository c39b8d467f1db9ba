"""What of a study can go, how much it frees, and what would no longer work without it.

What nothing needs goes; what resuming, reports, ensembles of the best few or predictions rest on
goes only if it is asked for by name. Curves, recipes, results and the database never go.
"""

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.errors import AutosdError
from autosd.recipe import unknown
from autosd.results.clean_outside import cached_images, killed_runs
from autosd.results.clean_parts import Files
from autosd.search.study import StudyFolder


@dataclass(frozen=True)
class Part:
    """Something of a study that can go.

    Attributes:
        name: what `--also` calls it, or what is said of it.
        paths: files and folders.
        bytes: they take.
        loss: what no longer works without it, in words.
        wanted: whether it goes: nothing needs it, or it was asked for by name.
    """

    name: str
    paths: tuple[Path, ...]
    bytes: int
    loss: str
    wanted: bool

    def mapping(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "files": len(self.paths),
            "bytes": self.bytes,
            "loss": self.loss,
            "wanted": self.wanted,
        }


@dataclass(frozen=True)
class Cleaned:
    """What was found, and whether it went.

    Attributes:
        study: its name.
        parts: what there is of everything that can go.
        bytes: of what is wanted.
        removed: whether that went.
    """

    study: str
    parts: list[Part]
    bytes: int
    removed: bool

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd clean`."""
        parts = [part.mapping() for part in self.parts]
        return {
            "study": self.study,
            "parts": parts,
            "bytes": self.bytes,
            "removed": self.removed,
        }


ALSO = {
    "checkpoints": "an ensemble has to train the best trials again (--train-missing)",
    "logits": "no ensemble, no look at single images, no calibration from these runs",
    "students": "an ensemble has to train finalists again; best/ and ensemble/ stay",
    "cache": "the images are decoded again by the next command that needs them",
    "log": "nothing but the record of what happened when",
}
"""What goes only if it is asked for, with what is lost."""


def clean(
    name: str,
    root: Path,
    *,
    also: Collection[str] = (),
    agree: Callable[[Cleaned], bool] = lambda found: True,
) -> Cleaned:
    """Remove what can go, with the study's lock held.

    Args:
        name, root: which study.
        also: keys of `ALSO`.
        agree: shown what was found; whether it may go.

    Raises:
        AutosdError: no such study, an unknown name in `also`, or somebody runs the study.
    """
    for key in also:
        if key not in ALSO:
            raise AutosdError(f"--also: {unknown('part', key, list(ALSO))}")
    folder = StudyFolder.find(name, root)
    with folder.lock() as lock:
        parts = [part for part in _parts(folder, root, also) if part.paths]
        wanted = [part for part in parts if part.wanted]
        found = Cleaned(folder.name, parts, sum(part.bytes for part in wanted), removed=False)
        if not wanted or not agree(found):
            return found
        for path in (path for part in wanted for path in part.paths):
            lock.check()
            _remove(path)
    return Cleaned(found.study, parts, found.bytes, removed=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _parts(folder: StudyFolder, root: Path, also: Collection[str]) -> Iterator[Part]:
    files = Files(folder)
    inside = {
        "interrupted writes": files.temporary(),
        "checkpoints of what has ended": files.ended_checkpoints(),
        "logits of trials without a result": files.stray_logits(),
        "checkpoints": files.best_checkpoints(),
        "logits": files.logits(),
        "students": files.students(),
        "log": files.log(),
    }
    outside = {
        "Ray's folders of killed runs": list(killed_runs()),
        "cache": list(cached_images(folder, root)),
    }
    own = {name: [path for path in found if _below(path, folder)] for name, found in inside.items()}
    for name, paths in {**own, **outside}.items():
        wanted, loss = name not in ALSO or name in also, ALSO.get(name, "nothing is lost")
        yield Part(name, tuple(paths), sum(map(size, paths)), loss, wanted)


def _below(path: Path, folder: StudyFolder) -> bool:
    """Whether it really lies in the study: no link leads out of it."""
    return path.parent.resolve().is_relative_to(folder.path.resolve())


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())
