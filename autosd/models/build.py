"""From a recipe's model to a student with its initial weights."""

from collections.abc import Callable

import torch

from autosd.errors import AutosdError
from autosd.models.custom import build_custom, is_custom, load_class
from autosd.models.densenet import DenseNet
from autosd.models.mobile import MobileNetV2, ShuffleNetV2
from autosd.models.small import RESIDUAL, wide_resnet
from autosd.models.staged import Architecture, StagedStudent
from autosd.models.student import Student
from autosd.models.vgg import Vgg
from autosd.recipe import ModelSpec, nearest
from autosd.streams import seed_for

FAMILIES: dict[str, Callable[[], Architecture]] = {
    **RESIDUAL,
    "densenet40": lambda: DenseNet(layers=12, growth=12),
    "vgg8": lambda: Vgg(convolutions=1),
    "vgg13": lambda: Vgg(convolutions=2),
    "mobilenetv2": MobileNetV2,
    "shufflenetv2": ShuffleNetV2,
}
WRN_EXAMPLES = ("wrn-16-2", "wrn-28-10", "wrn-40-2")


def model_names() -> list[str]:
    """Our own families; of the WRNs, which exist for any depth and width, the usual ones."""
    return [*FAMILIES, *WRN_EXAMPLES]


def check_model(spec: ModelSpec) -> None:
    """Check the name, and that pretrained weights exist where they are asked for.

    Raises:
        AutosdError: no such model, or one without pretrained weights.
    """
    if is_custom(spec.name):
        load_class(spec.name)
    elif spec.name.startswith("wrn"):
        wide_resnet(spec.name)
    elif spec.name not in FAMILIES:
        _check_foreign(spec)
        return
    if spec.pretrained:
        raise AutosdError(
            f"model {spec.name}: has no pretrained weights; backbones of timm have "
            "(such as timm/resnet18)"
        )


def build_student(
    spec: ModelSpec, classes: int, image_shape: tuple[int, int, int], seed: int
) -> Student:
    """A new student on the CPU, in training mode.

    Its initial weights follow from `seed` alone; the global random state is left untouched.

    Raises:
        AutosdError: no such model, or one that cannot take these images.
    """
    check_model(spec)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for(seed, "init", "student"))
        return _build(spec, classes, image_shape)


def _build(spec: ModelSpec, classes: int, image_shape: tuple[int, int, int]) -> Student:
    if is_custom(spec.name):
        return build_custom(spec.name, classes, image_shape)
    if spec.name in FAMILIES or spec.name.startswith("wrn"):
        make = FAMILIES.get(spec.name)
        architecture = make() if make else wide_resnet(spec.name)
        return StagedStudent(spec.name, architecture, classes, image_shape)
    from autosd.models.timm import TimmStudent

    return TimmStudent(spec.name, classes, image_shape, spec.pretrained)


def _check_foreign(spec: ModelSpec) -> None:
    """A name that is none of ours: timm is imported only here, for it takes seconds."""
    from autosd.models.timm import PREFIX, check_timm, is_timm, timm_names

    if spec.name.startswith(PREFIX) or is_timm(spec.name):
        check_timm(spec.name, spec.pretrained)
        return
    own = ", ".join(model_names())
    raise AutosdError(
        f"no model named '{spec.name}'; there are: {own}, any timm backbone by name, and "
        f"path/to/file.py:Class.{nearest(spec.name, [*model_names(), *timm_names()])}"
    )
