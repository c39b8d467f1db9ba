"""DKS: deeply-supervised knowledge synergy.

Sun, Yao, Zhou and Chen, "Deeply-supervised Knowledge Synergy", CVPR 2019.

Branches, copies of the remaining stages, grow after intermediate stages. All heads learn from the
targets, and each is pulled to every other, which is a constant as a teacher. At inference only the
student is left.

    L = sum over heads i of CE(z_i, y) + kd_weight sum over pairs i != j of KL_T(z_j || z_i)

Departures from the authors' code: the KL is exact (theirs smooths both sides by 1e-8), with a
temperature (theirs is 1, the default here; 4 is usual where DKS is compared with MASD); branches
are those of MASD without its masks, where the authors double the width of one for WRN-28-10. A
batch of one row trains without branches: it has no statistics.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.models.student import Activations, Student
from autosd.strategies.branches import (
    Branch,
    BranchDepth,
    last_taps,
    stand_in_note,
    too_many_taps,
)
from autosd.strategies.costs import survey
from autosd.strategies.losses import kd
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.strategy import Cost, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock


def synergy(heads: Sequence[Tensor], temperature: float) -> Tensor:
    """Sum over all ordered pairs of the KL of one head's logits `[B, K]` from another's."""
    pulls = [kd(teacher, head, temperature) for teacher, head in permutations(heads, 2)]
    return torch.stack(pulls).sum()


class Dks(Strategy):
    """One branch for each of the last `num_taps` stages before the final one."""

    reference: ClassVar[str] = "Sun et al., Deeply-supervised Knowledge Synergy, CVPR 2019"
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEADS})

    class Knobs(Strategy.Knobs):
        kd_weight: float = Field(1.0, ge=0, le=100, description="weight of each head's each KL")
        temperature: float = Field(1.0, gt=0, le=1000, description="softens both sides of the KL")
        num_taps: int = Field(
            2, ge=0, description="branches, after the last stages before the final one"
        )
        branch_depth: BranchDepth = Field(
            "full", description="blocks per copied stage: at most two, or one"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        self.taps = last_taps(student, knobs.num_taps)
        branches = nn.ModuleList(Branch(student, tap, knobs.branch_depth) for tap in self.taps)
        self.branches = on_device(branches, run.device)
        dry = survey(student)
        self.share = sum(
            dry.share(branch, dry.activations.taps[tap])
            for tap, branch in zip(self.taps, self.branches, strict=True)
        )

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs(num_taps=0)

    @classmethod
    def check(cls, knobs: Knobs, student: Student) -> list[str]:
        return too_many_taps("dks", knobs.num_taps, student)

    @classmethod
    def notes(cls, knobs: Knobs, student: Student) -> list[str]:
        return stand_in_note("dks", student) if knobs.num_taps > 0 else []

    def cost(self) -> Cost:
        return Cost(1.0 + self.share, 1.0 + self.share)

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if not self.taps or len(batch.labels) == 1:
            return {}
        with same_precision(activations):
            heads = [
                branch(activations.taps[tap])[0]
                for tap, branch in zip(self.taps, self.branches, strict=True)
            ]
        supervised = [targets.cross_entropy(head).mean() for head in heads]
        terms = {"dks/branches": torch.stack(supervised).sum()}
        if self.knobs.kd_weight > 0:
            mutual = synergy([activations.logits, *heads], self.knobs.temperature)
            terms["dks/mutual"] = self.knobs.kd_weight * mutual
        return terms
