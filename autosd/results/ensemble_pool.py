"""The students of a study that may join an ensemble, and where their weights are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autosd import stored
from autosd.data.npzfile import NpzReader
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search.lists import read_recipe, read_records
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder
from autosd.training.checkpoint import CheckpointUnreadable, load_checkpoint

PART = "select"
LEFT_OUT = "put back a copy of it, or remove it: without this file the student is left out"
LEFT_OUT_TRIAL = (
    "put back a copy of it, or remove the logits.npz beside it: the trial is then left out"
)
MEMBERS = "members"
SOUP = "-soup"
LOGITS = "logits.npz"
CHECKPOINT = "last.pt"
MODEL = "model"
FINALIST, TRIAL, AGAIN = "finalist", "trial", "trained again"


@dataclass(frozen=True)
class Candidate:
    """A student that was trained on `train` alone.

    Attributes:
        label: of its recipe, such as `masd-0012`.
        family: of the space.
        recipe: with its seed.
        trial: of the search it comes from, or whose recipe it has; None where there is none.
        origin: `finalist`, `trial` or `trained again`.
        folder: has its logits on select.
        weights: the folder of its exported student, or its checkpoint; None where both are gone.
    """

    label: str
    family: str
    recipe: Recipe
    trial: int | None
    origin: str
    folder: Path
    weights: Path | None

    @property
    def name(self) -> str:
        """Label and seed."""
        return f"{self.label}-{self.recipe.seed}"

    @property
    def strategies(self) -> tuple[str, ...]:
        """Names of its recipe's strategies."""
        return tuple(spec.name for spec in self.recipe.strategies)

    @property
    def soup(self) -> bool:
        """Whether its weights are the mean over the last quarter of its epochs."""
        return self.recipe.average.kind == "swa"


def candidates(
    folder: StudyFolder, records: Sequence[TrialRecord], members: Path, data: str
) -> list[Candidate]:
    """Finalists' students, those of complete trials, and those that were trained again.

    Args:
        folder: of the study.
        records: its trials.
        members: runs that `--train-missing` made.
        data: fingerprint of the study's data.
    """
    numbers = {record.lineage: record.number for record in records}
    found = [
        *_finalists(folder, numbers),
        *_trials(folder, records, data),
        *_soups(members, numbers),
    ]
    return [_renewed(one, members) for one in found]


def logits(
    candidate: Candidate, labels: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.float16]:
    """A candidate's logits `[N, K]` on select.

    Raises:
        AutosdError: the file is damaged, or of other images.
    """
    path = candidate.folder / LOGITS
    with stored.sound(path, LEFT_OUT):
        reader = NpzReader(path)
        shape = reader.header(PART).shape
        if shape != (len(labels), classes):
            raise AutosdError(
                f"{path}: has {list(shape)} logits of {PART}, not {[len(labels), classes]}"
            )
        rows: npt.NDArray[np.float16] = reader.read(PART)
    return rows


def to_make_soup_of(
    records: Sequence[TrialRecord], found: Sequence[Candidate], minimise: bool
) -> Candidate | None:
    """The student of the best trial by val, whose last epochs may be averaged; None before one.

    Val, not select: what is chosen by `select` could not be held against its folds.
    """
    complete = [one for one in records if one.state == "complete" and one.value is not None]
    sign = 1 if minimise else -1
    for record in sorted(complete, key=lambda one: (sign * (one.value or 0.0), one.number)):
        for one in found:
            if one.trial == record.number and one.origin != FINALIST and not one.soup:
                return one
    return None


def soup_of(candidate: Candidate, members: Path) -> Candidate:
    """The same training with the weights of its last quarter of epochs averaged.

    Averaging looks on: the weights of each epoch are those of the training without it.
    """
    average = candidate.recipe.average.model_copy(update={"kind": "swa"})
    soup = replace(
        candidate,
        label=f"{candidate.label}{SOUP}",
        recipe=candidate.recipe.model_copy(update={"average": average}),
        origin=AGAIN,
        weights=None,
    )
    return replace(soup, folder=members / soup.name)


def _finalists(folder: StudyFolder, numbers: dict[int, int]) -> Iterator[Candidate]:
    for record in read_records(folder.finalists):
        if record.failure is None and (record.folder / LOGITS).is_file():
            yield _of_run(record.folder, record.label, numbers, FINALIST)


def _soups(members: Path, numbers: dict[int, int]) -> Iterator[Candidate]:
    for record in read_records(members):
        if record.label.endswith(SOUP) and record.failure is None:
            yield _of_run(record.folder, record.label, numbers, AGAIN)


def _of_run(path: Path, label: str, numbers: dict[int, int], origin: str) -> Candidate:
    """The student of a run of a list, whose label tells family and trial."""
    family, _, rest = label.removesuffix(SOUP).partition("-")
    recipe = read_recipe(path)
    model = path / MODEL
    weights = model if (model / "model.json").is_file() else None
    trial = numbers.get(int(rest)) if rest.isdigit() else None
    return Candidate(label, family, recipe, trial, origin, path, weights)


def _trials(folder: StudyFolder, records: Sequence[TrialRecord], data: str) -> Iterator[Candidate]:
    for record in records:
        path = folder.trial(record.lineage)
        if record.state != "complete" or not (path / LOGITS).is_file():
            continue
        recipe = _recipe_of_trial(path / "recipe.yaml")
        yield Candidate(
            label=f"{record.family}-{record.lineage:04d}",
            family=record.family,
            recipe=recipe,
            trial=record.number,
            origin=TRIAL,
            folder=path,
            weights=_checkpoint(path / CHECKPOINT, recipe, data),
        )


def _recipe_of_trial(path: Path) -> Recipe:
    with stored.sound(path, LEFT_OUT_TRIAL):
        return Recipe.read(path)


def _checkpoint(path: Path, recipe: Recipe, data: str) -> Path | None:
    """The checkpoint of a trial, None where it was dropped or this autosd cannot go on from it."""
    if not path.is_file():
        return None
    identity = {"recipe": recipe.fingerprint(), "data": data, "train_on": ["train"]}
    try:
        load_checkpoint(path, identity)
    except CheckpointUnreadable:
        return None
    return path


def _renewed(candidate: Candidate, members: Path) -> Candidate:
    """The candidate with the weights of a run that trained it again, where its own are gone."""
    again = members / candidate.name
    if candidate.weights is not None or not (again / "result.json").is_file():
        return candidate
    if not (again / MODEL / "model.json").is_file():
        return candidate
    return replace(candidate, origin=AGAIN, weights=again / MODEL)
