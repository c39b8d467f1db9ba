"""From the name of a data set to images that are split."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache as memoised
from pathlib import Path

import numpy as np

from autosd.data import sources
from autosd.data.cache import default_cache
from autosd.data.dataset import Data, Dataset, Pool, mean_and_std
from autosd.data.sources.source import Kind, Source
from autosd.data.splits import Split, make_split
from autosd.errors import AutosdError
from autosd.recipe import AugmentSpec, DataSpec, fingerprint, unknown


def load_data(
    spec: DataSpec,
    *,
    cache: Path | None = None,
    with_test: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Data:
    """Read a data set and split it.

    Args:
        spec: what the recipe says.
        cache: folder for what is made once; by default `$XDG_CACHE_HOME/autosd`.
        with_test: whether images of the test part are read at all.
        progress: told `(what, done, all)` while something takes long.

    Raises:
        AutosdError: the name, a file, a label or the split is at fault.
    """
    tell = progress or (lambda what, done, count: None)
    source = open_source(spec, cache, tell)
    split = make_split(
        source.labels, source.official, spec.split, source.defaults, source.class_names
    )
    rows = np.sort(np.concatenate([split.rows[part] for part in ("train", "val", "select")]))
    development = Pool(source.read(rows, tell), source.labels[rows], rows)
    test = _test_pool(source, split, tell) if with_test else None
    return _described(source, split, development, test)


def open_source(
    spec: DataSpec,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, count: None,
) -> Source:
    """A data set before it is split, of which no image was read; arguments as `load_data`."""
    return _kind(spec.name).open(spec, cache or default_cache(), progress)


def _test_pool(source: Source, split: Split, tell: Callable[[str, int, int], None]) -> Pool:
    rows = split.rows["test"]
    images = source.read(rows, tell)
    labels = source.test_labels() if "test" in source.official else source.labels[rows]
    return Pool(images, labels, rows)


def _described(source: Source, split: Split, development: Pool, test: Pool | None) -> Data:
    train: Dataset = development.part(split.rows["train"])
    mean, std = mean_and_std(train)
    height, width, channels = development.images.shape[1:]
    return Data(
        name=source.name,
        class_names=source.class_names,
        image_shape=(channels, height, width),
        mean=mean,
        std=std,
        augment=_augment(source, min(height, width)),
        counts=split.counts,
        fingerprint=fingerprint([source.identity, height, width, split.hash]),
        split_hash=split.hash,
        rows=split.rows,
        development=development,
        test=test,
    )


def _augment(source: Source, side: int) -> AugmentSpec:
    """Photographs: pad by an eighth of the side (4 at 32 pixels), crop, flip; others: nothing."""
    crop = min(64, round(side / 8)) if source.crops else 0
    return AugmentSpec(crop=crop, flip=source.flips)


def check_data(spec: DataSpec) -> None:
    """Raise `AutosdError` for an unknown name, a missing path or a malformed file.

    Looks at names, folders and headers only; nothing is downloaded or written.
    """
    _kind(spec.name).check(spec)


def data_names() -> list[str]:
    """Known names; `npz:PATH` and `folder:PATH` take any path besides."""
    return sorted(name for kind in _kinds() for name in kind.names)


@memoised
def _kinds() -> tuple[Kind, ...]:
    """Every kind that a file of `sources` defines."""
    found: list[Kind] = []
    for module in pkgutil.iter_modules(sources.__path__, f"{sources.__name__}."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if (
                issubclass(cls, Kind)
                and not inspect.isabstract(cls)
                and cls.__module__ == module.name
            ):
                found.append(cls())
    return tuple(found)


def _kind(name: str) -> Kind:
    prefix, colon, path = name.partition(":")
    for kind in _kinds():
        if name in kind.names or (colon and path and prefix == kind.prefix):
            return kind
    raise AutosdError(_unknown(name))


def _unknown(name: str) -> str:
    prefixes = [kind.prefix for kind in _kinds() if kind.prefix]
    forms = [f"{prefix}:PATH" for prefix in prefixes]
    prefix, colon, _ = name.partition(":")
    if colon and prefix in prefixes:
        return f"data '{name}': a path is missing, as in {prefix}:PATH"
    if colon:
        return unknown("kind of data", prefix, prefixes)
    if Path(name).exists() or "/" in name or name.endswith(".npz"):
        form = "npz" if name.endswith(".npz") else "folder"
        return f"data '{name}': no known name; for a path write {form}:{name}"
    return unknown("data set", name, [*data_names(), *forms])
