"""What `autosd ensemble` found, as `ensemble/results.json` has it: read without torch and Ray."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from autosd import stored
from autosd.results.statistics import Difference, Summary, Verdict
from autosd.search.study import StudyFolder

FOLDER = "ensemble"
FILE = "results.json"
FORMAT = "autosd ensemble results 1"
WRITE_ANEW = "put back a copy of it, or remove it: `autosd ensemble` makes it anew"
Scores = Mapping[str, float]
"""Metrics by name, as in `autosd.training.metrics.measure`."""


@dataclass(frozen=True)
class Member:
    """A network of the ensemble.

    Attributes:
        name: of its folder below `students/`: label and seed.
        label: of its recipe, such as `masd-0012` or `cross_entropy`.
        seed: it was trained with.
        family: of the space.
        strategies: of its recipe.
        trial: of the search that it comes from, or whose recipe it has; None where there is none.
        origin: `finalist`, `trial` (its checkpoint was kept) or `trained again`.
        weight: its share of the mean; those of all members sum to 1.
    """

    name: str
    label: str
    seed: int
    family: str
    strategies: tuple[str, ...]
    trial: int | None
    origin: str
    weight: float


@dataclass(frozen=True)
class Kind:
    """One way to make an ensemble, and what it is worth.

    Attributes:
        kind: `single` (the best student alone), `soup` (the best mean of weights of last epochs),
            `uniform` (the best `size` students, equal weights) or `greedy`.
        size: most members.
        members: members when fitted to all of `select`; 0 where there is nothing to make it of.
        held_out: top1 and nll on `select`, each image predicted by what was fitted to the folds
            without it; None where there is none.
        fitted: the same of what was fitted to all of `select`, on the same images: flattered.
        chosen: whether it is the ensemble.
        note: why there is none, or empty.
    """

    kind: str
    size: int
    members: int
    held_out: Scores | None
    fitted: Scores | None
    chosen: bool
    note: str = ""


@dataclass(frozen=True)
class Gain:
    """The ensemble minus the best member, image by image.

    Attributes:
        part: `test`, or `select` for held-out folds, on which the kind was chosen: a little
            flattered.
        metric: top1 or nll.
        difference: mean over images with its 95 % interval; it covers other images of this kind,
            not other training seeds. `n` counts images.
        verdict: better, worse or no difference shown.
    """

    part: str
    metric: str
    difference: Difference
    verdict: Verdict


@dataclass(frozen=True)
class DistilledRow:
    """One recipe of the distillation table; all are trained on train, val and select.

    Attributes:
        recipe: label of its runs.
        role: `distilled` (soft labels alone), `distilled with the winner's strategies`, `winner` or
            `cross_entropy`.
        top1, nll: on test over the seeds.
        to_winner, nll_to_winner: paired by seed; None for itself, or where no seed is shared.
        to_cross_entropy: top1, likewise.
        verdict: of top1 against the winner; `reference` for the winner, `incomplete` where runs of
            either are missing.
        models: folders of its students by seed, relative to the study folder.
    """

    recipe: str
    role: str
    top1: Summary
    nll: Summary
    to_winner: Difference | None
    nll_to_winner: Difference | None
    to_cross_entropy: Difference | None
    verdict: str
    models: Mapping[int, str]


@dataclass(frozen=True)
class Distilled:
    """One student that learnt from the ensemble.

    Attributes:
        rows: the distilled first, then the winner and cross-entropy.
        best: folder of the distilled student to take, relative to the study folder: the one with
            the winner's strategies where there is one; test does not choose.
        temperature, weight: of the soft labels.
        images: of the test part.
        epochs: planned.
        left_out: why the winner's strategies could not be combined with soft labels; or empty.
        remarks: sentences on what the table shows.
    """

    rows: tuple[DistilledRow, ...]
    best: str
    temperature: float
    weight: float
    images: int
    epochs: int
    left_out: str
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Ensembled:
    """An ensemble and what it is worth.

    Attributes:
        metric: that chose: nll or top1.
        size: most members that were allowed.
        folds: of `select`.
        kind: the chosen one; `single` where no ensemble did better on held-out folds.
        members: heaviest first.
        best_member: name of the best single student on `select`; need not be a member.
        forwards: networks that see each image.
        relative_cost: arithmetic of a prediction, the best member's as 1.
        scores: `ensemble` and `best_member` -> part -> metric -> value.
        kinds: what was compared, in order of their size.
        gains: test first.
        candidates: students that took part; `finalists` of them are confirmation runs.
        left_out: students whose weights were dropped, or are of another version of autosd.
        images: number of images by part.
        remarks: sentences on what is shown and how.
        distilled: None before `--distill`.
    """

    metric: str
    size: int
    folds: int
    kind: str
    members: tuple[Member, ...]
    best_member: str
    forwards: int
    relative_cost: float
    scores: Mapping[str, Mapping[str, Scores]]
    kinds: tuple[Kind, ...]
    gains: tuple[Gain, ...]
    candidates: int
    finalists: int
    left_out: int
    images: Mapping[str, int]
    remarks: tuple[str, ...]
    distilled: Distilled | None = None

    def gain(self, metric: str, part: str = "test") -> Gain:
        """The gain in a metric on a part."""
        return next(one for one in self.gains if (one.metric, one.part) == (metric, part))


def read_ensembled(folder: StudyFolder) -> Ensembled | None:
    """What `ensemble/results.json` of a study says, None where there is none.

    Raises:
        AutosdError: the file is not what autosd writes.
    """
    values = read_results(folder.path / FOLDER)
    return None if values is None else ensembled(values)


def read_results(folder: Path) -> dict[str, Any] | None:
    """The content of `results.json` as it is, None where there is none.

    Raises:
        AutosdError: the file is not what autosd writes.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    with stored.sound(path, WRITE_ANEW):
        values: dict[str, Any] = stored.load(path)
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r}, needed is {FORMAT!r}")
        ensembled(values)
    return values


_ENSEMBLED = TypeAdapter(Ensembled)


def ensembled(values: Mapping[str, Any]) -> Ensembled:
    """Plain values as `Ensembled`; keys that are not its own are left out."""
    return _ENSEMBLED.validate_python(values)
