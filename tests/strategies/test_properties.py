"""What must hold for any logits: of the KL, of MASD's weights, of DSR, of medoids, of targets."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autosd.strategies.dsr import shape_divergence
from autosd.strategies.ipasd import blended, feature_share, similarities
from autosd.strategies.label_smoothing import smooth
from autosd.strategies.losses import kd
from autosd.strategies.masd import mutual_loss, teacher_weights, visible
from autosd.strategies.medoids import medoid_index
from autosd.strategies.rskd import residual_error
from autosd.strategies.toast import least_trained, medoid_targets, replay_count

settings.register_profile("strategies", deadline=None, max_examples=50)
settings.load_profile("strategies")

temperatures = st.floats(0.5, 20)
shares = st.floats(0, 1)
seeds = st.integers(0, 2**31)


@st.composite
def logits(draw: st.DrawFn, heads: int | None = None, rows: int | None = None) -> Tensor:
    """`[B, K]` or `[heads, B, K]` in double precision, up to large values."""
    count = rows or draw(st.integers(1, 5))
    classes, scale = draw(st.integers(2, 6)), draw(st.sampled_from([0.1, 3.0, 100.0]))
    shape = (count, classes) if heads is None else (heads, count, classes)
    source = torch.Generator().manual_seed(draw(seeds))
    return scale * torch.randn(shape, generator=source, dtype=torch.float64)


def close(first: Tensor, second: Tensor, rtol: float = 1e-9, atol: float = 1e-9) -> None:
    torch.testing.assert_close(first, second, rtol=rtol, atol=atol)


@given(logits(), temperatures)
def test_kl_to_itself_is_exactly_zero(z, temperature):
    assert kd(z, z, temperature) == 0
    assert kd(z.float(), z.float(), temperature) == 0


@given(logits(heads=2), temperatures)
def test_kl_is_never_negative(pair, temperature):
    assert kd(pair[0], pair[1], temperature) >= -1e-9


@given(logits(heads=2), temperatures, st.floats(-50, 50))
def test_kl_does_not_see_a_shift_of_a_row(pair, temperature, shift):
    close(kd(pair[0] + shift, pair[1] - shift, temperature), kd(*pair, temperature))


@given(logits(heads=2), temperatures)
def test_kl_gradient_is_that_of_the_formula_and_misses_the_teacher(pair, temperature):
    teacher, student = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    kd(teacher, student, temperature).backward()
    gap = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
    close(student.grad, temperature / len(student) * gap.detach())
    close(student.grad.sum(1), torch.zeros(len(student), dtype=torch.float64))
    assert teacher.grad is None


@given(st.integers(2, 5), seeds, st.floats(0.05, 20))
def test_masd_weights_sum_to_one_and_favour_the_better_teacher(heads, seed, tau):
    source = torch.Generator().manual_seed(seed)
    losses = 5 * torch.rand(heads, 3, generator=source, dtype=torch.float64)
    weights = teacher_weights(losses, tau)
    close(weights.sum(1), torch.ones(heads, 3, dtype=torch.float64))
    assert ((weights >= 0) & (weights <= 1 / max(1, heads - 2) + 1e-12)).all()
    for head in range(heads):
        assert (weights[head, head] == 0).all()
        others = [k for k in range(heads) if k != head]
        for better in others:
            for worse in others:
                if losses[better, 0] < losses[worse, 0]:
                    assert weights[head, better, 0] >= weights[head, worse, 0]


@given(logits(heads=3), st.permutations(range(3)), temperatures)
def test_masd_does_not_see_the_order_of_heads(heads, order, temperature):
    losses = heads.logsumexp(2) - heads[..., 0]
    first = mutual_loss(heads, losses, 1.5, temperature, 1.0)
    close(mutual_loss(heads[order], losses[order], 1.5, temperature, 1.0), first)


@given(logits(), temperatures)
def test_masd_heads_that_agree_teach_nothing(z, temperature):
    heads = z.expand(3, -1, -1)
    losses = heads.logsumexp(2) - heads[..., 0]
    assert mutual_loss(heads, losses, 1.5, temperature, 1.0) == 0


def test_masd_mask_keeps_the_asked_share():
    kept = visible(torch.rand(100_000, generator=torch.Generator().manual_seed(0)), 0.3)
    deviation = (0.3 * 0.7 / 100_000) ** 0.5
    assert abs(kept.double().mean() - 0.7) < 5 * deviation


@given(logits(), temperatures, seeds, st.floats(-5, 5))
def test_dsr_does_not_see_which_class_is_where(z, temperature, seed, shift):
    source = torch.Generator().manual_seed(seed)
    permuted = torch.stack([row[torch.randperm(len(row), generator=source)] for row in z])
    previous = z.sort(dim=1).values
    assert shape_divergence(previous, permuted + shift, temperature).abs() < 1e-9


@given(logits(heads=2), temperatures)
def test_dsr_leaves_no_gradient_in_the_previous_batch(pair, temperature):
    previous, z = pair[0].clone().requires_grad_(), pair[1].clone().requires_grad_()
    shape_divergence(previous.sort(dim=1).values, z, temperature).backward()
    assert previous.grad is None
    assert z.grad is not None


@given(logits(), st.floats(-20, 20))
def test_medoid_is_a_row_and_does_not_see_a_common_shift(points, shift):
    everyone = torch.ones(len(points), dtype=torch.bool)
    index = medoid_index(points, everyone)
    assert 0 <= index < len(points)
    sums = (points[:, None] - points[None]).norm(dim=2).sum(1)
    assert sums[index] <= sums.min() * (1 + 1e-9)
    moved = medoid_index(points + shift, everyone)
    assert sums[moved] <= sums.min() * (1 + 1e-6) + 1e-9


@given(logits(rows=5), st.permutations(range(5)))
def test_medoid_does_not_see_the_order_of_arrival(points, order):
    everyone = torch.ones(5, dtype=torch.bool)
    first, second = points[medoid_index(points, everyone)], points[order]
    close(first, second[medoid_index(second, everyone)])


@given(logits(rows=4), shares, temperatures)
def test_targets_are_distributions(z, share, temperature):
    rows = torch.nn.functional.one_hot(z.argmax(1), z.shape[1]).double()
    present = torch.tensor([True, False, True, False])
    ones = torch.ones(4, dtype=torch.float64)
    soft = medoid_targets(rows, z, present, share, temperature)
    close(soft.sum(1), ones)
    close(smooth(rows, share).sum(1), ones)
    assert torch.equal(soft[~present], rows[~present])


@given(logits(heads=2), st.sampled_from(["adaptive", "prediction", "feature"]))
def test_ipasd_blend_is_a_distribution(pair, blend):
    features, predictions = pair.softmax(2)
    labels = torch.zeros(len(features), dtype=torch.int64)
    assert 0 <= feature_share(features, predictions, labels) <= 1
    mixed = blended(features, predictions, labels, blend)
    close(mixed.sum(1), torch.ones(len(mixed), dtype=torch.float64))


@given(logits(), st.floats(0.01, 100))
def test_ipasd_does_not_see_the_length_of_an_embedding(features, length):
    prototypes = torch.eye(features.shape[1], dtype=torch.float64)
    close(similarities(features * length, prototypes, 0.3), similarities(features, prototypes, 0.3))


@given(logits())
def test_rskd_residual_of_equals_is_zero(z):
    assert residual_error(torch.zeros_like(z), z, z) == 0


@given(st.integers(1, 300), shares)
def test_replay_count_lies_within_the_batch(fresh, fraction):
    count = replay_count(fresh, fraction)
    assert (count == 0) if fraction == 0 else (1 <= count <= fresh)


@given(logits(rows=5), st.integers(1, 5))
def test_least_trained_have_the_largest_loss(z, count):
    labels = torch.arange(5) % z.shape[1]
    losses = torch.nn.functional.cross_entropy(z, labels, reduction="none")
    chosen = least_trained(z, labels, count).tolist()
    assert chosen == sorted(set(chosen))
    rest = [i for i in range(5) if i not in chosen]
    assert all(losses[i] >= losses[j] for i in chosen for j in rest)
