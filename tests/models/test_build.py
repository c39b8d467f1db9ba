import random
import subprocess
import sys

import numpy
import pytest
import torch

from autosd.errors import AutosdError
from autosd.models.build import build_student, check_model, model_names
from autosd.recipe import ModelSpec

IMAGE = (3, 16, 16)


def check(name, pretrained=False):
    check_model(ModelSpec(name=name, pretrained=pretrained))


def test_every_listed_name_is_known():
    for name in model_names():
        check(name)
    assert {"resnet8", "preact_resnet18", "densenet40", "shufflenetv2"} <= set(model_names())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet21", r"no model named 'resnet21'; there are: resnet8, .*path/to/file.py:Class"),
        ("resnett20", r"Did you mean 'resnet20'\?"),
        ("mobilenetv3_smal_050", r"Did you mean 'mobilenetv3_small_050'\?"),
        ("timm/resnet81", r"no timm backbone named 'resnet81'"),
        ("timm/", r"no timm backbone named ''"),
        ("resnet26.bt_in1j", r"no weights named 'bt_in1j'.*bt_in1k"),
        ("wrn-16", r"wrn-d-k with d = 10"),
        ("wrn-15-2", r"wrn-d-k with d = 10"),
        ("wrn-4-2", r"wrn-d-k with d = 10"),
        ("wrn-16-0", r"k from 1 to 100"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_allowed(name, reason):
    with pytest.raises(AutosdError, match=reason) as caught:
        check(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(AutosdError, match=reason):
        build_student(ModelSpec(name=name), 10, IMAGE, 0)


@pytest.mark.parametrize("name", ["resnet20", "wrn-16-2"])
def test_our_families_have_no_pretrained_weights(name):
    with pytest.raises(AutosdError, match=r"no pretrained weights.*timm/resnet18"):
        check(name, pretrained=True)


def test_timm_names_are_known_with_prefix_and_tag():
    for name in ("mobilenetv3_small_050", "timm/resnet18", "resnet26.bt_in1k"):
        check(name)
        check(name, pretrained=True)


def test_ours_shadow_timm_and_the_prefix_reaches_it():
    ours = build_student(ModelSpec(name="resnet18"), 4, IMAGE, 0)
    theirs = build_student(ModelSpec(name="timm/resnet18"), 4, IMAGE, 0)
    assert (ours.spec.copies_stages, theirs.spec.copies_stages) == (True, False)


@pytest.mark.parametrize(("name", "blocks"), [("wrn-10-1", (1, 1, 1)), ("wrn-22-3", (3, 3, 3))])
def test_a_wrn_has_any_valid_depth_and_width(name, blocks):
    student = build_student(ModelSpec(name=name), 4, IMAGE, 0)
    width = int(name.rpartition("-")[2])
    assert student.blocks_per_stage() == blocks
    assert [stage.channels for stage in student.spec.stages] == [n * width for n in (16, 32, 64)]


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv3_small_050"])
def test_no_random_state_of_the_process_decides_or_moves(name):
    states = []
    for other in (1, 2):
        torch.manual_seed(other)
        random.seed(other)
        numpy.random.seed(other)
        before = (torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].copy())
        states.append(build_student(ModelSpec(name=name), 4, IMAGE, 7).state_dict())
        assert torch.equal(before[0], torch.get_rng_state())
        assert before[1] == random.getstate()
        assert (before[2] == numpy.random.get_state()[1]).all()
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key])


def test_a_student_is_built_in_training_mode():
    for name in ("resnet8", "mobilenetv3_small_050"):
        student = build_student(ModelSpec(name=name), 4, IMAGE, 0)
        assert all(layer.training for layer in student.modules())


def test_our_families_do_not_import_timm():
    code = (
        "import sys; from autosd.models.build import build_student; "
        "from autosd.recipe import ModelSpec; "
        "build_student(ModelSpec(name='resnet8'), 4, (3, 8, 8), 0); "
        "sys.exit('timm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
