"""`autosd ensemble`: several students of a study as one classifier, and what that is worth."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.results import best
from autosd.results.ensemble_choice import Plan, chosen_of, read_pool
from autosd.results.ensemble_making import make
from autosd.results.ensemble_members import Work, train_again
from autosd.results.ensemble_pool import (
    MEMBERS,
    PART,
    Candidate,
    candidates,
    soup_of,
    to_make_soup_of,
)
from autosd.results.ensemble_selection import Metric
from autosd.results.ensembled import (
    FILE,
    FOLDER,
    Ensembled,
    ensembled,
    read_results,
)
from autosd.search.engines import EngineChoice
from autosd.search.interrupts import raised
from autosd.search.progress import Quiet, Watch
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder
from autosd.training.ensemble import load_ensemble

SIZE = 8


@dataclass(frozen=True)
class Done:
    """What a call of `autosd ensemble` gave.

    Attributes:
        ensemble: with its worth.
        folder: `autosd.load` takes it.
        fresh: whether this call made it; an ensemble that is there already is not made again.
        seconds: wall time of this call.
    """

    ensemble: Ensembled
    folder: Path
    fresh: bool
    seconds: float

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd ensemble`."""
        shown = asdict(self.ensemble)
        return {**shown, "model_dir": str(self.folder), "seconds": round(self.seconds, 3)}


def ensemble(
    name: str,
    root: Path,
    *,
    size: int = SIZE,
    metric: Metric | None = None,
    train_missing: bool = False,
    slots: int | None = None,
    watch: Watch | None = None,
    engine: EngineChoice = "ray",
) -> Done:
    """Choose members, put them into `ensemble/`, read test once.

    Args:
        name, root: which study.
        size: most members.
        metric: what decides between kinds, sizes and members; None: the study's objective, top1
            where that is balanced accuracy.
        train_missing: train students again whose weights were dropped, if the ensemble needs them,
            and one more for its mean over the last epochs.
        slots: runs at the same time, None for as many as there is room for.
        watch: hears of every event.
        engine: `ray`, a `Cluster` to join, or `inline` for one run at a time in this process.

    Raises:
        AutosdError: no such study, nothing to average, other data than the study's, a damaged file,
            or another process runs the study.
        WorkFailed: a student could not be trained again.
    """
    begin = time.monotonic()
    folder = StudyFolder.find(name, root)
    records = folder.records()
    if not any(one.state == "complete" for one in records):
        raise AutosdError(f"study {folder.name}: no trial is complete yet; run the search first")
    data = load_data(folder.definition.recipe.data)
    target = folder.path / FOLDER
    with raised(), folder.lock() as lock:
        folder.split.check(data.counts, data.fingerprint)
        best.restore(target)
        work = Work(folder, data, lock, slots, watch or Quiet(), engine)
        found = _found(records, work, train_missing)
        plan = _plan(found, data, metric or objective(folder), size, train_missing)
        known = _known(target, plan)
        if known is None:
            plan = _with_weights(plan, work)
            make(plan, work, target)
    values = read_results(target)
    if values is None:
        raise AutosdError(f"{target}: has no {FILE}")
    return Done(ensembled(values), target, known is None, time.monotonic() - begin)


def objective(folder: StudyFolder) -> Metric:
    """The metric that is nearest to the study's objective."""
    return "nll" if folder.definition.objective == "nll" else "top1"


def _found(records: Sequence[TrialRecord], work: Work, train_missing: bool) -> list[Candidate]:
    """All students of the study; where asked for, a soup is trained if there is none."""
    members = work.folder.path / FOLDER / MEMBERS
    found = candidates(work.folder, records, members, work.data.fingerprint)
    if not train_missing or any(one.soup for one in found):
        return found
    source = to_make_soup_of(records, found, work.folder.minimise)
    if source is not None:
        found += train_again([soup_of(source, members)], members, work)
    return found


def _plan(
    found: Sequence[Candidate], data: Data, metric: Metric, size: int, train_missing: bool
) -> Plan:
    labels, classes = data.part(PART).labels, len(data.class_names)
    able = [one for one in found if train_missing or one.weights is not None]
    if not able and found:
        raise AutosdError(
            f"the weights of all {len(found)} students are gone; --train-missing trains those "
            "again that the ensemble needs"
        )
    pool = read_pool(able, labels, classes)
    return Plan(metric, size, pool, chosen_of(pool, metric, size), len(found) - len(able))


def _known(target: Path, plan: Plan) -> Mapping[str, Any] | None:
    """The results of the very same ensemble, whole and readable: test is not read again."""
    values = read_results(target)
    if values is None or values.get("key") != plan.key:
        return None
    try:
        load_ensemble(target, trust_code=plan.best.recipe.model.name)
    except AutosdError:
        return None
    return values


def _with_weights(plan: Plan, work: Work) -> Plan:
    """The plan with members trained again where their weights are gone."""
    needed = {one.name: one for one in (*plan.members, plan.best) if one.weights is None}
    if not needed:
        return plan
    members = work.folder.path / FOLDER / MEMBERS
    again = {one.name: one for one in train_again(list(needed.values()), members, work)}
    students = [again.get(one.name, one) for one in plan.pool.students]
    return replace(plan, pool=replace(plan.pool, students=students))
