"""The kind of ensemble and its members, chosen by cross-fitting over folds of `select`.

`val` takes no part: it guided sampler and pruner, and the best of the search are best on it partly
by luck, which finalists' students are not. `test` takes no part either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autosd.errors import AutosdError
from autosd.recipe import fingerprint
from autosd.results import ensemble_selection as selection
from autosd.results.ensemble_pool import PART, SOUP, Candidate, logits
from autosd.results.ensemble_selection import Choice, Floats, Integers, Metric
from autosd.results.ensembled import Kind

NO_SOUP = "none kept"
BYTES = 12
"""Of a logit while members are chosen: in half precision, as probability, and in a mean."""
MOST_BYTES = 16e9


@dataclass(frozen=True)
class Pool:
    """Students with their predictions.

    Attributes:
        students: M of them.
        logits: float16 `[M, N, K]` on select.
        labels: `[N]` of select.
    """

    students: Sequence[Candidate]
    logits: npt.NDArray[np.float16]
    labels: Integers


@dataclass(frozen=True)
class Chosen:
    """What cross-fitting chose, fitted to all of `select`.

    Attributes:
        choice: kind and most members.
        members: position in the pool and weight, heaviest first.
        best: position of the best single student.
        kinds: everything that was compared.
        held_out: `[N, K]` probabilities of the choice and of the best single student, each row by
            what was fitted without its fold.
        folds: of select.
    """

    choice: Choice
    members: Sequence[tuple[int, float]]
    best: int
    kinds: tuple[Kind, ...]
    held_out: tuple[Floats, Floats]
    folds: int


@dataclass(frozen=True)
class Plan:
    """What an ensemble is made of, before its weights are touched.

    Attributes:
        metric, size: as asked.
        pool: students that took part.
        chosen: kind and members.
        left_out: students whose weights were dropped.
    """

    metric: Metric
    size: int
    pool: Pool
    chosen: Chosen
    left_out: int

    @property
    def members(self) -> list[Candidate]:
        """The students of the ensemble, heaviest first."""
        return [self.pool.students[k] for k, _ in self.chosen.members]

    @property
    def best(self) -> Candidate:
        """The best single student on select."""
        return self.pool.students[self.chosen.best]

    @property
    def key(self) -> str:
        """Equal for two plans that make and report the same."""
        names = [one.name for one in self.pool.students]
        weights = [round(weight, 9) for _, weight in self.chosen.members]
        shares = list(zip((one.name for one in self.members), weights, strict=True))
        return fingerprint([self.metric, self.size, names, self.left_out, shares, self.best.name])


def read_pool(found: Sequence[Candidate], labels: Integers, classes: int) -> Pool:
    """Candidates with their logits; those with infinite ones are left out.

    Raises:
        AutosdError: no candidate is left, a file is damaged, or the memory would not suffice.
    """
    _check_room(len(found), len(labels), classes)
    kept = [(one, logits(one, labels, classes)) for one in found]
    kept = [(one, rows) for one, rows in kept if np.isfinite(rows).all()]
    if not kept:
        raise AutosdError("no student of this study has kept its logits; nothing can be averaged")
    return Pool([one for one, _ in kept], np.stack([rows for _, rows in kept]), labels)


def _check_room(students: int, images: int, classes: int) -> None:
    needed = BYTES * students * images * classes
    if needed > MOST_BYTES:
        raise AutosdError(
            f"predictions of {students} students for {images:,} images of {PART} x {classes:,} "
            f"classes would take {needed / 1e9:.0f} GB of memory; at most {MOST_BYTES / 1e9:.0f} "
            "GB are allowed: remove the logits.npz of students that need not take part"
        )


def chosen_of(pool: Pool, metric: Metric, size: int) -> Chosen:
    """Choose kind and size on held-out folds, then fit it to all of `select`."""
    rows, labels = selection.softmax(pool.logits), pool.labels
    soups = np.array([one.soup for one in pool.students])
    aside = np.array([one.label.endswith(SOUP) for one in pool.students])

    def fitted(some: Floats, of: Integers) -> Mapping[Choice, Floats]:
        return selection.fit(some, of, metric, size, soups, aside)

    folds = selection.stratified_folds(labels)
    held_out = selection.cross_fit(labels, folds, rows, fitted)
    choice = selection.choose(held_out, labels, metric)
    final = fitted(rows, labels)
    single = Choice(1, "single")
    weights = final[choice]
    order = np.argsort(-weights, kind="stable")
    return Chosen(
        choice=choice,
        members=[(int(k), float(weights[k])) for k in order if weights[k] > 0],
        best=int(np.argmax(final[single])),
        kinds=tuple(_kinds(held_out, final, rows, labels, choice)),
        held_out=(held_out[choice], held_out[single]),
        folds=len(np.unique(folds)),
    )


def _kinds(
    held_out: Mapping[Choice, Floats],
    final: Mapping[Choice, Floats],
    rows: Floats,
    labels: Integers,
    choice: Choice,
) -> list[Kind]:
    found = [
        Kind(
            kind=one.kind,
            size=one.size,
            members=int((final[one] > 0).sum()),
            held_out=_scores(held_out[one], labels),
            fitted=_scores(selection.combine(rows, final[one]), labels),
            chosen=one == choice,
        )
        for one in selection.sorted_by(held_out)
    ]
    if not any(one.kind == "soup" for one in found):
        found.insert(1, Kind("soup", 1, 0, None, None, False, NO_SOUP))
    return found


def _scores(rows: Floats, labels: Integers) -> dict[str, float]:
    return {
        "top1": float((rows.argmax(axis=-1) == labels).mean()),
        "nll": float(selection.score(rows[None], labels, "nll")[0]),
    }
