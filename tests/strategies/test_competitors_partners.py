"""CS-KD, DDGSD, BAKE and patch swap: golden values, and who is drawn as a partner."""

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autosd.models.student import Activations
from autosd.strategies.bake import Bake, affinity, ensembled
from autosd.strategies.cs_kd import CsKd
from autosd.strategies.ddgsd import Ddgsd, mean_discrepancy
from autosd.strategies.losses import mutual_kd
from autosd.strategies.patch_swap import PatchSwap, pixel_mask, random_cells, swap
from autosd.strategies.same_class import SameClass
from autosd.strategies.strategy import Targets

from .golden import assert_close, assert_fingerprint, cases, tensor
from .synthetic import TinyStudent, Told, batch_of, clock, run_spec, take_step

FILE = "controls_and_competitors.json"


def telling(logits):
    """A student whose further passes give these logits."""
    return Told(logits.shape[1], Activations(logits, (), torch.zeros(len(logits), 1)))


def built(strategy, labels, classes, **knobs):
    spec = run_spec(classes, labels, len(labels))
    return strategy(strategy.Knobs(**knobs), TinyStudent(classes), spec)


# CS-KD


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "cskd"))
def test_cs_kd(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    anchors, labels = tensor(inputs["anchor_logits"]), inputs["labels"]
    partners = tensor(inputs["partner_logits"]).requires_grad_()

    def step(weight):
        strategy = built(CsKd, labels, anchors.shape[1], kd_weight=weight, temperature=knobs["T"])
        student = telling(partners)
        logits = lambda batch: anchors.clone()  # noqa: E731
        return take_step([strategy], batch_of(labels), clock(), logits, student=student)

    assert_close(step(1.0).terms["cs_kd/partner"], expected["kl"])
    taken = step(knobs["lambda"])
    assert_close(taken.terms["supervised"], expected["ce"])
    assert_close(taken.total, expected["total"])
    assert_fingerprint(taken.logits.grad, expected, "grad_anchor_")
    assert partners.grad is None
    assert expected["grad_partner"] == 0


def test_partners_of_cs_kd_move_running_statistics_and_get_no_gradient():
    labels, student = [0, 1, 0, 1, 0], TinyStudent(2)
    strategy = built(CsKd, labels, 2)
    norm = student.stages[0][1]
    logits = lambda batch: torch.ones(5, 2)  # noqa: E731
    taken = take_step([strategy], batch_of(labels), clock(), logits, student=student)
    assert norm.num_batches_tracked == 1
    assert all(parameter.grad is None for parameter in student.parameters())
    assert taken.terms["cs_kd/partner"] > 0


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "nkd"))
def test_nkd_may_stand_in_for_the_kl_of_cs_kd(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits = tensor(inputs["student_logits"]).requires_grad_()
    chosen = {"temperature": knobs["T"], "nontarget_weight": knobs["gamma"]}
    strategy = built(
        CsKd, inputs["labels"], logits.shape[1], divergence="nkd", kd_weight=2.0, **chosen
    )
    student = telling(tensor(inputs["teacher_logits"]))
    activations = Activations(logits, (), torch.zeros(len(logits), 1))
    batch, targets = batch_of(inputs["labels"]), Targets(torch.tensor(inputs["labels"]))
    (term,) = strategy.losses(activations, targets, batch, student, clock()).values()
    assert_close(term, 2 * expected["nkd"])
    (0.5 * term).backward()
    assert_fingerprint(logits.grad, expected, "grad_student_")


# DDGSD


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "ddgsd"))
def test_ddgsd(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits = torch.cat([tensor(inputs["logits_view1"]), tensor(inputs["logits_view2"])])
    features = torch.cat([tensor(inputs["feat_view1"]), tensor(inputs["feat_view2"])])
    labels, rows = inputs["labels"], len(inputs["labels"])
    first, second = mutual_kd(*logits.split(rows), knobs["T"])
    assert_close(first, expected["kl_2_to_1"])
    assert_close(second, expected["kl_1_to_2"])
    assert_close(mean_discrepancy(*features.split(rows)), expected["mmd"])
    strategy = built(
        Ddgsd,
        labels,
        logits.shape[1],
        kd_weight=knobs["lambda"],
        feature_weight=knobs["mu"],
        temperature=knobs["T"],
    )
    taken = take_step(
        [strategy], batch_of(labels), clock(), lambda _: logits.clone(), lambda _: features
    )
    supervised = taken.targets.cross_entropy(logits).split(rows)
    assert_close(supervised[0].mean(), expected["ce_1"])
    assert_close(supervised[1].mean(), expected["ce_2"])
    assert_close(taken.total, expected["total"])
    for view, gradient in enumerate(taken.logits.grad.split(rows), start=1):
        assert_fingerprint(gradient, expected, f"grad_logits{view}_")
    if knobs["mu"] > 0:
        assert_fingerprint(taken.embedding.grad.split(rows)[0], expected, "grad_feat1_")


def test_views_of_ddgsd_are_the_same_images():
    batch = built(Ddgsd, [0, 1, 2], 3).prepare(batch_of([2, 0, 1], index=[1, 2, 0]), clock())
    assert batch.index.tolist() == [1, 2, 0, 1, 2, 0]
    assert batch.labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert batch.view.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.source.tolist() == [0, 1, 2, 0, 1, 2]


# BAKE


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "bake"))
def test_bake(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits, features = tensor(inputs["logits"]), tensor(inputs["features"])
    labels, propagation = inputs["labels"], knobs["omega"]
    assert_close(affinity(features)[0], expected["affinity_row0"])
    own = torch.softmax(logits / knobs["T"], dim=1)
    assert_close(ensembled(features, own, propagation)[0], expected["target_row0"])

    def step(weight):
        chosen = {"propagation": propagation, "temperature": knobs["T"], "kd_weight": weight}
        strategy = built(Bake, labels, logits.shape[1], companions=0, **chosen)
        return take_step(
            [strategy], batch_of(labels), clock(), lambda _: logits.clone(), lambda _: features
        )

    assert_close(step(1.0).terms["bake/ensemble"], expected["kl"])
    taken = step(knobs["lambda"])
    assert_close(taken.terms["supervised"], expected["ce"])
    assert_close(taken.total, expected["total"])
    assert_fingerprint(taken.logits.grad, expected, "grad_logits_")
    assert taken.embedding.grad is None
    assert expected["grad_features"] == 0


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 12), propagation=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_ensembled_targets_are_distributions(rows, propagation, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    own = torch.randn(rows, 5, generator=generator, dtype=torch.float64).softmax(1)
    targets = ensembled(features, own, propagation)
    assert (targets >= 0).all()
    assert_close(targets.sum(1), [1.0] * rows)
    neighbours = affinity(features)
    if rows > 1:
        assert_close(neighbours.sum(1), [1.0] * rows)
        wanted = propagation * neighbours @ targets + (1 - propagation) * own
        torch.testing.assert_close(targets, wanted, rtol=1e-7, atol=1e-9)
    if propagation == 0:
        assert_close(targets, own)


def test_targets_of_bake_survive_single_precision_and_sure_logits():
    features = torch.ones(64, 8)
    own = torch.eye(10)[torch.arange(64) % 10]
    targets = ensembled(features, own, 0.95)
    assert targets.isfinite().all()
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(64), rtol=1e-4, atol=1e-4)


