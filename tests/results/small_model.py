"""Exported students made in a moment: not trained, but with running statistics of some images."""

from pathlib import Path

import torch

from autosd.models.build import build_student
from autosd.recipe import ModelSpec
from autosd.training.export import export_student

DIGITS = tuple("0123456789")


def write_student(
    folder: Path,
    *,
    shape: tuple[int, int, int] = (1, 8, 8),
    names: tuple[str, ...] = DIGITS,
    network: str = "resnet8",
    seed: int = 0,
    **details: object,
) -> Path:
    """Export a student to `folder`; `details` stand in its `model.json`."""
    student = build_student(ModelSpec(name=network), len(names), shape, seed=seed)
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _ in range(5):
            student(torch.randn(16, *shape, generator=stream))
    export_student(
        folder,
        student.eval(),
        model=network,
        class_names=names,
        mean=(0.3,) * shape[0],
        std=(0.35,) * shape[0],
        details=details,
    )
    return folder
