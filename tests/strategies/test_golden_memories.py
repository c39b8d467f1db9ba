"""PS-KD and IPASD, epoch by epoch, against golden values."""

import pytest
import torch

from autosd.strategies.ipasd import Ipasd, feature_share, similarities
from autosd.strategies.ps_kd import PsKd, ramp

from .golden import assert_close, assert_fingerprint, cases, rows, tensor
from .synthetic import TinyStudent, batch_of, clock, run_spec, take_step

FILE = "lightskd_ipasd_ps_kd.json"
PSKD = cases(FILE, "pskd")
IPASD = cases(FILE, "ipasd")


def ps_kd_for(labels, classes, knobs):
    run = run_spec(classes, labels, batch_size=len(labels), epochs=knobs["epochs_total"])
    return PsKd(PsKd.Knobs(final_mix=knobs["alpha_T"]), TinyStudent(), run)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in PSKD if "epochs" in case.values[0]["expected"]])
def test_ps_kd_epoch_by_epoch(case):
    inputs, knobs = case["inputs"], case["knobs"]
    strategy = ps_kd_for(inputs["labels"], inputs["K"], knobs)
    for epoch, expected in enumerate(case["expected"]["epochs"]):
        share = ramp(epoch, knobs["epochs_total"], knobs["alpha_T"])
        assert share == pytest.approx(expected["alpha"], rel=1e-11)
        for index, step in zip(inputs["batches_of_indices"], expected["steps"], strict=True):
            batch = batch_of([inputs["labels"][i] for i in index], index)
            logits = rows(inputs["logits"], index, inputs["K"], e=epoch)
            now = clock(epoch, epochs=knobs["epochs_total"])
            taken = take_step([strategy], batch, now, lambda _, z=logits: z.clone())
            assert_close(taken.total, step["loss"])
            assert_fingerprint(taken.logits.grad, step, "grad_")
        assert_close(strategy.memory[0], expected["mem_row0"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in PSKD if case.id == "pskd: unseen_in_epoch0"])
def test_ps_kd_memory_of_an_undrawn_image_is_its_label(case):
    strategy = ps_kd_for(case["inputs"]["labels"], case["inputs"]["K"], case["knobs"])
    batch = batch_of(case["inputs"]["labels"][:2], [0, 1])
    logits = rows(case["inputs"]["logits"], [0, 1], 4, e=0)
    take_step([strategy], batch, clock(epochs=2), lambda _: logits.clone())
    assert strategy.memory[2].tolist() == [0, 0, 1, 0]


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in PSKD if case.id == "pskd: unseen_then_drawn"])
def test_ps_kd_image_first_drawn_later_learns_its_label(case):
    inputs, expected = case["inputs"], case["expected"]
    strategy = ps_kd_for([0, 0, inputs["label"]], inputs["K"], case["knobs"])
    logits = rows(inputs["logits"], [inputs["index"]], inputs["K"], e=inputs["epoch"])
    now = clock(inputs["epoch"], epochs=case["knobs"]["epochs_total"])
    batch = batch_of([inputs["label"]], [inputs["index"]])
    taken = take_step([strategy], batch, now, lambda _: logits.clone())
    assert_close(taken.total, expected["loss"])
    assert_close((1 - expected["alpha"]) * taken.total, expected["loss_if_memory_were_zeros"])


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in PSKD if "uniform" in case.id])
def test_ps_kd_with_a_uniform_memory_is_label_smoothing(case):
    inputs, expected, labels = case["inputs"], case["expected"], case["inputs"]["labels"]
    knobs = {"alpha_T": case["knobs"]["alpha_t"], "epochs_total": 1}
    strategy = ps_kd_for(labels, inputs["K"], knobs)
    strategy.memory.fill_(1 / inputs["K"])
    logits = rows(inputs["logits"], range(inputs["N"]), inputs["K"], e=inputs["e"])
    taken = take_step([strategy], batch_of(labels), clock(epochs=1), lambda _: logits.clone())
    assert_close(taken.total, expected["loss"])
    reference = torch.nn.functional.cross_entropy(
        logits, torch.tensor(labels), label_smoothing=case["knobs"]["alpha_t"]
    )
    assert_close(reference, expected["label_smoothing_0_3"])


