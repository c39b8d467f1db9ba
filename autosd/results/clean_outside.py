"""What a study leaves outside of its folder: decoded images, and folders of killed runs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.search.scratch import abandoned
from autosd.search.study import StudyFolder, study_names


class _NotThere(Exception):
    """Something would have to be made or downloaded first."""


def killed_runs() -> Iterator[Path]:
    """Ray's folders of runs that were killed; every search removes them, too."""
    yield from abandoned(Path(tempfile.gettempdir()))


def cached_images(folder: StudyFolder, root: Path) -> Iterator[Path]:
    """Files of decoded images of this study's data; none where another study reads the same data.

    Args:
        folder: of the study.
        root: the folder of studies; those elsewhere are not known.
    """
    if any(_same_data(folder, path) for path in _others(folder, root)):
        return
    data = _loaded(folder, with_test=True) or _loaded(folder, with_test=False)
    pools = () if data is None else (data.development, data.test)
    for pool in pools:
        name = None if pool is None else getattr(pool.images, "filename", None)
        if name is not None and Path(name).parent.name == "images":
            yield Path(name)


def _others(folder: StudyFolder, root: Path) -> Iterator[Path]:
    for path in {root.resolve(), folder.path.parent}:
        yield from (path / name for name in study_names(path) if path / name != folder.path)


def _same_data(folder: StudyFolder, other: Path) -> bool:
    """Whether another study has the same data; one that cannot be read might."""
    try:
        return StudyFolder.open(other).definition.recipe.data == folder.definition.recipe.data
    except AutosdError:
        return True


def _loaded(folder: StudyFolder, *, with_test: bool) -> Data | None:
    """The data, if nothing has to be decoded or downloaded for them."""
    try:
        spec = folder.definition.recipe.data
        return load_data(spec, with_test=with_test, progress=_refuse)
    except (AutosdError, _NotThere):
        return None


def _refuse(what: str, done: int, count: int) -> None:
    raise _NotThere(what)
