"""A trained model as the commands that use one see it, and where it comes from."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosd import stored
from autosd.errors import AutosdError
from autosd.recipe import Recipe, nearest
from autosd.search.definition import has_begun
from autosd.search.study import StudyFolder

PUT_BACK = "put back a copy of it, or of the whole folder of the model"

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

    from autosd.training.preprocess import Preprocess

DESCRIPTION = "model.json"
LEVELS = 4
"""A model lies at most so many folders below its study."""


@dataclass(frozen=True, eq=False)
class Model:
    """A student or an ensemble, ready to be called.

    Attributes:
        folder: where it was loaded from.
        network: in eval mode, float32: normalised images `[B, C, H, W]` to logits `[B, K]`.
        class_names: K names.
        preprocess: makes normalised images of pictures and of pixels.
        details: what `model.json` says besides.
    """

    folder: Path
    network: "nn.Module"
    class_names: tuple[str, ...]
    preprocess: "Preprocess"
    details: dict[str, Any]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)`."""
        return self.preprocess.image_shape

    def temperature(self) -> float:
        """The fitted temperature of its logits.

        Raises:
            AutosdError: none was fitted.
        """
        value = self.details.get("temperature")
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise AutosdError(
                f"{self.folder / DESCRIPTION}: has no temperature, so that there are no calibrated "
                "probabilities; `autosd retrain` fits one where the recipe was confirmed"
            )
        return float(value)

    def logits(self, pixels: "npt.NDArray[np.uint8]") -> "Tensor":
        """Float32 `[B, K]` of uint8 `[B, H, W, C]` of the model's shape."""
        import torch

        with torch.inference_mode():
            logits: Tensor = self.network(self.preprocess.batch(pixels))
        return logits.float()


def open_model(given: str, root: Path, *, trust_code: bool = False) -> Model:
    """Load a model by its folder, or that of a study's best by the study.

    Args:
        given: a folder with `model.json`, or a study as `StudyFolder.find` takes it.
        root: the folder of studies.
        trust_code: allow a network whose code is a Python file or a page of a model hub.

    Raises:
        AutosdError: no such model, or files that are not what they say.
    """
    from autosd.training.ensemble import load

    folder = find_model(given, root)
    network: Any = load(folder, trust_code=trust_code)
    described = stored.load(folder / DESCRIPTION)
    details = described.get("details")
    return Model(
        folder=folder,
        network=network,
        class_names=tuple(network.class_names),
        preprocess=network.preprocess,
        details=details if isinstance(details, dict) else {},
    )


def find_model(given: str, root: Path) -> Path:
    """The folder of a model: itself, or `best/` where a study is meant.

    Raises:
        AutosdError: neither a model nor a study; names what there is.
    """
    for path in (root / given, Path(given)):
        if (path / DESCRIPTION).is_file():
            return path
        if has_begun(path):
            return _best(path)
    if Path(given).exists():
        raise AutosdError(
            f"{given}: no model here ({DESCRIPTION} is missing or no file); put back a copy of it, "
            "or name the folder of a model, such as the best/ of a study, or a study"
        )
    if "/" in given:
        raise AutosdError(f"{given}: no such folder")
    files = [*root.glob(f"*/{DESCRIPTION}"), *root.glob("*/study.yaml")]
    known = sorted({path.parent.name for path in files})
    there = f"there are: {', '.join(known)}." if known else "there is none yet."
    raise AutosdError(f"no model or study '{given}' in {root}; {there}{nearest(given, known)}")


def _best(study: Path) -> Path:
    if not os.path.lexists(study / "best"):
        raise AutosdError(
            f"{study}: this study has no best/ yet, which its search writes at the end; the models "
            "of confirmation runs are in finalists/*/model"
        )
    if not (study / "best" / DESCRIPTION).is_file():
        raise AutosdError(f"{study / 'best' / DESCRIPTION}: is missing or no file; {PUT_BACK}")
    return study / "best"


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, as far as its neighbours tell.

    Attributes:
        study: that it lies in, None outside of one.
        recipe: that trained it, or the study's own; None where neither is there.
        trained_on: parts of the data that it learnt from; empty where that is not known.
    """

    study: StudyFolder | None
    recipe: Recipe | None
    trained_on: tuple[str, ...]


def origin(model: Model) -> Origin:
    """What lies around a model.

    Raises:
        AutosdError: the study around it, or the recipe beside it, is broken.
    """
    folder = model.folder.resolve()
    above = folder.parents[:LEVELS]
    study = next((StudyFolder.open(path) for path in above if has_begun(path)), None)
    beside = [path / "recipe.yaml" for path in (folder, folder.parent)]
    recipe = next((_recipe(path) for path in beside if os.path.lexists(path)), None)
    if recipe is None and study is not None:
        recipe = study.definition.recipe
    return Origin(study, recipe, _trained_on(model))


def _recipe(path: Path) -> Recipe:
    with stored.sound(path, PUT_BACK):
        return Recipe.read(path)


def _trained_on(model: Model) -> tuple[str, ...]:
    parts = model.details.get("trained_on")
    if not isinstance(parts, list):
        parts = _metrics(model.folder).get("trained_on")
    return tuple(str(part) for part in parts) if isinstance(parts, list) else ()


def _metrics(folder: Path) -> dict[str, Any]:
    try:
        values = stored.load(folder / "metrics.json")
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
