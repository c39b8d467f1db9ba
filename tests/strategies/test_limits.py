"""Methods that become one another at the ends of their knobs, in real training."""

import pytest
import torch

from autosd.strategies.masd import mutual_loss

from .conformance import assert_same_state, recipe_for, trained
from .golden import cases, tensor


def student_of(name, knobs, **changes):
    return trained(recipe_for(name, knobs, **changes)).student.state_dict()


def test_toast_without_medoids_and_with_full_replay_is_dlb():
    toast = trained(recipe_for("toast", {"medoid_mix": 0, "replay_fraction": 1}))
    dlb = trained(recipe_for("dlb"))
    assert_same_state(toast.student.state_dict(), dlb.student.state_dict())
    for ours, theirs in zip(toast.history, dlb.history, strict=True):
        assert ours["terms"]["supervised"] == theirs["terms"]["supervised"]
        assert ours["terms"]["toast/replay"] == theirs["terms"]["dlb/replay"]


def test_ipasd_with_predictions_only_is_ps_kd():
    knobs = {"blend": "prediction", "con_weight": 0, "ramp_end": 1, "weight_div": 0.7}
    assert_same_state(student_of("ipasd", knobs), student_of("ps_kd", {"final_mix": 0.7}))


def test_rskd_without_residual_layers_distils_its_snapshot_alone():
    plain = trained(recipe_for("rskd", {"residual_layers": 0}))
    weightless = trained(recipe_for("rskd", {"residual_weight": 0}))
    assert_same_state(plain.student.state_dict(), weightless.student.state_dict())
    assert set(plain.history[-1]["terms"]) == {"supervised", "rskd/kd"}


@pytest.mark.parametrize(
    "case", [c for c in cases("masd_rskd_toast_dlb.json", "masd") if "base" in c.id]
)
def test_masd_with_equal_weights_and_constant_teachers_is_dks(case):
    heads = torch.stack([tensor(z) for z in case["inputs"]["logits"].values()])
    losses = torch.zeros(3, 4, dtype=torch.float64)
    found = mutual_loss(heads, losses, 1.5, 4.0, float("inf"), detach_targets=True)
    assert found.item() == pytest.approx(3.75939211666, rel=1e-9)
