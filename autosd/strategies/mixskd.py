"""MixSKD: self-knowledge distillation from mixup.

Yang, An, Zhou, Cai, Zhi, Wu, Xu and Zhang, "MixSKD: Self-Knowledge Distillation from Mixup for
Image Recognition", ECCV 2022.

Each batch holds its images and their mixtures. At every head, the prediction on a mixed image and
the mixture of predictions teach each other, and so do maps; an ensemble of all heads' last maps
teaches the final classifier.

    m_k, u_k = head k's logits on mixed images, and its logits on plain ones mixed alike
    e_m, e_u = the ensemble on mixed maps, and on plain maps mixed alike
    L = sum over k of (CE(z_k, y) + CE(m_k, q)) + CE(e_m, q) + CE(e_u, q)
        + KL_T(e_m || u_H) + KL_T(e_u || m_H)
        + sum over k < H of (KL_T(m_k || u_k) + KL_T(u_k || m_k))
        + feature_weight sum over k of mean (map of m_k - map of u_k)^2

Departures from the authors' code. Its classification of mixed images is computed but not added to
the loss, which leaves the ensemble a frozen random teacher: here it is added. Its discriminators
are not registered, never learn, and without gradient reversal would ask for separable features: off
by default here, and registered behind a gradient reversal where `adversarial_weight` asks for them.
Branches copy at most two blocks per stage. The ensemble pools before its 1x1 convolution, which is
the same, both being linear. Only the student's own classifier is ever evaluated. The supervised
mean over both halves holds half of the final head's loss; `mixskd/final` is the other half.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.data.batches import Batch, Mix
from autosd.models.pooling import keep_layout, pool
from autosd.models.student import Activations, Student
from autosd.strategies.branches import Branch, last_taps, stand_in_note
from autosd.strategies.costs import survey
from autosd.strategies.losses import full, kd
from autosd.strategies.mixing import blend, blend_rows, host_generator, mix_of, permutation
from autosd.strategies.passes import on_device, same_precision
from autosd.strategies.strategy import Cost, Effect, RunSpec, Slot, Strategy, Targets
from autosd.streams import Clock

HIDDEN = 128


def mixture_distillation(
    blended: Sequence[Tensor],
    mixed: Sequence[Tensor],
    ensembles: tuple[Tensor, Tensor],
    temperature: float,
) -> Tensor:
    """KL between predictions on mixtures and mixtures of predictions, teachers constant.

    Args:
        blended: logits on plain images, mixed like the images, `[n, K]` per head, final head last.
        mixed: logits on mixed images, likewise.
        ensembles: of blended and of mixed maps; they teach the final head only.
        temperature: softens both sides.
    """
    pulls = [kd(ensembles[1], blended[-1], temperature), kd(ensembles[0], mixed[-1], temperature)]
    for of_blended, of_mixed in zip(blended[:-1], mixed[:-1], strict=True):
        pulls += [kd(of_mixed, of_blended, temperature), kd(of_blended, of_mixed, temperature)]
    return torch.stack(pulls).sum()


def telling_apart(blended: Tensor, mixed: Tensor) -> Tensor:
    """Loss of a discriminator's outputs `[n, 2]` on blended maps (class 0) and mixed (class 1)."""
    kinds = torch.eye(2, dtype=blended.dtype, device=blended.device)
    wanted = kinds.repeat_interleave(len(blended), dim=0)
    return F.binary_cross_entropy_with_logits(torch.cat([blended, mixed]), wanted)


