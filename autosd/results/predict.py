"""What a model says of image files, batch by batch."""

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from autosd.data.cache import MAX_THREADS
from autosd.data.dataset import Images
from autosd.errors import AutosdError
from autosd.results.image_paths import Named
from autosd.results.model import Model


@dataclass(frozen=True)
class Prediction:
    """One image.

    Attributes:
        path: of its file.
        classes: the most probable ones with their probabilities, best first.
    """

    path: str
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Unreadable:
    """A path that gave no image, and why."""

    path: str
    reason: str


def predict(
    model: Model,
    paths: Iterable[Named],
    *,
    top: int = 1,
    batch_size: int = 64,
    temperature: float = 1.0,
) -> Iterator[Prediction | Unreadable]:
    """Classify files in their order; at most `batch_size` images are in memory.

    Files are read exactly as those of a training set. Pictures of more pixels than Pillow takes
    for harmless (some 90 million) are refused.

    Args:
        model: called once per batch.
        paths: see `image_paths`.
        top: how many classes of each image; at most all of them.
        batch_size: images of a batch.
        temperature: the logits are divided by it; 1 leaves the network's own probabilities.
    """
    rest = iter(paths)
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, thread_name_prefix="autosd-decode") as pool:
        while chunk := list(islice(rest, batch_size)):
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                read = list(pool.map(lambda named: _read(model, named), chunk))
            yield from _classified(model, chunk, read, top, temperature)


def _read(model: Model, named: Named) -> Images | str:
    """Pixels `[H, W, C]`, or the reason why there are none."""
    if named.fault:
        return named.fault
    try:
        return model.preprocess.decode(Path(named.path))
    except AutosdError as error:
        return str(error).removeprefix(f"{Path(named.path)}: ")


def _classified(
    model: Model, chunk: list[Named], read: list[Images | str], top: int, temperature: float
) -> Iterator[Prediction | Unreadable]:
    pixels = [pixels for pixels in read if not isinstance(pixels, str)]
    best = iter(_best(model, np.stack(pixels), top, temperature) if pixels else ())
    for named, result in zip(chunk, read, strict=True):
        if isinstance(result, str):
            yield Unreadable(named.path, result)
        else:
            yield Prediction(named.path, next(best))


def _best(
    model: Model, pixels: Images, top: int, temperature: float
) -> list[tuple[tuple[str, float], ...]]:
    """The `top` classes of each row with their probabilities."""
    probabilities = torch.softmax(model.logits(pixels).double() / temperature, dim=1)
    found = probabilities.topk(min(top, probabilities.shape[1]), dim=1)
    return [
        tuple((model.class_names[k], value) for k, value in zip(classes, values, strict=True))
        for classes, values in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]
