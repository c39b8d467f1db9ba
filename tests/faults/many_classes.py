"""Trains each strategy for two steps with very many classes, in little memory; a line for each.

Run as a script, so that its memory can be limited: `many_classes.py CLASSES GIBIBYTES`.
"""

import json
import resource
import sys

import numpy as np

from autosd.data.dataset import Data, Pool
from autosd.errors import AutosdError
from autosd.recipe import AugmentSpec, Recipe
from autosd.strategies.strategy import discover
from autosd.training.trainer import Trainer

IMAGES = {"train": 32, "val": 16, "select": 16}


def data_of(classes: int) -> Data:
    """A few images of noise, whose labels are any of the classes."""
    draw = np.random.default_rng(0)
    count = sum(IMAGES.values())
    rows = np.arange(count)
    bounds = np.cumsum([0, *IMAGES.values()])
    parts = {part: rows[a:b] for part, a, b in zip(IMAGES, bounds, bounds[1:], strict=False)}
    images = draw.integers(0, 255, (count, 8, 8, 1), np.uint8)
    return Data(
        name="many",
        class_names=tuple(f"class {k}" for k in range(classes)),
        image_shape=(1, 8, 8),
        mean=(0.5,),
        std=(0.3,),
        augment=AugmentSpec(crop=0, flip=False),
        counts=IMAGES,
        fingerprint="many",
        split_hash="many",
        rows=parts,
        development=Pool(images, draw.integers(0, classes, count), rows),
        test=None,
    )


def told_of(strategy: str, data: Data) -> str:
    """How two steps with a strategy ended: `trained`, or why it refuses."""
    recipe = Recipe.parse(
        {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 16,
         "strategies": [strategy]}
    )  # fmt: skip
    try:
        trainer = Trainer(recipe, data, evaluate_on=("val",), threads=1)
        for _ in trainer.epochs():
            pass
    except AutosdError as error:
        return str(error)
    return "trained"


def main() -> None:
    """Every strategy that is found."""
    limit = int(sys.argv[2]) * 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    data = data_of(int(sys.argv[1]))
    for strategy in discover():
        try:
            told = told_of(strategy, data)
        except (MemoryError, RuntimeError) as error:
            told = f"failed: {error!r:.200}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"strategy": strategy, "told": told, "peak": round(peak, 2)}), flush=True)


if __name__ == "__main__":
    main()
