"""What lies on the driver's machine, for workers on others: data sets, and files of recipes.

A depot on the driver's machine reads, a worker asks when it needs something that its machine does
not have, and one worker of each machine fetches for all of them, into the cache folder.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autosd.data.cache import default_cache, locked
from autosd.data.dataset import Data, Images
from autosd.data.loading import load_data
from autosd.data.portable import Description, PoolName, describe, receive
from autosd.errors import AutosdError
from autosd.files import write_atomically
from autosd.located import note_copy
from autosd.models.custom import is_custom
from autosd.recipe import DataSpec, Recipe

CHUNK_BYTES = 32_000_000


class Depot:
    """An actor on the driver's machine that reads what the driver would."""

    def __init__(self, folder: str) -> None:
        """Relative paths start at `folder`, the driver's working folder."""
        os.chdir(folder)
        self._data: dict[str, Data] = {}

    def describe(self, spec: DataSpec, with_test: bool) -> tuple[Description, str]:
        """A data set without its images, and the folder where its path starts."""
        return describe(self._loaded(spec, with_test)), os.getcwd()

    def images(
        self, spec: DataSpec, with_test: bool, pool: PoolName, start: int, stop: int
    ) -> Images:
        """Images of some rows of a pool."""
        images: Images = getattr(self._loaded(spec, with_test), pool).images
        return images[start:stop]

    def files(self, path: str) -> dict[str, str]:
        """SHA-256 of a file, or of each file in a folder, by name; nothing where there is none."""
        return {file.name: _sha256(file) for file in _files(Path(path))}

    def read(self, path: str, name: str, start: int) -> bytes:
        """Some 32 MB of one of them, from a byte on; nothing at its end."""
        (wanted,) = [file for file in _files(Path(path)) if file.name == name]
        with wanted.open("rb") as content:
            content.seek(start)
            return content.read(CHUNK_BYTES)

    def _loaded(self, spec: DataSpec, with_test: bool) -> Data:
        key = f"{spec.model_dump_json()} {with_test}"
        if key not in self._data:
            self._data[key] = load_data(spec, with_test=with_test)
        return self._data[key]


def open_depot() -> Any:
    """A depot on the machine of this process, which takes no slot."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    depot = ray.remote(Depot).options(num_cpus=0, scheduling_strategy=here)
    return depot.remote(os.getcwd())


class Supplied:
    """A worker's view of the depot."""

    def __init__(self, depot: Any) -> None:
        self._depot = depot

    def data(self, spec: DataSpec, *, cache: Path | None, with_test: bool) -> Data:
        """The data set as it is on this machine, if it is the same; else as a copy.

        Raises:
            AutosdError: the driver cannot read it, or the copy cannot be written.
        """
        description, folder = ray.get(self._depot.describe.remote(spec, with_test))
        here = _here(_rooted(spec, Path(folder)), cache, with_test)
        if here is not None and here.fingerprint == description.fingerprint:
            return here

        def read(pool: PoolName, start: int, stop: int) -> Images:
            images: Images = ray.get(self._depot.images.remote(spec, with_test, pool, start, stop))
            return images

        return receive(description, (cache or default_cache()) / "copies", read)

    def bring(self, recipe: Recipe, root: Path) -> None:
        """Fetch the files that a recipe names and that are not the same here."""
        for path in _named(recipe, root):
            files: dict[str, str] = ray.get(self._depot.files.remote(path))
            if files and {file.name: _sha256(file) for file in _files(Path(path))} != files:
                note_copy(path, self._copy(path, files))

    def _copy(self, path: str, files: dict[str, str]) -> Path:
        """A folder, or a file, whose place says what it holds."""
        mark = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:32]
        folder = default_cache() / "copies" / mark
        for name, sha256 in files.items():
            with locked(folder / name):
                if not (folder / name).is_file() or _sha256(folder / name) != sha256:
                    self._fetch(path, name, folder / name)
        return folder / Path(path).name if list(files) == [Path(path).name] else folder

    def _fetch(self, path: str, name: str, target: Path) -> None:
        def chunks() -> Iterator[bytes]:
            start = 0
            while content := ray.get(self._depot.read.remote(path, name, start)):
                start += len(content)
                yield content

        write_atomically(target, lambda file: file.writelines(chunks()))


def _rooted(spec: DataSpec, folder: Path) -> DataSpec:
    """The same with an absolute path, where it has any."""
    if spec.root is None and ":" not in spec.name:
        return spec
    return spec.model_copy(update={"root": str(folder / Path(spec.root or "").expanduser())})


def _here(spec: DataSpec, cache: Path | None, with_test: bool) -> Data | None:
    """The data set if this machine has one of that name; nothing is downloaded."""

    def refuse(what: str, done: int, count: int) -> None:
        if what.startswith("downloading"):
            raise AutosdError(f"{spec.name} is not on this machine")

    try:
        return load_data(spec, cache=cache, with_test=with_test, progress=refuse)
    except AutosdError:
        return None


def _named(recipe: Recipe, root: Path) -> list[str]:
    """Paths of files and folders in a recipe, as they are opened."""
    found = [recipe.init] if recipe.init else []
    if is_custom(recipe.model.name):
        found.append(recipe.model.name.rpartition(":")[0])
    knobs = [spec.knobs.get("file") for spec in recipe.strategies]
    return found + [os.fspath(root / str(file)) for file in knobs if file]


def _files(path: Path) -> list[Path]:
    """A file, or the visible files of a folder."""
    if path.is_dir():
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        return sorted(file for file in visible if file.is_file())
    return [path] if path.is_file() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
