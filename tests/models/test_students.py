"""What every student promises, whatever family it is of."""

import copy
import functools

import pytest
import torch
from torch.nn import functional as F

from autosd.errors import AutosdError
from autosd.models.build import FAMILIES, build_student
from autosd.models.pooling import pool
from autosd.recipe import ModelSpec

NHWC = torch.channels_last
CLASSES = 5
OWN = [*FAMILIES, "wrn-16-2"]
SMALL_TIMM = ["mobilenetv3_small_050", "timm/lcnet_050"]
LARGE_TIMM = [
    "timm/resnet18",
    "efficientnet_b0",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "densenet121",
    "regnety_002",
    "mobilenetv2_050",
    "ghostnet_050",
    "xcit_nano_12_p8_224",
    "swin_tiny_patch4_window7_224",
    "vgg11_bn",
    "repvgg_a0",
    "deit_tiny_distilled_patch16_224",
    "mixer_s32_224",
    "levit_128s",
]
ATTENTION = ("vit", "swin", "xcit", "deit", "mixer")
ALL = [*OWN, *SMALL_TIMM, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_TIMM)]
every_student = pytest.mark.parametrize("name", ALL)


def side(name):
    if name in OWN:
        return 16
    return 48 if name in SMALL_TIMM else 64


def build(name, channels=3, seed=0, classes=CLASSES, size=None):
    size = size or side(name)
    return build_student(ModelSpec(name=name), classes, (channels, size, size), seed)


@functools.cache
def shared(name):
    """A student that no test may change, in evaluation mode and channels_last."""
    return build(name).to(memory_format=NHWC).eval()


def images(count, channels, size, dtype=torch.float32):
    values = torch.randn(
        count, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype
    )
    return values.contiguous(memory_format=NHWC)


def images_for(name, count=2):
    return images(count, 3, side(name))


@every_student
def test_a_step_gives_a_finite_loss_and_every_parameter_a_gradient(name):
    student = build(name, channels=1).to(memory_format=NHWC)
    logits = student(images(4, 1, side(name)))
    loss = F.cross_entropy(logits, torch.arange(4) % CLASSES)
    loss.backward()
    assert torch.isfinite(loss)
    without = [key for key, value in student.named_parameters() if value.grad is None]
    assert without == []


