"""Slow references in loops, written from the formulas, against the tensor code."""

import math

import pytest
import torch
from torch import Tensor

from autosd.strategies.dsr import shape_divergence
from autosd.strategies.ipasd import similarities
from autosd.strategies.losses import kd, refine
from autosd.strategies.masd import mutual_loss
from autosd.strategies.medoids import ClassPools
from autosd.strategies.ps_kd import ramp
from autosd.strategies.rskd import residual_loss
from autosd.strategies.strategy import Targets
from autosd.strategies.toast import medoid_targets

from .synthetic import CPU

SEEDS = range(5)


def random(*shape: int, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=source, dtype=torch.float64)


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    powers = [math.exp((value - top) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def row_kl(teacher: list[float], student: list[float], temperature: float) -> float:
    t, s = softmax(teacher, temperature), softmax(student, temperature)
    return temperature**2 * sum(p * (math.log(p) - math.log(q)) for p, q in zip(t, s, strict=True))


def row_ce(row: list[float], label: int) -> float:
    return -math.log(softmax(row)[label])


def near(found: Tensor, expected: float) -> bool:
    return found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_kl(seed):
    teacher, student = random(2, 4, 5, seed=seed)
    rows = zip(teacher.tolist(), student.tolist(), strict=True)
    assert near(kd(teacher, student, 3.0), sum(row_kl(t, s, 3.0) for t, s in rows) / 4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("heads", [2, 3, 4])
def test_masd(seed, heads):
    z = random(heads, 3, 5, seed=seed)
    labels, temperature, tau, weight = [1, 4, 0], 4.0, 0.7, 1.5
    losses = torch.stack([Targets(torch.tensor(labels)).cross_entropy(head) for head in z])
    others = heads - 1
    expected = 0.0
    for n, label in enumerate(labels):
        ce = [row_ce(z[k, n].tolist(), label) for k in range(heads)]
        for i in range(heads):
            teachers = [k for k in range(heads) if k != i]
            portions = softmax([ce[k] for k in teachers], tau)
            for k, portion in zip(teachers, portions, strict=True):
                a = 1.0 if others == 1 else (1 - portion) / (others - 1)
                expected += a * row_kl(z[k, n].tolist(), z[i, n].tolist(), temperature)
    expected *= weight / (len(labels) * others)
    assert near(mutual_loss(z, losses, weight, temperature, tau), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_rskd(seed):
    shapes = [(3, 5), (3, 2, 2, 2)]
    heads, teachers, students = (
        [random(*shape, seed=10 * seed + k) for shape in shapes] for k in range(3)
    )
    expected = 0.0
    for g, t, s in zip(heads, teachers, students, strict=True):
        squares = [
            (a - (b - c)) ** 2
            for a, b, c in zip(
                g.flatten().tolist(), t.flatten().tolist(), s.flatten().tolist(), strict=True
            )
        ]
        expected += sum(squares) / len(squares) / len(shapes)
    assert near(residual_loss(heads, teachers, students), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_dsr(seed):
    previous, z = random(2, 4, 5, seed=seed)
    previous, z = previous.sort(dim=1).values, z[:3]
    rows = zip(previous.tolist(), z.tolist(), strict=False)
    expected = sum(row_kl(before, sorted(row), 4.0) for before, row in rows) / 3
    assert near(shape_divergence(previous, z, 4.0), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_ps_kd_target(seed):
    z, past = random(2, 3, 4, seed=seed)
    labels, epoch, epochs = [2, 0, 3], 4, 10
    share = 0.8 * 5 / 10
    expected = 0.0
    for row, memory, label in zip(z.tolist(), past.tolist(), labels, strict=True):
        target = [share * p + (1 - share) * (c == label) for c, p in enumerate(softmax(memory))]
        log_p = [math.log(p) for p in softmax(row)]
        expected -= sum(t * p for t, p in zip(target, log_p, strict=True)) / 3
    targets = Targets(torch.tensor(labels))
    soft = refine(targets.dense(4).double(), past.softmax(1), ramp(epoch, epochs, 0.8))
    assert near(targets.softened(soft).cross_entropy(z).mean(), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_ipasd_similarities(seed):
    features, prototypes = random(3, 4, seed=seed), random(5, 4, seed=seed + 100)
    found = similarities(features, prototypes, 0.3)
    for i, f in enumerate(features.tolist()):
        for c, p in enumerate(prototypes.tolist()):
            dot = sum(a * b for a, b in zip(f, p, strict=True))
            assert near(found[i, c], dot / (math.hypot(*f) * math.hypot(*p)) / 0.3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 3, 40])
def test_toast_pools_and_medoids(seed, size, batch):
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(40, 3, generator=source, dtype=torch.float64)
    labels = torch.randint(0, 3, (40,), generator=source)
    pools = ClassPools(3, size, CPU).double()
    for rows, own in zip(z.split(batch), labels.split(batch), strict=True):
        pools.add(rows, own, rows.argmax(1) == own)
    medoids, present = pools.medoids()
    for c in range(3):
        pool = [r for r, y in zip(z.tolist(), labels.tolist(), strict=True) if y == c]
        pool = [row for row in pool if max(row) == row[c]][-size:]
        assert present[c].item() == bool(pool)
        if pool:
            sums = [sum(math.dist(row, other) for other in pool) for row in pool]
            assert medoids[c].tolist() == pool[sums.index(min(sums))]


@pytest.mark.parametrize("seed", SEEDS)
def test_toast_target(seed):
    medoids, labels = random(3, 4, seed=seed), [1, 0, 3]
    present = torch.tensor([True, False, True])
    soft = medoid_targets(
        Targets(torch.tensor(labels)).dense(4).double(), medoids, present, 0.2, 3.0
    )
    for i, label in enumerate(labels):
        share = 0.2 if present[i] else 0.0
        medoid = softmax(medoids[i].tolist(), 3.0)
        for c in range(4):
            assert near(soft[i, c], (1 - share) * (c == label) + share * medoid[c])
