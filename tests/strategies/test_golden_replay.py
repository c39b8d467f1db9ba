"""DLB and TOAST, step by step, against golden values."""

import pytest
import torch

from autosd.strategies.dlb import Dlb
from autosd.strategies.medoids import ClassPools, medoid_index
from autosd.strategies.toast import Toast, least_trained, medoid_targets, replay_count

from .golden import assert_close, assert_gradient, cases, tensor
from .synthetic import CPU, TinyStudent, batch_of, clock, run_spec, take_step

FILE = "masd_rskd_toast_dlb.json"
TOAST = cases(FILE, "toast")
STEPS = [case for case in TOAST if "steps" in case.values[0]["inputs"]]
MEDOIDS = [case for case in TOAST if "pool" in case.values[0]["inputs"]]


def with_replay(fresh, pool, chosen):
    """Logits of a step: fresh rows, then those of the replayed ones."""
    return lambda batch: (
        torch.cat([fresh, pool[chosen]]) if len(batch.labels) > len(fresh) else fresh.clone()
    )


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", cases(FILE, "dlb"))
def test_dlb_step_by_step(case):
    steps, knobs = case["inputs"]["steps"], case["knobs"]
    run = run_spec(5, steps[0]["labels"], batch_size=len(steps[0]["labels"]))
    own = Dlb.Knobs(kd_weight=knobs["alpha"], temperature=knobs["T"])
    strategy = Dlb(own, TinyStudent(), run)
    for number, (step, expected) in enumerate(zip(steps, case["expected"]["steps"], strict=True)):
        fresh = tensor(step["current"])
        replay = fresh[:0] if step["replay"] is None else tensor(step["replay"])
        logits = with_replay(fresh, replay, slice(None))
        taken = take_step([strategy], batch_of(step["labels"]), clock(step=number), logits)
        assert_close(taken.terms["supervised"], expected["loss_ce"])
        assert_close(taken.total, expected["total"])
        replayed = taken.terms.get("dlb/replay", torch.zeros(()))
        assert_close(replayed, knobs["alpha"] * expected["loss_kd"])
        if "grad_current_00" in expected:
            assert_gradient(taken.logits.grad[0, 0], expected["grad_current_00"])
        if "grad_replay_00" in expected:
            assert_gradient(taken.logits.grad[len(fresh), 0], expected["grad_replay_00"])


def toast_for(case, classes=5):
    inputs, knobs = case["inputs"], case["knobs"]
    size = len(inputs["steps"][0]["labels"])
    own = Toast.Knobs(
        medoid_mix=knobs["medoid_mix"],
        kd_weight=knobs["alpha"],
        temperature=knobs["T"],
        replay_fraction=knobs["replay_fraction"],
    )
    strategy = Toast(own, TinyStudent(), run_spec(classes, inputs["steps"][0]["labels"], size))
    if inputs["medoids"] is not None:
        strategy.medoids.copy_(tensor(inputs["medoids"]))
        strategy.present.fill_(True)
    return strategy


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", STEPS)
def test_toast_step_by_step(case):
    strategy = toast_for(case)
    if "class 1 has no medoid" in case["case"]:
        strategy.present[1] = False
    epoch = 0 if case["inputs"]["medoids"] is None else 1
    chosen = []
    steps = zip(case["inputs"]["steps"], case["expected"]["steps"], strict=True)
    for number, (step, expected) in enumerate(steps):
        fresh = tensor(step["current"])
        pool = fresh[:0] if step["replay_pool"] is None else tensor(step["replay_pool"])
        logits = with_replay(fresh, pool, chosen)
        taken = take_step([strategy], batch_of(step["labels"]), clock(epoch, number), logits)
        assert_close(taken.terms["supervised"], expected["loss_soft"])
        replayed = taken.terms.get("toast/replay", torch.zeros(()))
        assert_close(replayed, case["knobs"]["alpha"] * expected["loss_kd"])
        assert_close(taken.total, expected["total"])
        losses = torch.nn.functional.cross_entropy(
            fresh, torch.tensor(step["labels"]), reduction="none"
        )
        assert_close(losses, expected["sample_losses"])
        if "grad_current_00" in expected:
            assert_gradient(taken.logits.grad[0, 0], expected["grad_current_00"])
        if "grad_replay_00" in expected:
            assert_gradient(taken.logits.grad[len(fresh), 0], expected["grad_replay_00"])
        chosen = strategy.carry.index[: strategy.carry.rows].tolist()
        assert chosen == expected["selected_for_next"]


@pytest.mark.parametrize("case", [case for case in MEDOIDS if "empty" not in case.id])
def test_medoid_of_a_pool(case):
    pool, expected = tensor(case["inputs"]["pool"]).double(), case["expected"]
    index = medoid_index(pool, torch.ones(len(pool), dtype=torch.bool))
    assert index == expected["index"]
    assert_close((pool - pool[index]).norm(dim=1).sum(), expected["sum_distance"])
    assert_close(pool[index], expected["medoid"])


@pytest.mark.parametrize("case", [case for case in MEDOIDS if "empty" in case.id])
def test_class_without_rows_has_no_medoid(case):
    assert case["expected"] == {"index": -1, "sum_distance": None, "medoid": None}
    assert case["inputs"]["pool"] == []
    pools = ClassPools(2, 3, CPU)
    pools.add(torch.tensor([[0.0, 1.0]]), torch.tensor([1]), torch.tensor([True]))
    _, present = pools.medoids()
    assert present.tolist() == [False, True]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in TOAST if "pool M=2" in case.id])
@pytest.mark.parametrize("batch_size", [9, 4, 1])
def test_pool_keeps_the_last_correct_rows_of_each_class(case, batch_size):
    stream, labels = tensor(case["inputs"]["stream"]), torch.tensor(case["inputs"]["labels"])
    pools = ClassPools(4, case["knobs"]["medoid_pool"], CPU)
    for logits, own in zip(stream.split(batch_size), labels.split(batch_size), strict=True):
        pools.add(logits, own, logits.argmax(1) == own)
    medoids, present = pools.medoids()
    sizes = pools.counts.clamp(max=case["knobs"]["medoid_pool"])
    for c in range(4):
        expected = case["expected"][f"class{c}"]
        assert sizes[c] == expected["size"]
        assert present[c]
        assert_close(medoids[c], expected["medoid"])


@pytest.mark.parametrize("case", [case for case in TOAST if "replay count" in case.id])
def test_replay_count(case):
    found = [replay_count(n, rho) for n, rho in case["inputs"]["n_rho"]]
    assert found == case["expected"]["k"]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in TOAST if "single class" in case.id])
def test_toast_with_a_single_class(case):
    logits, knobs = tensor(case["inputs"]["current"]), case["knobs"]
    medoids = tensor([case["inputs"]["medoids"]["0"]] * 2)
    rows = torch.ones(2, 1)
    present = torch.ones(2, dtype=torch.bool)
    soft = medoid_targets(rows, medoids, present, knobs["medoid_mix"], knobs["T"])
    loss = torch.nn.functional.cross_entropy(logits, soft)
    assert_close(loss, case["expected"]["loss_soft"])
    assert_close(loss, case["expected"]["total"])


def test_ties_of_the_least_trained_go_to_the_first():
    logits, labels = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])
    assert least_trained(logits, labels, 2).tolist() == [0, 1]
