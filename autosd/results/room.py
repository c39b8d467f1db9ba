"""What a run will write, against what is free: refused before it begins rather than at the end."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autosd.data.dataset import Data
from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.recipe import FinalistSpec, Recipe, StudyDefinition
from autosd.search import ledger
from autosd.search.kept import KEPT_CHECKPOINTS
from autosd.search.lists import Run
from autosd.search.study import StudyFolder, close, study_path

CHECKPOINT_FACTOR = 3
"""Weights, momentum, and what trains beside the student; AdamW and averages take one more."""
EPOCH_BYTES = 700
RUN_BYTES = 16_000
"""Recipe, result and the blocks that small files take."""
RESERVE = 50e6
GIGA = 1e9


@dataclass(frozen=True)
class Room:
    """Space on a disk.

    Attributes:
        folder: that is written to.
        needed: bytes that are still to be written there, about.
        free: bytes.
    """

    folder: Path
    needed: float
    free: float

    @property
    def enough(self) -> bool:
        """Whether it suffices, 50 MB of reserve included."""
        return self.free >= self.needed + RESERVE

    def check(self) -> None:
        """Raise `AutosdError` where it does not suffice."""
        if not self.enough:
            raise AutosdError(
                f"{self.folder}: about {amount(self.needed + RESERVE)} are needed there and "
                f"{amount(self.free)} are free; make room (autosd clean says what a study can do "
                "without), or choose another folder with --dir"
            )


def amount(size: float) -> str:
    """Bytes for people: `0.35 GB`."""
    return f"{size / GIGA:.2f} GB" if size < 10 * GIGA else f"{size / GIGA:,.0f} GB"


def of_search(definition: StudyDefinition, data: Data, slots: int, root: Path) -> Room:
    """Room for a study up to its end, less what it has written already."""
    folder = study_path(root, definition.name)
    needed = search_bytes(definition, data, slots)
    return Room(folder, max(0.0, needed - written(folder)), free(folder))


def check_search(definition: StudyDefinition, data: Data, slots: int, root: Path) -> None:
    """Refuse a search that has no room; one that has nothing left to do needs none.

    Raises:
        AutosdError: names the folder, what is needed and what is free.
    """
    room = of_search(definition, data, slots, root)
    if not room.enough and not _complete(room.folder, definition.trials):
        room.check()


def _complete(path: Path, planned: int) -> bool:
    """Whether a study has all of its trials and its finalists are confirmed."""
    if not (path / "study.yaml").is_file() or not (path / "best/model.json").is_file():
        return False
    study = StudyFolder.open(path).load()
    try:
        return ledger.counts(study).counted >= planned
    finally:
        close(study)


def of_runs(
    folder: Path, runs: Sequence[Run], data: Data, slots: int, parts: Sequence[str]
) -> Room:
    """Room for these runs of a list below `folder`, which keep logits of `parts`."""
    weights = max((weight_bytes(recipe, data) for recipe in _models(runs)), default=0.0)
    kept = sum(_small(run.recipe, data, parts) + weights for run in runs)
    return Room(folder, kept + CHECKPOINT_FACTOR * weights * slots, free(folder))


def _models(runs: Sequence[Run]) -> list[Recipe]:
    """One recipe for each network."""
    return list({run.recipe.model: run.recipe for run in runs}.values())


def search_bytes(definition: StudyDefinition, data: Data, slots: int) -> float:
    """What a study takes on disk at its end, about: bounded by its plan, whatever happens."""
    recipe = definition.recipe
    weights = weight_bytes(recipe, data)
    checkpoints = CHECKPOINT_FACTOR * weights * (KEPT_CHECKPOINTS + slots)
    trials = definition.trials * _small(recipe, data, ("val", "select"))
    finalists = finalist_runs(definition.finalists) * (weights + _small(recipe, data, ("select",)))
    return checkpoints + trials + finalists + weights


def weight_bytes(recipe: Recipe, data: Data) -> float:
    """Of the student's parameters and buffers, float32."""
    model = recipe.model.model_copy(update={"pretrained": False})
    student = build_student(model, len(data.class_names), data.image_shape, seed=0)
    return 4.0 * float(sum(tensor.numel() for tensor in student.state_dict().values()))


def _small(recipe: Recipe, data: Data, parts: Sequence[str]) -> float:
    """Curve and logits of a run."""
    logits = 2.0 * len(data.class_names) * sum(data.counts[part] for part in parts)
    return RUN_BYTES + EPOCH_BYTES * recipe.epochs + logits


def finalist_runs(wanted: FinalistSpec) -> int:
    """The most there can be: each of the best, its family's default, and cross-entropy."""
    return (2 * wanted.count + 1) * wanted.seeds if wanted.count else 0


def free(folder: Path) -> float:
    """Bytes free where a folder is or will be."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return float(shutil.disk_usage(place).free)


def written(folder: Path) -> float:
    """Bytes of all files below a folder."""
    return float(sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()))
