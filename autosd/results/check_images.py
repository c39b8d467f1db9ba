"""The images on which an exported file is held against its model: real ones wherever there are."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosd.data.dataset import Images
from autosd.data.parts import open_data
from autosd.data.sources.source import Progress
from autosd.errors import AutosdError
from autosd.results.evaluate_data import check_classes, sized
from autosd.results.image_paths import Named
from autosd.results.model import Model, origin

COUNT = 64
PART = "val"


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Pixels for a check.

    Attributes:
        pixels: uint8 `[N, H, W, C]` of the model's shape.
        source: where they are from, in words.
        real: whether they are pictures of something.
        why: why they are random; empty for real ones.
    """

    pixels: Images
    source: str
    real: bool
    why: str = ""


def given_images(model: Model, paths: Iterable[Named], count: int = COUNT) -> CheckImages:
    """The first images among files that can be read.

    Raises:
        AutosdError: none of them can be read; says why the first cannot.
    """
    found: list[Images] = []
    faults: list[str] = []
    for named in paths:
        try:
            if named.fault:
                raise AutosdError(f"{named.path}: {named.fault}")
            found.append(model.preprocess.decode(Path(named.path)))
        except AutosdError as error:
            faults.append(str(error))
        if len(found) == count:
            break
    if not found:
        raise AutosdError(f"--images: {faults[0] if faults else 'no images were named'}")
    skipped = f", {len(faults)} unreadable left out" if faults else ""
    return CheckImages(np.stack(found), f"{len(found)} images of --images{skipped}", True)


def own_images(
    model: Model,
    *,
    count: int = COUNT,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> CheckImages:
    """Some validation images of the data the model was trained on; random ones if they are gone.

    Never those of test.
    """
    try:
        return _of_training_data(model, count, cache, progress)
    except AutosdError as error:
        return _random(model, count, str(error).splitlines()[0])


def _of_training_data(
    model: Model, count: int, cache: Path | None, progress: Progress | None
) -> CheckImages:
    recipe = origin(model).recipe
    if recipe is None:
        raise AutosdError("no recipe beside the model says what it was trained on")
    data = open_data(sized(recipe.data, model), cache=cache, progress=progress)
    check_classes(model, data)
    rows = data.rows(PART)
    some = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]
    pixels = np.asarray(data.read(some))
    if pixels.shape[1:] != model.preprocess.pixel_shape:
        raise AutosdError(f"{data.source.name} has images of another shape than the model's")
    name = data.source.name
    return CheckImages(pixels, f"{len(pixels)} images of {name} ({PART})", True)


def _random(model: Model, count: int, why: str) -> CheckImages:
    stream = np.random.default_rng(0)
    pixels = stream.integers(0, 256, (count, *model.preprocess.pixel_shape), dtype=np.uint8)
    return CheckImages(pixels, f"{count} random images", False, why)