class Reversal(torch.autograd.Function):
    """The identity; its gradient changes sign."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class Ensemble(nn.Module):
    """A linear classifier on the pooled last maps of all heads, through their common width."""

    def __init__(self, heads: int, channels: int, classes: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(heads * channels, channels, bias=False)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, *features: Tensor) -> Tensor:
        """Logits `[n, K]` of features `[n, C]`, one for each head."""
        logits: Tensor = self.classifier(self.reduce(torch.cat(features, dim=1)))
        return logits


class Views(NamedTuple):
    """One quantity of each head, the final head last: of blended plain images and of mixed ones."""

    blended: list[Tensor]
    mixed: list[Tensor]


class Mixskd(Strategy):
    """A branch after each stage but the last, and the ensemble; no other state."""

    reference: ClassVar[str] = (
        "Yang et al., MixSKD: Self-Knowledge Distillation from Mixup for Image Recognition, "
        "ECCV 2022"
    )
    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.COMPOSE, Slot.MIX, Slot.HEADS})
    effects: ClassVar[frozenset[Effect]] = frozenset({Effect.EXTRA_ROWS, Effect.MIXED_PIXELS})
    refuses: ClassVar[dict[Effect, str]] = {
        Effect.SAME_CLASS_ROWS: "a mixed image has two classes, so no partner shares its class",
    }

    class Knobs(Strategy.Knobs):
        alpha: float = Field(
            0.4, gt=0, le=100, description="the ratio is drawn from Beta(alpha, alpha)"
        )
        temperature: float = Field(3.0, gt=0, le=1000, description="softens both sides of each KL")
        feature_weight: float = Field(
            1.0, ge=0, le=100, description="weight of the squared distance of maps"
        )
        adversarial_weight: float = Field(
            0.0, ge=0, le=100, description="weight of discriminators that maps should deceive"
        )

    knobs: Knobs

    def __init__(self, knobs: Knobs, student: Student, run: RunSpec) -> None:
        super().__init__(knobs, student, run)
        spec = student.spec
        channels, count = spec.stages[-1].channels, len(spec.stages)
        self.taps = last_taps(student, count - 1)
        branches = nn.ModuleList(Branch(student, tap) for tap in self.taps)
        self.branches = on_device(branches, run.device)
        self.ensemble = Ensemble(count, channels, run.classes).to(run.device)
        judges = count if knobs.adversarial_weight > 0 else 0
        self.judges = nn.ModuleList(_judge(channels) for _ in range(judges)).to(run.device)
        self.classes = run.classes
        self.share = self._share(student)

    @classmethod
    def notes(cls, knobs: Knobs, student: Student) -> list[str]:
        return stand_in_note("mixskd", student)

    def cost(self) -> Cost:
        return Cost(2.0 * (1.0 + self.share), 2.0 * (1.0 + self.share))

    def prepare(self, batch: Batch, clock: Clock) -> Batch:
        lam = float(host_generator(clock, "mixskd.ratio").beta(self.knobs.alpha, self.knobs.alpha))
        perm = permutation(batch, clock, "mixskd.order")
        rows = torch.arange(batch.fresh, device=perm.device)
        labels, index = batch.labels[rows], batch.index[rows]
        batch = batch.append(blend(batch.images, perm, lam), labels, index, 0, rows)
        return replace(batch, mix=mix_of(torch.cat([rows, batch.fresh + perm]), lam))

    def targets(self, targets: Targets, batch: Batch, clock: Clock) -> Targets:
        if batch.mix is None:
            return targets
        return targets.softened(blend_rows(targets.dense(self.classes), batch.mix))

    def losses(
        self,
        activations: Activations,
        targets: Targets,
        batch: Batch,
        student: Student,
        clock: Clock,
    ) -> dict[str, Tensor]:
        if batch.mix is None:
            return {}
        logits, maps = self._heads(activations)
        own = Mix(batch.mix.perm[batch.fresh :] - batch.fresh, batch.mix.lam)
        features = _views([full(pool(last)) for last in maps], own)
        ensembles = self.ensemble(*features.blended), self.ensemble(*features.mixed)
        predictions, temperature = _views(logits, own), self.knobs.temperature
        compared = _views([full(keep_layout(last)) for last in maps], own)
        return {
            **self._supervised(logits, ensembles, targets, batch.fresh),
            "mixskd/mutual": mixture_distillation(*predictions, ensembles, temperature),
            **self._feature_terms(features, compared),
        }

    def _supervised(
        self,
        logits: list[Tensor],
        ensembles: tuple[Tensor, Tensor],
        targets: Targets,
        fresh: int,
    ) -> dict[str, Tensor]:
        """What heads learn from labels and their mixtures, and the ensemble from the latter."""
        *shallow, final = [targets.cross_entropy(head).mean() for head in logits]
        mixtures = targets.rows(slice(fresh, None))
        graded = [mixtures.cross_entropy(ensemble).mean() for ensemble in ensembles]
        terms = {"mixskd/final": final, "mixskd/ensemble": _sum(graded)}
        if shallow:
            terms["mixskd/heads"] = 2.0 * _sum(shallow)
        return terms

    def _heads(self, activations: Activations) -> tuple[list[Tensor], list[Tensor]]:
        """Logits `[2n, K]` and last maps `[2n, C, H, W]` of all heads, the final one last."""
        taps = activations.taps
        with same_precision(activations):
            pairs = [
                branch(taps[tap]) for tap, branch in zip(self.taps, self.branches, strict=True)
            ]
        pairs.append((activations.logits, taps[-1]))
        return [logits for logits, _ in pairs], [last for _, last in pairs]

    def _feature_terms(self, features: Views, maps: Views) -> dict[str, Tensor]:
        knobs, terms = self.knobs, {}
        if knobs.feature_weight > 0:
            distances = [F.mse_loss(*pair) for pair in zip(*maps, strict=True)]
            terms["mixskd/features"] = knobs.feature_weight * _sum(distances)
        if knobs.adversarial_weight > 0:
            judged = [
                telling_apart(judge(_reversed(blended)), judge(_reversed(mixed)))
                for judge, blended, mixed in zip(self.judges, *features, strict=True)
            ]
            terms["mixskd/adversarial"] = knobs.adversarial_weight * _sum(judged)
        return terms

    def _share(self, student: Student) -> float:
        """Operations of branches and ensemble on one image, against the student's."""
        dry = survey(student)
        pooled = [pool(dry.activations.taps[-1])] * (len(self.taps) + 1)
        branches = (
            dry.share(branch, dry.activations.taps[tap])
            for tap, branch in zip(self.taps, self.branches, strict=True)
        )
        return sum(branches, dry.share(self.ensemble, *pooled))


def _judge(channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, 2))


def _reversed(features: Tensor) -> Tensor:
    turned: Tensor = Reversal.apply(features)
    return turned


def _views(heads: Sequence[Tensor], own: Mix) -> Views:
    """Split what heads say of `[2n, ...]` rows and mix the plain half."""
    pairs = [head.split(len(own.perm)) for head in heads]
    return Views([blend_rows(plain, own) for plain, _ in pairs], [mixed for _, mixed in pairs])


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