def test_bake_brings_companions_of_the_class_beside_every_anchor():
    labels = [0, 0, 0, 0, 1, 1, 2]
    strategy = built(Bake, labels, 3, companions=2)
    batch = strategy.prepare(batch_of([1, 0, 2], index=[4, 2, 6]), clock())
    assert batch.fresh == 3
    assert batch.source[3:].tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.labels.tolist() == [labels[place] for place in batch.index]
    assert batch.index[3:5].tolist() == [5, 5], "a class of two repeats its other image"
    assert len({*batch.index[5:7].tolist(), 2}) == 3, "a class of four gives different ones"
    assert batch.index[7:].tolist() == [6, 6], "a class of one gives the image itself"


# Partners


def drawn(labels, index, count, step=0):
    partners = SameClass(run_spec(max(labels) + 1, labels, len(index)))
    return partners.draw(torch.tensor(index), count, clock(step=step).generator("test"))


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=30), count=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_partners_share_the_class_and_are_others_and_differ(labels, count):
    sizes = Counter(labels)
    for place, row in enumerate(drawn(labels, list(range(len(labels))), count).tolist()):
        assert {labels[partner] for partner in row} == {labels[place]}
        others = sizes[labels[place]] - 1
        if others >= 1:
            assert place not in row
        else:
            assert row == [place] * count
        if others >= count:
            assert len(set(row)) == count


def test_partners_are_uniform_over_the_others():
    labels = [0, 1, 0, 0, 1, 0]
    rows = [tuple(sorted(drawn(labels, [2], 2, step)[0].tolist())) for step in range(600)]
    counts = Counter(rows)
    assert set(counts) == set(itertools.combinations([0, 3, 5], 2))
    assert all(count == pytest.approx(200, abs=50) for count in counts.values())


def test_partners_follow_from_seed_and_step():
    labels = [0, 1] * 20
    assert torch.equal(drawn(labels, [0, 1, 2], 2), drawn(labels, [0, 1, 2], 2))
    assert not torch.equal(drawn(labels, [0, 1, 2], 2), drawn(labels, [0, 1, 2], 2, step=1))


# Patch swap


@pytest.mark.parametrize("case", cases(FILE, "patch_swap_image"))
def test_patch_swap_of_images(case):
    inputs, patch = case["inputs"], case["knobs"]["patch"]
    first, second = tensor(inputs["image_a"])[None], tensor(inputs["image_b"])[None]
    height, width = first.shape[2:]
    cells = torch.zeros(1, (height // patch) * (width // patch), dtype=torch.bool)
    cells[0, inputs["selected_cells_row_major"]] = True
    mask = pixel_mask(cells, patch, height, width)
    out = swap(first, second, mask)
    assert_close(out[0][0], case["expected"]["out_a"])
    assert_close(out[1][0], case["expected"]["out_b"])
    back = swap(*out, mask)
    assert torch.equal(back[0], first)
    assert torch.equal(back[1], second)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "patch_swap_loss"))
