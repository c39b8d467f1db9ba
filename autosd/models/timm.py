"""Any timm backbone as a student, through `forward_intermediates` and `forward_head`.

Taps are the last maps of each side length, the deepest four; where all maps have one side length
(ViT), those at the quarters of the depth. The classifier is always ours and fresh, also behind
pretrained weights. Images of at most 64 pixels get a gentle stem (see `gentle`); backbones with
tables tied to the input's side keep their stem and are built for that side.
"""

import inspect
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import timm
import torch
from torch import Tensor, nn

from autosd.errors import AutosdError
from autosd.models.gentle import gentle_patch, is_small, soften_stem
from autosd.models.light import MapShape, light_branch
from autosd.models.pooling import keep_layout, pool
from autosd.models.staged import LinearStudent, check_blocks
from autosd.models.student import Activations, StageSpec, StudentSpec
from autosd.recipe import nearest, unknown

PREFIX = "timm/"
TAPS = 4
LIGHT_BLOCKS = 2


def timm_names() -> list[str]:
    """Every backbone timm knows."""
    names: list[str] = timm.list_models()
    return names


def is_timm(name: str) -> bool:
    """Whether timm has the backbone, whatever tag of weights stands behind its name."""
    return bool(timm.is_model(name))


def check_timm(name: str, pretrained: bool) -> None:
    """Check a name, with or without `timm/` before it and a tag of weights behind it.

    Raises:
        AutosdError: timm has no such backbone or tag, or no weights where they are asked for.
    """
    backbone = name.removeprefix(PREFIX)
    architecture, _, tag = backbone.partition(".")
    if not timm.is_model(architecture):
        raise AutosdError(
            f"no timm backbone named '{architecture}'; "
            f"`timm.list_models()` names them.{nearest(architecture, timm_names())}"
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(architecture)]
    if tag and tag not in tags:
        raise AutosdError(f"model {name}: {unknown('weights', tag, tags)}")
    if pretrained and not tags:
        raise AutosdError(f"model {name}: timm has no pretrained weights for it")


class TimmStudent(LinearStudent):
    """A timm backbone without its classifier, and a linear classifier.

    Raises:
        AutosdError: the backbone does not take this input, gives no maps or no embedding, or its
            weights cannot be had.
    """

    def __init__(
        self,
        name: str,
        classes: int,
        image_shape: tuple[int, int, int],
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        backbone = name.removeprefix(PREFIX)
        self.net: Any = _backbone(backbone, image_shape, pretrained)
        self.indices, self.maps, embedding, pooled = _measure(self.net, backbone, image_shape)
        self.head = nn.Linear(embedding.shape[1], classes)
        self.spec = StudentSpec(
            name=name,
            stages=tuple(_stage(shape, image_shape) for shape in self.maps),
            embedding=embedding.shape[1],
            classes=classes,
            image_shape=image_shape,
            pooled_last_tap=pooled,
            copies_stages=False,
            batch_norm=any(
                isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in self.net.modules()
            ),
        )

    def activations(self, images: Tensor) -> Activations:
        features, taps = self.net.forward_intermediates(images, indices=self.indices)
        embedding = self.net.forward_head(keep_layout(features), pre_logits=True)
        return Activations(self.head(embedding), tuple(taps), embedding)

    def branch(self, tap: int, blocks: Sequence[int]) -> nn.Module:
        """Light depthwise-separable stages with the widths and sides of the later taps."""
        check_blocks(self.spec, tap, blocks)
        return light_branch(self.maps[tap:], blocks)

    def blocks_per_stage(self) -> tuple[int, ...]:
        return (LIGHT_BLOCKS,) * len(self.maps)


def _backbone(name: str, image_shape: tuple[int, int, int], pretrained: bool) -> Any:
    """The backbone without classifier, fit for `image_shape`."""
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    options = {"num_classes": 0, "in_chans": image_shape[0]}
    if fixed:
        options |= _sizes(_create(name, {"num_classes": 0}), image_shape)
    try:
        net = _create(name, options)
    except AutosdError:
        options.pop("patch_size", None)
        net = _create(name, options)
    if pretrained:
        net = _load_pretrained(name, options)
    if not fixed and is_small(image_shape):
        soften_stem(net, image_shape[0])
    return net


def _create(name: str, options: dict[str, Any]) -> Any:
    try:
        return timm.create_model(name, **options)
    except Exception as error:
        raise AutosdError(f"model {name}: timm cannot build it ({_reason(error)})") from error


def _load_pretrained(name: str, options: dict[str, Any]) -> Any:
    """The backbone with timm's weights, from the cache of the Hugging Face hub or the network.

    Raises:
        AutosdError: neither has them.
    """
    try:
        source = _cached_weights(timm.get_pretrained_cfg(name))
        return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, **options)
    except Exception as error:
        raise AutosdError(
            f"model {name}: its pretrained weights could not be had ({_reason(error)}); use "
            "`pretrained: false`, a machine with a network, or its Hugging Face cache (HF_HOME)"
        ) from error


