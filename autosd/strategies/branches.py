"""Branches after intermediate stages: copies of the later stages with a classifier of their own."""

from typing import Literal

from torch import Tensor, nn

from autosd.models.pooling import pool
from autosd.models.student import Student

BranchDepth = Literal["full", "light"]
FULL_BLOCKS = 2


class Branch(nn.Module):
    """The stages after a tap once more, global pooling and a linear classifier.

    Args:
        student: gives blocks, widths and strides; weights are fresh and not shared.
        tap: 0-based stage whose map goes in.
        depth: at most two blocks per copied stage, or one.
    """

    def __init__(self, student: Student, tap: int, depth: BranchDepth = "full") -> None:
        super().__init__()
        most = FULL_BLOCKS if depth == "full" else 1
        blocks = [min(most, count) for count in student.blocks_per_stage()[tap + 1 :]]
        self.stages = student.branch(tap, blocks)
        self.classifier = nn.Linear(student.spec.stages[-1].channels, student.spec.classes)

    def forward(self, tap: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, K]` and the last map of the branch."""
        last: Tensor = self.stages(tap)
        logits: Tensor = self.classifier(pool(last))
        return logits, last


def last_taps(student: Student, count: int) -> list[int]:
    """The `count` stages before the final one, 0-based, the deepest first."""
    final = len(student.spec.stages) - 1
    return [final - 1 - k for k in range(count)]


def too_many_taps(name: str, count: int, student: Student) -> list[str]:
    """A fault where a strategy wants more branches than there are stages before the final one."""
    most = len(student.spec.stages) - 1
    if count <= most:
        return []
    return [
        f"{name}.num_taps: {student.spec.name} has {most + 1} stages, so at most {most}, "
        f"not {count}"
    ]


def stand_in_note(name: str, student: Student) -> list[str]:
    """A note where branches are no copies of the student's stages."""
    if student.spec.copies_stages:
        return []
    return [
        f"{name}: {student.spec.name} has no blocks to copy; its branches are light "
        "depthwise-separable stages"
    ]