def test_patch_swap(case):
    inputs, knobs, expected = case["inputs"], case["knobs"], case["expected"]
    logits = torch.cat([tensor(inputs["logits_a"]), tensor(inputs["logits_b"])])
    labels, rows = inputs["labels"], len(inputs["labels"])
    pulls = mutual_kd(*logits.split(rows), knobs["T"], knobs["detach"])
    assert_close(pulls[0], expected["kl_b_to_a"])
    assert_close(pulls[1], expected["kl_a_to_b"])
    chosen = {"kd_weight": knobs["lambda"], "temperature": knobs["T"]}
    strategy = built(PatchSwap, labels, logits.shape[1], detach_targets=knobs["detach"], **chosen)
    taken = take_step([strategy], batch_of(labels), clock(), lambda _: logits.clone())
    supervised = taken.targets.cross_entropy(logits).split(rows)
    assert_close(supervised[0].mean(), expected["ce_a"])
    assert_close(supervised[1].mean(), expected["ce_b"])
    assert_close(taken.total, expected["total"])
    for name, gradient in zip("ab", taken.logits.grad.split(rows), strict=True):
        assert_fingerprint(gradient, expected, f"grad_logits_{name}_")


def pictures(index, view):
    """A picture for each position and view, all pixels different."""
    base = torch.arange(81.0).view(1, 1, 9, 9) + 100 * view
    return base + 1000 * index[:, None, None, None]


def test_patch_swap_conserves_the_pixels_of_a_pair():
    labels = [0, 0, 1, 1, 1]
    batch = batch_of(labels, side=9)
    batch = type(batch)(**{**vars(batch), "images": pictures(batch.index, 0), "draw": pictures})
    before = batch.images.clone()
    strategy = built(PatchSwap, labels, 2, patch=4, prob=1.0)
    swapped = strategy.prepare(batch, clock())
    assert torch.equal(batch.images, before)
    partner = pictures(swapped.index[5:], 1)
    for row in range(5):
        pair = torch.cat([swapped.images[row], swapped.images[5 + row]]).flatten()
        given = torch.cat([before[row], partner[row]]).flatten()
        assert torch.equal(pair.sort().values, given.sort().values)
        changed = (swapped.images[row] != before[row])[0]
        assert 0 < changed[:8, :8].sum() < 64, "some cells, never all"
        assert not changed[8:].any(), "strips beyond the grid stay"
    assert swapped.labels.tolist() == labels * 2
    assert [labels[place] for place in swapped.index[5:]] == labels


def test_cells_are_swapped_with_the_asked_probability_and_number():
    generator = torch.Generator().manual_seed(0)
    cells = random_cells(6000, 4, 0.25, generator)
    counts = Counter(cells.sum(1).tolist())
    assert counts[0] == pytest.approx(4500, abs=150)
    assert [counts[k] for k in (1, 2, 3)] == pytest.approx([500] * 3, abs=100)
    assert counts[4] == 0
    assert cells.float().mean(0).tolist() == pytest.approx([0.125] * 4, abs=0.02)


def test_a_cell_is_at_most_half_the_image():
    student = TinyStudent(side=8)
    knobs = PatchSwap.Knobs(patch=16)
    assert PatchSwap(knobs, student, run_spec(3, [0, 1], 2)).patch == 4
    assert "4 is used" in PatchSwap.notes(knobs, student)[0]


def test_partner_losses_do_not_depend_on_the_order_of_pairs_and_on_shifts():
    first, second = (torch.randn(4, 5, dtype=torch.float64) for _ in range(2))
    order, shift = [2, 0, 3, 1], torch.tensor([[3.0], [-7.0], [0.5], [100.0]]).double()
    found = sum(mutual_kd(first, second, 3.0))
    assert_close(sum(mutual_kd(first[order], second[order], 3.0)), found)
    assert_close(sum(mutual_kd(first + shift, second - shift, 3.0)), found)
    features = torch.randn(4, 3, dtype=torch.float64)
    targets = ensembled(features, first.softmax(1), 0.5)
    assert_close(ensembled(features[order], first[order].softmax(1), 0.5), targets[order])


def test_supervised_mean_covers_companions():
    labels = [0, 0, 1, 1]
    strategy = built(Bake, labels, 2, companions=1, kd_weight=0)
    logits = torch.randn(8, 2)
    taken = take_step([strategy], batch_of(labels), clock(), lambda _: logits.clone())
    rows = Targets(torch.tensor([*labels, *labels])).cross_entropy(logits)
    torch.testing.assert_close(taken.total.detach(), rows.mean())