def _cached_weights(cfg: Any) -> dict[str, str]:
    """Where the hub's cached file is; without one the network is tried once.

    timm's own download asks again and again for most of a minute before it fails.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    if not cfg.hf_hub_id:
        return {}
    file = cfg.hf_hub_filename or "model.safetensors"
    cached = try_to_load_from_cache(cfg.hf_hub_id, file)
    if isinstance(cached, str):
        return {"file": cached}
    get_hf_file_metadata(hf_hub_url(cfg.hf_hub_id, file))
    return {}


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _sizes(net: Any, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Options that fit a backbone with tables tied to the input's side to that side."""
    makers = (kind.__init__ for kind in type(net).mro() if issubclass(kind, nn.Module))
    accepted = {name for make in makers for name in inspect.signature(make).parameters}
    options: dict[str, Any] = {}
    if "img_size" in accepted:
        height, width = image_shape[1:]
        options["img_size"] = height if height == width else (height, width)
    patches = (layer.patch_size for layer in net.modules() if hasattr(layer, "patch_size"))
    patch = next(patches, None)
    if "patch_size" in accepted and patch is not None and is_small(image_shape):
        side = patch if isinstance(patch, int) else patch[0]
        options["patch_size"] = gentle_patch(side, image_shape)
    return options


def _measure(
    net: Any, name: str, image_shape: tuple[int, int, int]
) -> tuple[list[int], tuple[MapShape, ...], Tensor, bool]:
    """Indices and shapes of the taps, the embedding of a probe, and whether it is the pooled tap.

    Raises:
        AutosdError: the backbone fails on such an image or does not give maps and an embedding.
    """
    probe = torch.randn(1, *image_shape, generator=torch.Generator().manual_seed(0))
    net.eval()
    try:
        with torch.no_grad():
            features, maps = net.forward_intermediates(probe)
            embedding: Tensor = net.forward_head(features, pre_logits=True)
    except Exception as error:
        size = " x ".join(map(str, image_shape))
        raise AutosdError(
            f"model {name} cannot take images of {size} ({_reason(error)})"
        ) from error
    finally:
        net.train()
    if embedding.dim() != 2 or any(tap.dim() != 4 for tap in maps):
        raise AutosdError(f"model {name} gives no maps [B, C, H, W] or no embedding [B, D]")
    indices = _tap_indices([tuple(tap.shape[2:]) for tap in maps])
    shapes = tuple(MapShape(*maps[index].shape[1:]) for index in indices)
    return indices, shapes, embedding, _same(pool(maps[indices[-1]]), embedding)


def _tap_indices(sides: list[tuple[int, ...]]) -> list[int]:
    """The last map of each side, the deepest four; of one side only, the quarters."""
    runs = [[index for index, _ in run] for _, run in groupby(enumerate(sides), lambda p: p[1])]
    if len(runs) > 1:
        return [run[-1] for run in runs][-TAPS:]
    depth = len(sides)
    return sorted({max(1, depth * quarter // TAPS) - 1 for quarter in range(1, TAPS + 1)})


def _same(pooled: Tensor, embedding: Tensor) -> bool:
    """Equal to rounding; a norm that has not learnt anything yet already differs by 5e-6."""
    if pooled.shape != embedding.shape:
        return False
    return bool((pooled - embedding).norm() <= 1e-6 * embedding.norm())


def _stage(shape: MapShape, image_shape: tuple[int, int, int]) -> StageSpec:
    return StageSpec(shape.channels, max(1, round(image_shape[1] / shape.height)))
