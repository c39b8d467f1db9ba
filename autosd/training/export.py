"""The trained student as a folder that is safe to share: safetensors and JSON, no pickle."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from torch import Tensor

from autosd.errors import AutosdError
from autosd.files import write_atomically, write_json
from autosd.located import located
from autosd.models.build import build_student
from autosd.models.student import Student
from autosd.recipe import Form, ModelSpec
from autosd.training.preprocess import Preprocess

FORMAT = "autosd student 1"
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
MAX_DESCRIPTION_BYTES = 50_000_000
COPY_AGAIN = "copy the whole folder of the model again"


class Description(Form):
    """What `model.json` says.

    Attributes:
        format: `FORMAT`.
        model: name of the architecture, as in a recipe.
        classes: number of classes K.
        class_names: one for each class.
        image_shape: `(C, H, W)` the student was built for.
        mean, std: per channel, on a scale of 0 to 1.
        sha256: hash of the weights' file.
        details: what the exporter adds; read by people.
    """

    format: str
    model: str
    classes: int = Field(ge=1, le=1_000_000)
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    details: dict[str, Any] = Field(default_factory=dict)


def export_student(
    folder: Path,
    student: Student,
    *,
    model: str,
    class_names: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    details: Mapping[str, Any],
) -> None:
    """Write `model.safetensors` and `model.json` into `folder`, each atomically.

    `details` (plain values) stand in `model.json` beside what is needed to build the student.
    """
    weights = safetensors.torch.save(_plain_tensors(student), {"format": "pt", "autosd": FORMAT})
    description = Description(
        format=FORMAT,
        model=model,
        classes=student.spec.classes,
        class_names=class_names,
        image_shape=student.spec.image_shape,
        mean=mean,
        std=std,
        sha256=hashlib.sha256(weights).hexdigest(),
        details=dict(details),
    )
    write_atomically(folder / WEIGHTS, lambda file: file.write(weights))
    write_json(folder / DESCRIPTION, description.model_dump(mode="json"))


def load_student(folder: str | Path, *, trust_code: bool | str = False) -> Student:
    """The student exported to `folder`, in eval mode, float32, with `class_names`, `preprocess`.

    Calling it on normalised images `[B, C, H, W]` gives logits `[B, K]`, the very ones that its
    trainer reported; `student.preprocess(image)` makes such an image of a PIL image or an array.

    Args:
        folder: has `model.json` and `model.safetensors`.
        trust_code: allow a model whose code is a Python file or a page of a model hub; a name
            allows that one alone.

    Raises:
        AutosdError: not such a folder, an unknown format, weights that are not the described ones.
    """
    folder = Path(folder)
    description = read_description(folder)
    where = folder / DESCRIPTION
    if ":" in description.model and trust_code not in (True, description.model):
        raise AutosdError(
            f"{where}: model {description.model!r} is code from elsewhere; "
            "load it with trust_code=True if you trust that file"
        )
    spec = ModelSpec(name=description.model, pretrained=False)
    student = build_student(spec, description.classes, description.image_shape, seed=0)
    load_weights(student, _read_weights(folder, description.sha256), folder / WEIGHTS)
    student.class_names = description.class_names
    student.preprocess = Preprocess(description.image_shape, description.mean, description.std)
    return student.to(memory_format=torch.channels_last).eval()


def initialise_from(student: Student, folder: str | Path) -> None:
    """Start `student` from the weights exported to `folder` (the recipe's `init`).

    Raises:
        AutosdError: not such a folder, or a network of other tensors.
    """
    folder = located(folder)
    description = read_description(folder)
    weights = _read_weights(folder, description.sha256)
    load_weights(student, weights, folder / WEIGHTS)


def load_weights(student: Student, weights: Mapping[str, Tensor], where: Path) -> None:
    """Copy `weights` into `student`; every tensor must be there with the right shape.

    Raises:
        AutosdError: names the first tensor that does not fit.
    """
    own = student.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        ours = tuple(own[name].shape) if name in own else None
        theirs = tuple(weights[name].shape) if name in weights else None
        if ours != theirs:
            raise AutosdError(
                f"{where}: not the weights of {student.spec.name} with {student.spec.classes} "
                f"classes: tensor '{name}' is {theirs or 'missing'}, expected {ours or 'none'}"
            )
    student.load_state_dict(dict(weights))


def _plain_tensors(student: Student) -> dict[str, Tensor]:
    """The state dict on the CPU; each tensor contiguous with memory of its own."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in student.state_dict().items()
    }


def read_description(folder: Path) -> Description:
    """What `model.json` of a student's folder says.

    Raises:
        AutosdError: it is missing, too large, of another format, or contradicts itself.
    """
    path = folder / DESCRIPTION
    text = _read_bytes(path, MAX_DESCRIPTION_BYTES)
    try:
        description = Description.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        why = f"{place} {fault['msg']}".strip()
        raise AutosdError(f"{path}: no description of a student ({why}); {COPY_AGAIN}") from None
    if description.format != FORMAT:
        raise AutosdError(f"{path}: unknown format {description.format!r}; needed is {FORMAT!r}")
    channels = description.image_shape[0]
    if min(description.image_shape) < 1 or max(description.image_shape) > 4096:
        raise AutosdError(f"{path}: image_shape {description.image_shape} is out of range")
    if not len(description.mean) == len(description.std) == channels:
        raise AutosdError(f"{path}: mean and std need one value for each of {channels} channels")
    finite = all(map(math.isfinite, (*description.mean, *description.std)))
    if not finite or min(description.std) <= 0:
        raise AutosdError(f"{path}: mean and std have to be finite, and std above 0")
    if len(description.class_names) != description.classes:
        raise AutosdError(f"{path}: {description.classes} classes need as many class_names")
    return description


def check_exported(folder: Path) -> None:
    """See that description and weights are whole and belong together.

    Raises:
        AutosdError: names the file that is not.
    """
    _read_content(folder, read_description(folder).sha256)


def _read_weights(folder: Path, sha256: str) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    try:
        return safetensors.torch.load(_read_content(folder, sha256))
    except (SafetensorError, ValueError, KeyError) as error:
        raise AutosdError(f"{path}: not readable as safetensors ({error})") from None


def _read_content(folder: Path, sha256: str) -> bytes:
    """The bytes of the weights, if they are the described ones."""
    path = folder / WEIGHTS
    content = _read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise AutosdError(
            f"{path}: not the file that {DESCRIPTION} describes (sha256 differs); "
            "copy both files again"
        )
    return content


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise AutosdError(f"{path}: larger than {limit} bytes, which no description is")
        return path.read_bytes()
    except OSError as error:
        raise AutosdError(
            f"{path}: cannot be read ({error.strerror or error}); {COPY_AGAIN}"
        ) from None
