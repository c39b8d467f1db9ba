"""Soft labels: the predictions of an ensemble that was trained before, read from a file.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", NeurIPS Deep Learning
Workshop 2014.

An ensemble predicts the training images once, without augmentation; the student learns from these
predictions and from the labels. This is ordinary distillation from a given teacher, not
self-distillation: no search draws it, `autosd ensemble --distill` uses it.

    t[i] = log of the ensemble's mean probabilities for image i
    L = (1 - weight) CE(z, y) + weight KL_T(t[i] || z)

The defaults are those with which Tian, Krishnan and Isola, "Contrastive Representation
Distillation", ICLR 2020, run this method on CIFAR-100 in their code: weight 0.9, temperature 4.

The teacher is fixed: it has seen each image as it is, the student sees crops and flips of it.
Beyer, Zhai, Royer, Markeeva, Anil and Kolesnikov, "Knowledge distillation: A good teacher is
patient and consistent", CVPR 2022, find that a teacher that sees the student's own view does better
in long trainings. That costs a pass of every member in every step; this costs nothing. Where pixels
are mixed the stored predictions are of no use, and mixing is refused. The members have also learnt
these images, so they are surer of them than of new ones; the temperature brings back what they
still tell apart.

Without a file there is no teacher, and training is plain. The table holds a row of K numbers for
each training image: single precision while it fits into 1 GiB, half precision up to 4 GiB, refused
above. It is no part of a checkpoint: it is read again from the file.
"""

from pathlib import Path
from typing import ClassVar

import safetensors.torch
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor

from autosd.data.batches import Batch
from autosd.errors import AutosdError
from autosd.located import located
from autosd.models.student import Activations, Student
from autosd.strategies.losses import kd
from autosd.strategies.memory import memory_dtype
from autosd.strategies.strategy import Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

ROWS, LABELS = "log_probabilities", "labels"


def table_bytes(log_probabilities: Tensor, labels: Tensor) -> bytes:
    """The file with what a teacher says of each training image.

    Args:
        log_probabilities: `[N, K]`, rows in the order of the training part.
        labels: `[N]`, by which a table of other images is noticed.
    """
    count, classes = log_probabilities.shape
    dtype = memory_dtype(count, classes, 1, "soft_labels")
    table = {ROWS: log_probabilities.to("cpu", dtype).contiguous(), LABELS: labels.cpu()}
    return safetensors.torch.save(table)


def read_table(path: Path, run: RunSpec) -> Tensor:
    """The log-probabilities `[N, K]` of a file, for the images of a run.

    Raises:
        AutosdError: it is missing, no such table, or of other images or classes.
    """
    where = f"soft_labels.file: {path}"
    if not path.is_file():
        raise AutosdError(f"{where}: no such file")
    try:
        table = safetensors.torch.load_file(path)
        rows, labels = table[ROWS], table[LABELS]
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise AutosdError(f"{where}: no table of soft labels ({error})") from None
    wanted = (run.count, run.classes)
    if tuple(rows.shape) != wanted:
        raise AutosdError(
            f"{where}: has rows and classes {list(rows.shape)}, this training has {list(wanted)}"
        )
    if not torch.equal(labels, run.labels.cpu()):
        raise AutosdError(f"{where}: is of other images than this training (labels differ)")
    dtype = memory_dtype(run.count, run.classes, 1, "soft_labels")
    return rows.to(run.device, dtype)


class SoftLabels(Strategy):
    """A table of an ensemble's predictions, `[N, K]`; no parameters, nothing at inference."""

    reference: ClassVar[str] = (
        "Hinton et al., Distilling the Knowledge in a Neural Network, "
        "NeurIPS Deep Learning Workshop 2014"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.TEACHER})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.MIXED_PIXELS: "the teacher has seen the picture unmixed",
    }
    searched: ClassVar[bool] = False

    class Knobs(Strategy.Knobs):
        file: str | None = Field(
            None, description="the ensemble's predictions of the training images; none: no teacher"
        )
        temperature: float = Field(
            4.0, gt=0, le=1000, description="softens teacher and student alike"
        )
        weight: float = Field(0.9, ge=0, le=1, description="the teacher's share of the loss")

    knobs: Knobs
    table: Tensor | None

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        used = knobs.file is not None and knobs.weight > 0
        table = read_table(located(run.root / str(knobs.file)), run) if used else None
        self.register_buffer("table", table, persistent=False)

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(weight=0)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if self.table is None:
            return {}
        knobs, logits = self.knobs, activations.logits
        taught = kd(self.table[batch.index], logits, knobs.temperature)
        supervised = targets.cross_entropy(logits).mean()
        return {"soft_labels/teacher": knobs.weight * (taught - supervised)}
