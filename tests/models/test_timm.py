import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.models.gentle import gentle_patch, soften_stem
from autosd.models.light import MapShape, light_branch
from autosd.recipe import ModelSpec

SMALL = "mobilenetv3_small_050"


def build(name, size, channels=3, pretrained=False):
    spec = ModelSpec(name=name, pretrained=pretrained)
    return build_student(spec, 4, (channels, size, size), 0)


@pytest.mark.parametrize(
    ("name", "size", "channels", "reductions"),
    [
        (SMALL, 48, (8, 16, 24, 288), (2, 4, 8, 16)),
        (SMALL, 96, (8, 16, 24, 288), (4, 8, 16, 32)),
        ("timm/resnet18", 32, (64, 128, 256, 512), (1, 2, 4, 8)),
        ("timm/resnet18", 96, (64, 128, 256, 512), (4, 8, 16, 32)),
        ("convnext_atto", 32, (40, 80, 160, 320), (2, 4, 8, 16)),
        ("vit_tiny_patch16_224", 32, (192,) * 4, (4,) * 4),
        ("vit_tiny_patch16_224", 96, (192,) * 4, (16,) * 4),
    ],
)
def test_small_images_get_a_gentle_stem_and_large_ones_the_original(
    name, size, channels, reductions
):
    stages = build(name, size).spec.stages
    assert tuple(stage.channels for stage in stages) == channels
    assert tuple(stage.reduction for stage in stages) == reductions


def test_a_stem_of_seven_by_seven_becomes_its_centre_and_the_max_pool_goes():
    net = timm.create_model("resnet18", num_classes=0, in_chans=1)
    original = net.conv1.weight.detach().clone()
    soften_stem(net, 1)
    assert (net.conv1.kernel_size, net.conv1.stride, net.conv1.padding) == ((3, 3), (1, 1), (1, 1))
    assert torch.equal(net.conv1.weight, original[:, :, 2:5, 2:5])
    assert isinstance(net.maxpool, nn.Identity)
    assert net.training


def test_patches_of_a_convnext_become_half_as_wide_averages():
    net = timm.create_model("convnext_atto", num_classes=0)
    original = net.stem[0].weight.detach().clone()
    soften_stem(net, 3)
    assert (net.stem[0].kernel_size, net.stem[0].stride) == ((2, 2), (2, 2))
    expected = original.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    torch.testing.assert_close(net.stem[0].weight, expected)


def test_parallel_convolutions_of_the_image_are_softened_together():
    assert build("repvgg_a0", 32).spec.stages[0].reduction == 2


def test_a_stem_without_stride_is_left_as_it_is():
    net = timm.create_model("cspdarknet53", num_classes=0)
    before = {name: value.shape for name, value in net.state_dict().items()}
    soften_stem(net, 3)
    assert {name: value.shape for name, value in net.state_dict().items()} == before


@pytest.mark.parametrize(
    ("patch", "side", "expected"),
    [
        (16, 64, 8),
        (16, 48, 6),
        (16, 32, 4),
        (16, 28, 4),
        (16, 8, 1),
        (4, 64, 2),
        (4, 28, 2),
        (14, 56, 8),
    ],
)
def test_patches_divide_the_side_and_leave_seven_or_more(patch, side, expected):
    assert gentle_patch(patch, (3, side, side)) == expected


def test_an_image_the_backbone_cannot_take_is_refused_with_its_size():
    with pytest.raises(AutosdError, match=r"model convnext_atto cannot take images of 3 x 8 x 8"):
        build("convnext_atto", 8)
    with pytest.raises(AutosdError, match=r"model efficientformer_l1 .* 3 x 64 x 64"):
        build("efficientformer_l1", 64)


def test_taps_of_a_vit_stand_at_the_quarters_of_its_depth():
    assert build("vit_tiny_patch16_224", 32).indices == [2, 5, 8, 11]


def test_a_light_branch_reaches_sides_that_no_stride_gives():
    shapes = [MapShape(4, 7, 9), MapShape(6, 3, 4), MapShape(5, 2, 2), MapShape(8, 2, 2)]
    branch = light_branch(shapes, (1, 2, 1))
    assert branch(torch.randn(2, 4, 7, 9)).shape == (2, 8, 2, 2)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub and no hub behind it; returns the folder of the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


def cache_weights(folder, name):
    """Put weights for timm's `name` where the hub's client looks for them."""
    repository = timm.get_pretrained_cfg(name).hf_hub_id.replace("/", "--")
    snapshot = folder / f"models--{repository}" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    reference = snapshot.parent.parent / "refs" / "main"
    reference.parent.mkdir()
    reference.write_text("0123abcd")
    net = timm.create_model(name)
    save_file(net.state_dict(), snapshot / "model.safetensors")
    return net.state_dict()


def test_pretrained_weights_are_loaded_and_the_head_is_fresh(hub):
    stored = cache_weights(hub, SMALL)
    student = build(SMALL, 48, pretrained=True)
    loaded = student.net.state_dict()
    for key, value in loaded.items():
        torch.testing.assert_close(value, stored[key], rtol=0, atol=0)
    assert student.head.weight.shape == (4, 1024)


def test_pretrained_weights_fit_grey_images_and_a_gentle_stem(hub):
    stored = cache_weights(hub, "resnet18")["conv1.weight"]
    student = build("timm/resnet18", 32, channels=1, pretrained=True)
    expected = stored.sum(1, keepdim=True)[:, :, 2:5, 2:5]
    torch.testing.assert_close(student.net.conv1.weight, expected)


def test_pretrained_patches_of_a_vit_are_resampled(hub):
    cache_weights(hub, "vit_tiny_patch16_224")
    student = build("vit_tiny_patch16_224", 32, pretrained=True)
    assert student.net.patch_embed.proj.weight.shape[2:] == (4, 4)


def test_pretrained_weights_without_a_network_are_one_clear_error(hub, caplog):
    with pytest.raises(
        AutosdError, match=r"pretrained weights could not be had .*HF_HOME"
    ) as fault:
        build(SMALL, 48, pretrained=True)
    assert "\n" not in str(fault.value)
    assert "Retry" not in caplog.text