@every_student
def test_taps_and_embedding_are_as_the_spec_says(name):
    student = shared(name)
    spec, size = student.spec, side(name)
    logits, taps, embedding = student.activations(images_for(name))[:3]
    expected = [
        (2, stage.channels, -(-size // stage.reduction), -(-size // stage.reduction))
        for stage in spec.stages
    ]
    assert [tuple(tap.shape) for tap in taps] == expected
    assert embedding.shape == (2, spec.embedding)
    assert logits.shape == (2, spec.classes)
    assert (spec.name, spec.classes, spec.image_shape) == (name, CLASSES, (3, size, size))
    assert len(student.blocks_per_stage()) == len(taps)


@every_student
def test_logits_are_the_classifier_of_the_embedding(name):
    student = shared(name)
    logits, _, embedding = student.activations(images_for(name))[:3]
    torch.testing.assert_close(student.classifier(embedding), logits, rtol=0, atol=0)


@every_student
def test_calling_a_student_gives_the_logits_of_its_activations(name):
    student = shared(name)
    with torch.no_grad():
        logits = student(images_for(name))
    expected = student.activations(images_for(name)).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=0)


@every_student
def test_the_last_map_gives_logits_only_where_the_embedding_is_its_pool(name):
    student = shared(name)
    logits, taps, embedding = student.activations(images_for(name))[:3]
    pooled = pool(taps[-1])
    if student.spec.pooled_last_tap:
        tolerance = {"rtol": 0, "atol": 1e-5 * logits.abs().max().item()}
        torch.testing.assert_close(pooled, embedding, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(pool(student.last_map_logits(taps[-1])), logits, **tolerance)
        return
    assert pooled.shape != embedding.shape or not torch.allclose(pooled, embedding)
    with pytest.raises(AutosdError, match=r"no logits per position"):
        student.last_map_logits(taps[-1])


@every_student
def test_branches_end_in_the_shape_of_the_last_tap(name):
    student = shared(name)
    taps = student.activations(images_for(name)).taps
    for position, tap in enumerate(taps):
        remaining = student.blocks_per_stage()[position + 1 :]
        for blocks in {tuple(min(2, count) for count in remaining), (1,) * len(remaining)}:
            branch = student.branch(position, blocks).to(memory_format=NHWC)
            assert branch(tap).shape == taps[-1].shape


@every_student
def test_gradients_stay_channels_last_at_every_tap(name):
    if any(word in name for word in ATTENTION):
        pytest.skip("tokens have no layout of maps")
    student = build(name).to(memory_format=NHWC)
    logits, taps, _ = student.activations(images_for(name, 4))[:3]
    arrived = {}
    for position, tap in enumerate(taps):
        tap.register_hook(lambda gradient, position=position: arrived.update({position: gradient}))
    (logits.square().sum() + sum(pool(tap).square().sum() for tap in taps)).backward()
    assert len(arrived) == len(taps)
    for position, tap in enumerate(taps):
        assert tap.is_contiguous(memory_format=NHWC)
        assert arrived[position].is_contiguous(memory_format=NHWC)


@every_student
def test_double_precision_and_bf16_autocast_agree_with_float32(name):
    student = build(name).eval()
    batch = images_for(name)
    with torch.no_grad():
        expected = student(batch)
        with torch.autocast("cpu", torch.bfloat16):
            half = student(batch)
        double = student.double()(batch.double())
    scale = expected.abs().max().item()
    torch.testing.assert_close(double.float(), expected, rtol=0, atol=1e-3 * scale)
    assert torch.isfinite(half).all()
    torch.testing.assert_close(half.float(), expected, rtol=0, atol=0.2 * scale)


@every_student
def test_the_seed_decides_the_weights_and_the_global_stream_is_untouched(name):
    before = torch.get_rng_state()
    first, again, other = build(name, seed=3), build(name, seed=3), build(name, seed=4)
    assert torch.equal(before, torch.get_rng_state())
    for key, value in first.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert list(first.state_dict()) == list(other.state_dict())


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv2", "mobilenetv3_small_050"])
def test_a_deep_copy_is_the_same_classifier(name):
    student, batch = shared(name), images_for(name)
    twin = copy.deepcopy(student)
    torch.testing.assert_close(twin(batch), student(batch), rtol=0, atol=0)
    assert twin.spec == student.spec


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("size", [1, 7, 8])
def test_our_families_take_the_smallest_images(name, size):
    student = build(name, size=size).eval()
    taps = student.activations(images(1, 3, size)).taps
    for tap, stage in zip(taps, student.spec.stages, strict=True):
        assert tap.shape[2] == -(-size // stage.reduction)


@pytest.mark.parametrize("name", ["resnet8", "wrn-16-2", "mobilenetv2", "vgg8", "lcnet_050"])
def test_a_branch_has_weights_of_its_own(name):
    student = shared(name)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    remaining = student.blocks_per_stage()[1:]
    first, second = student.branch(0, remaining), student.branch(0, remaining)
    owned = {id(parameter) for parameter in student.parameters()}
    assert not owned & {id(parameter) for parameter in first.parameters()}
    one, two = next(first.parameters()), next(second.parameters())
    assert one.shape == two.shape
    assert list(before) == list(student.state_dict())


def test_a_full_branch_of_our_families_is_the_rest_of_the_student():
    for name in OWN:
        student = shared(name)
        branch = student.branch(0, student.blocks_per_stage()[1:])
        ours = [tuple(value.shape) for value in branch.parameters()]
        assert ours == [tuple(value.shape) for value in student.stages[1:].parameters()]


@pytest.mark.parametrize(
    ("tap", "blocks", "reason"),
    [
        (3, (), "no tap 3"),
        (-1, (1, 1, 1), "no tap -1"),
        (0, (1,), "2 positive"),
        (1, (0,), "1 pos"),
    ],
)
def test_an_impossible_branch_is_refused(tap, blocks, reason):
    with pytest.raises(AutosdError, match=reason):
        shared("resnet8").branch(tap, blocks)


def test_a_branch_of_a_foreign_backbone_is_checked_too():
    with pytest.raises(AutosdError, match="no tap 4; there are 0 to 3"):
        shared("mobilenetv3_small_050").branch(4, ())


def test_a_densenet_branch_has_one_dense_block_per_stage():
    with pytest.raises(AutosdError, match="one dense block"):
        shared("densenet40").branch(1, (2,))


def test_the_names_of_the_weights_of_a_resnet8_do_not_change():
    stage = ["conv1.weight", "norm1", "conv2.weight", "norm2"]
    projection = ["shortcut.0.weight", "shortcut.1"]
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    layers = ["stem.0.weight", "stem.1", *(f"stages.0.0.{layer}" for layer in stage)]
    for index in (1, 2):
        layers += [f"stages.{index}.0.{layer}" for layer in stage + projection]
    expected = []
    for layer in layers:
        expected += [layer] if layer.endswith("weight") else [f"{layer}.{part}" for part in norm]
    assert list(build("resnet8").state_dict()) == [*expected, "head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet8", 0.078),
        ("resnet20", 0.272),
        ("resnet110", 1.730),
        ("resnet18", 11.172),
        ("resnet50", 23.513),
        ("preact_resnet18", 11.169),
        ("wrn-16-2", 0.691),
        ("wrn-40-2", 2.243),
        ("densenet40", 1.017),
        ("vgg8", 3.915),
        ("mobilenetv2", 2.230),
        ("shufflenetv2", 1.259),
    ],
)
def test_the_families_have_their_published_size(name, millions):
    counted = sum(value.numel() for value in build(name).parameters()) / 1e6
    assert counted == pytest.approx(millions, rel=3e-3, abs=1e-3)
