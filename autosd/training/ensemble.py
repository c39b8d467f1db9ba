"""Several students as one network, in a folder that is as safe to share as a single one.

The folder has one exported student in each of `students/NAME/`, and a `model.json` with their
weights and the SHA-256 of every file of theirs. Names are single components, so nothing outside
the folder is ever read.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from autosd.errors import AutosdError
from autosd.files import write_json
from autosd.models.student import Student
from autosd.recipe import Form
from autosd.training.export import (
    COPY_AGAIN,
    DESCRIPTION,
    MAX_DESCRIPTION_BYTES,
    WEIGHTS,
    load_student,
    read_description,
)

FORMAT = "autosd ensemble 1"
STUDENTS = "students"
FILES = (DESCRIPTION, WEIGHTS)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
SHARED = ("classes", "class_names", "image_shape", "mean", "std")
ROUNDING = 1e-6


@dataclass(frozen=True)
class Share:
    """A member to be written: its name, the folder of its exported student, its weight."""

    name: str
    source: Path
    weight: float


class MemberForm(Form):
    """A member in `model.json`; `sha256` is by name of file."""

    name: str
    weight: float = Field(gt=0, le=1)
    sha256: dict[Literal["model.json", "model.safetensors"], str] = Field(min_length=len(FILES))

    @field_validator("name")
    @classmethod
    def _single_component(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError("a name of letters, digits, dots, dashes, plus signs and underscores")
        return value


class EnsembleForm(Form):
    """What `model.json` of an ensemble says; `details` are read by people."""

    format: Literal["autosd ensemble 1"]
    classes: int = Field(ge=1, le=1_000_000)
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    members: tuple[MemberForm, ...] = Field(min_length=1, max_length=1000)
    details: dict[str, Any] = Field(default_factory=dict)


class Ensemble(nn.Module):
    """The weighted mean of the members' probabilities, as log-probabilities.

    Calling it on normalised images `[B, C, H, W]` gives `[B, K]`, which may be used as logits:
    their softmax is exactly that mean.

    Attributes:
        members: the students, heaviest first.
        log_weights: `[M]`.
        class_names, preprocess: as those of a student.
    """

    class_names: tuple[str, ...]
    preprocess: Callable[[Any], Tensor]
    log_weights: Tensor

    def __init__(self, members: Sequence[Student], weights: Sequence[float]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        shares = torch.tensor(weights, dtype=torch.float64)
        self.register_buffer("log_weights", (shares / shares.sum()).log().float())
        self.class_names = members[0].class_names
        self.preprocess = members[0].preprocess

    def forward(self, images: Tensor) -> Tensor:
        rows = [F.log_softmax(member(images).float(), dim=-1) for member in self.members]
        return torch.logsumexp(torch.stack(rows) + self.log_weights[:, None, None], dim=0)


def load(folder: str | Path, *, trust_code: bool | str = False) -> nn.Module:
    """A student or an ensemble from its folder, in eval mode, with `class_names`, `preprocess`.

    Calling it on normalised images `[B, C, H, W]` gives logits `[B, K]`;
    `model.preprocess(image)` makes such an image of a PIL image or an array.

    Args:
        folder: has `model.json`.
        trust_code: allow a model whose code is a Python file or a page of a model hub; a name
            allows that one alone.

    Raises:
        AutosdError: not such a folder, an unknown format, files that are not the described ones.
    """
    if _format(Path(folder) / DESCRIPTION) == FORMAT:
        return load_ensemble(folder, trust_code=trust_code)
    return load_student(folder, trust_code=trust_code)


def load_ensemble(folder: str | Path, *, trust_code: bool | str = False) -> Ensemble:
    """The ensemble of a folder; see `load`."""
    folder = Path(folder)
    description = described(folder / DESCRIPTION)
    members = []
    for entry in description.members:
        place = folder / STUDENTS / entry.name
        _check_files(folder, place, entry.sha256)
        members.append(load_student(place, trust_code=trust_code))
        _check_fits(place, description)
    return Ensemble(members, [entry.weight for entry in description.members]).eval()


def write_ensemble(folder: Path, shares: Sequence[Share], details: Mapping[str, Any]) -> None:
    """Copy the members' students into `folder` and describe them in `model.json`.

    Args:
        folder: not read by anybody yet.
        shares: heaviest first; weights sum to 1.
        details: plain values for people.
    """
    entries = []
    for share in shares:
        place = folder / STUDENTS / share.name
        place.mkdir(parents=True)
        for name in FILES:
            shutil.copyfile(share.source / name, place / name)
        hashes = {name: _sha256(place / name) for name in FILES}
        entries.append({"name": share.name, "weight": share.weight, "sha256": hashes})
    first = read_description(folder / STUDENTS / shares[0].name)
    values = {
        "format": FORMAT,
        **{key: getattr(first, key) for key in SHARED},
        "members": entries,
        "details": dict(details),
    }
    write_json(folder / DESCRIPTION, EnsembleForm.model_validate(values).model_dump(mode="json"))


def _format(path: Path) -> Any:
    """What a `model.json` calls its format; None where it cannot be told."""
    try:
        if path.stat().st_size > MAX_DESCRIPTION_BYTES:
            return None
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None  # the loader of a student says what is wrong
    return value.get("format") if isinstance(value, dict) else None


def described(path: Path) -> EnsembleForm:
    """What the `model.json` of an ensemble says.

    Raises:
        AutosdError: it cannot be read, is none, or contradicts itself.
    """
    try:
        description = EnsembleForm.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AutosdError(
            f"{path}: cannot be read ({error.strerror or error}); {COPY_AGAIN}"
        ) from None
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise AutosdError(
            f"{path}: no description of an ensemble ({place} {fault['msg']}); {COPY_AGAIN}"
        ) from None
    weight = sum(entry.weight for entry in description.members)
    names = [entry.name for entry in description.members]
    if abs(weight - 1) > ROUNDING or len(set(names)) < len(names):
        raise AutosdError(f"{path}: weights of different members have to sum to 1, not {weight:g}")
    return description


def _check_files(folder: Path, place: Path, sha256: Mapping[Any, str]) -> None:
    for name in FILES:
        try:
            if not (place / name).resolve().is_relative_to(folder.resolve()):
                raise AutosdError(f"{place / name}: leads out of {folder}; its files lie inside")
            found = _sha256(place / name)
        except RuntimeError:  # what `resolve` raises
            why = "a link in a circle"
            raise AutosdError(f"{place / name}: cannot be read ({why}); {COPY_AGAIN}") from None
        except OSError as error:
            why = error.strerror or str(error)
            raise AutosdError(f"{place / name}: cannot be read ({why}); {COPY_AGAIN}") from None
        if found != sha256[name]:
            raise AutosdError(
                f"{place / name}: not the file that {folder / DESCRIPTION} describes (sha256 "
                "differs); copy the whole folder again"
            )


def _check_fits(place: Path, ensemble: EnsembleForm) -> None:
    """A member takes the ensemble's images and knows its classes."""
    student = read_description(place)
    for key in SHARED:
        if getattr(student, key) != getattr(ensemble, key):
            raise AutosdError(f"{place}: has another {key} than the ensemble it is a member of")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
