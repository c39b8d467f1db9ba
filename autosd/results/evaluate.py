"""How good a model is on a part of a data set, class by class."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autosd.data.dataset import Integers
from autosd.errors import AutosdError
from autosd.results.evaluate_data import Chosen
from autosd.results.model import Model
from autosd.results.readings import FILE as SPLIT_FILE
from autosd.results.readings import note_reading, now
from autosd.training.metrics import joined, measure_rows, rows_of

MOST_CLASSES = 2000
"""Of a confusion matrix; the most frequent confusions are told of any number."""
Z95 = 1.959964
"""Standard normal quantile of a 95 % interval."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Scores of a model on some images.

    Attributes:
        folder: of the model.
        data: name of the data set.
        part: train, val, select, test or all.
        split: how the part came about, in words.
        metrics: see `autosd.training.metrics.measure`.
        class_names: K names, in the model's order.
        labels, predicted: int64 `[N]`: the class of each image, and what it was taken for.
        warnings: what keeps the scores from being those of new images.
        recorded: the file that now has this reading of test, None where test was not read.
        readings: how often test was read in all, this time included; None where not recorded.
    """

    folder: Path
    data: str
    part: str
    split: str
    metrics: dict[str, float]
    class_names: tuple[str, ...]
    labels: Integers
    predicted: Integers
    warnings: tuple[str, ...]
    recorded: Path | None
    readings: int | None

    @property
    def images(self) -> int:
        """How many were evaluated."""
        return len(self.labels)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of top-1 for this many images."""
        return wilson_interval(int((self.labels == self.predicted).sum()), self.images)

    @property
    def confusion(self) -> Integers | None:
        """`[K, K]`: images of class `row` taken for `column`; None above `MOST_CLASSES`."""
        classes = len(self.class_names)
        if classes > MOST_CLASSES:
            return None
        places = self.labels * classes + self.predicted
        return np.bincount(places, minlength=classes * classes).reshape(classes, classes)

    def classes(self) -> list[dict[str, Any]]:
        """For each class: its images, those that were recognised, and their share (recall)."""
        classes, hits = len(self.class_names), self.labels[self.labels == self.predicted]
        counts, right = (np.bincount(of, minlength=classes) for of in (self.labels, hits))
        return [
            {
                "class": name,
                "images": int(count),
                "right": int(hits),
                "recall": int(hits) / int(count) if count else None,
            }
            for name, count, hits in zip(self.class_names, counts, right, strict=True)
        ]

    def confused(self, most: int = 10) -> list[dict[str, Any]]:
        """The most frequent mistakes: a class, what it was taken for, how often."""
        classes, wrong = len(self.class_names), self.labels != self.predicted
        places, counts = np.unique(
            self.labels[wrong] * classes + self.predicted[wrong], return_counts=True
        )
        images = np.bincount(self.labels, minlength=classes)
        order = np.argsort(-counts, kind="stable")[:most]
        return [
            {
                "class": self.class_names[place // classes],
                "taken_for": self.class_names[place % classes],
                "images": int(count),
                "share": int(count) / int(images[place // classes]),
            }
            for place, count in zip(places[order], counts[order], strict=True)
        ]

    def mapping(self) -> dict[str, Any]:
        """Plain values: what `autosd evaluate --json` gives."""
        return {
            "model_dir": str(self.folder),
            "data": self.data,
            "part": self.part,
            "split": self.split,
            "images": self.images,
            "metrics": self.metrics,
            "top1_interval": list(self.interval),
            "classes": self.classes(),
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "confused": self.confused(),
            "warnings": list(self.warnings),
            "recorded": None if self.recorded is None else str(self.recorded),
            "test_readings": self.readings,
        }


def evaluate(model: Model, chosen: Chosen, *, batch_size: int = 128) -> Evaluated:
    """Classify the chosen images; a reading of the study's test is recorded before it is made.

    Raises:
        AutosdError: images that cannot be read or are not of the model's shape.
    """
    data = chosen.data
    rows = data.rows(chosen.part)
    warnings = chosen.warnings()
    recorded, readings = _record(model, chosen, warnings) if chosen.reads_test else (None, None)
    labels = _in_order_of(model, data.source.class_names)[data.labels(rows)]
    truth = torch.from_numpy(labels).split(batch_size)
    batches = zip(_logits(model, chosen, rows, batch_size), truth, strict=True)
    found = joined([rows_of(logits, label) for logits, label in batches])
    return Evaluated(
        folder=model.folder,
        data=data.source.name,
        part=chosen.part,
        split=data.described(chosen.part),
        metrics=measure_rows(found, len(model.class_names)),
        class_names=model.class_names,
        labels=labels,
        predicted=found.predicted.numpy(),
        warnings=tuple(warnings),
        recorded=recorded,
        readings=readings,
    )


def _logits(
    model: Model, chosen: Chosen, rows: Integers, batch_size: int
) -> Iterator[torch.Tensor]:
    images = chosen.data.read(rows)
    channels, height, width = model.image_shape
    if images.shape[1:] != (height, width, channels):
        found = " x ".join(str(side) for side in images.shape[1:])
        raise AutosdError(
            f"{chosen.data.source.name}: has images of {found} (height, width, channels), the "
            f"model takes {height} x {width} x {channels}"
        )
    for start in range(0, len(images), batch_size):
        yield model.logits(np.asarray(images[start : start + batch_size]))


def _in_order_of(model: Model, names: tuple[str, ...]) -> Integers:
    """The model's label for each label of the data set."""
    if names == model.class_names:
        return np.arange(len(names))
    place = {name: label for label, name in enumerate(model.class_names)}
    return np.array([place[name] for name in names])


def _record(model: Model, chosen: Chosen, warnings: list[str]) -> tuple[Path | None, int | None]:
    """Note the reading of test where the model's own readings are kept."""
    who = f"evaluate {model.folder.name}"
    study = chosen.origin.study
    try:
        if study is not None:
            study.split.note_reading(who, now())
            return study.path / SPLIT_FILE, len(study.split.readings())
        note_reading(model.folder, who)
    except AutosdError as error:
        warnings.append(f"this reading of test is not on record: {error}")
        return None, None
    return model.folder / SPLIT_FILE, None


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (E. B. Wilson, J. of the American Statistical Association, 1927)."""
    share, weight = right / count, Z95**2 / count
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)