def ipasd_for(case):
    inputs, knobs = case["inputs"], case["knobs"]
    batches = inputs["batches_of_indices"]
    run = run_spec(inputs["K"], inputs["labels"], max(map(len, batches)), knobs["epochs_total"])
    student = TinyStudent(classes=inputs["K"], widths=(4, 6, inputs["D"]))
    own = Ipasd.Knobs(
        weight_div=knobs["weight_div"],
        ramp_end=knobs["ramp_end"],
        con_weight=knobs["con_weight"],
        con_temperature=knobs["con_temp"],
        blend=knobs["blend"],
    )
    return Ipasd(own, student, run), student


def assert_shares(strategy, labels, index, blend, expected):
    """Correct rows of both memories in a batch, and the weights that follow."""
    labels = torch.tensor([labels[i] for i in index])
    features, predictions = strategy.features[index], strategy.predictions[index]
    assert (features.argmax(1) == labels).sum() == expected["correct_feat"]
    assert (predictions.argmax(1) == labels).sum() == expected["correct_pred"]
    if blend == "adaptive":
        share = feature_share(features, predictions, labels)
        assert_close(share, expected["w_feat"])
        assert_close(1 - share, expected["w_pred"])


def contrast_gradient(taken, strategy, temperature):
    """Gradient of the unweighted pull alone, with respect to the embedding."""
    features = taken.embedding.detach().requires_grad_()
    scores = similarities(features, strategy.prototypes, temperature)
    torch.nn.functional.cross_entropy(scores, taken.targets.labels).backward()
    return features.grad


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("case", [case for case in IPASD if "epochs" in case.values[0]["expected"]])
def test_ipasd_epoch_by_epoch(case):
    inputs, knobs = case["inputs"], case["knobs"]
    strategy, student = ipasd_for(case)
    for epoch, expected in enumerate(case["expected"]["epochs"]):
        now = clock(epoch, epochs=knobs["epochs_total"])
        share = ramp(epoch, knobs["epochs_total"], knobs["weight_div"], knobs["ramp_end"])
        assert share == pytest.approx(expected["alpha"], rel=1e-11)
        for index, step in zip(inputs["batches_of_indices"], expected["steps"], strict=True):
            assert_shares(strategy, inputs["labels"], index, knobs["blend"], step)
            logits = rows(inputs["logits"], index, inputs["K"], e=epoch)
            features = rows(inputs["features"], index, inputs["D"], e=epoch)
            batch = batch_of([inputs["labels"][i] for i in index], index)
            taken = take_step(
                [strategy],
                batch,
                now,
                lambda _, z=logits: z.clone(),
                lambda _, f=features: f,
                student,
            )
            assert_close(taken.terms["supervised"], step["loss_target"])
            assert_fingerprint(taken.logits.grad, step, "grad_logits_")
            if knobs["con_weight"] > 0:
                pull = taken.terms.get("ipasd/contrast", torch.zeros(()))
                assert_close(pull, knobs["con_weight"] * step["loss_con"])
                assert_close(taken.total, step["total"])
            if "grad_feat_con_unweighted_g00" in step:
                unweighted = contrast_gradient(taken, strategy, knobs["con_temp"])
                assert_fingerprint(unweighted, step, "grad_feat_con_unweighted_")
                if knobs["con_weight"] > 0:
                    assert_close(taken.embedding.grad, knobs["con_weight"] * unweighted)
        strategy.end_epoch(student, now)
        assert_close(strategy.features[0], expected["feat_mem_row0"])
        assert_close(strategy.predictions[0], expected["pred_mem_row0"])
        assert_close(strategy.prototypes[0], expected["proto_row0"])
        assert_close(strategy.prototypes[-1], expected["proto_last_row"])


@pytest.mark.parametrize("case", [case for case in IPASD if case.id == "ipasd: alpha_schedule"])
def test_ipasd_ramp(case):
    knobs = case["knobs"]
    for epochs in (200, 12):
        for epoch, share in case["expected"][f"E{epochs}"].items():
            found = ramp(int(epoch), epochs, knobs["weight_div"], knobs["ramp_end"])
            assert found == pytest.approx(share, rel=1e-11)


@pytest.mark.parametrize("case", [case for case in IPASD if case.id == "ipasd: cosine_edges"])
def test_ipasd_cosines_of_zero_vectors_are_zero(case):
    inputs, expected, temperature = case["inputs"], case["expected"], case["knobs"]["tau"]
    features = torch.stack([tensor(inputs["f0"]), tensor(inputs["f1"])]).double()
    scores = similarities(features, tensor(inputs["p"]), temperature)
    assert_close(scores[0] * temperature, expected["cos_f0"])
    assert_close(scores[1] * temperature, expected["cos_f1"])
    assert_close(scores[1].softmax(0), expected["dist_f1"])
