"""Members of an ensemble as networks: exported, taken from a checkpoint, or trained again."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.errors import AutosdError, WorkFailed
from autosd.results.ensemble_pool import AGAIN, LOGITS, MODEL, PART, Candidate, logits
from autosd.results.room import of_runs
from autosd.search import code
from autosd.search.engines import Engine, EngineChoice
from autosd.search.jobs import Job
from autosd.search.lists import ListBridge, Plan, Run
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter
from autosd.search.progress import Watch
from autosd.search.study import StudyFolder
from autosd.training.ensemble import FILES
from autosd.training.evaluation import evaluate
from autosd.training.export import load_student
from autosd.training.trainer import Trainer

ROUNDING = 0.01
RELATIVE = 0.004
"""Far above what rounding to half precision and another device change, far below other weights."""


@dataclass(frozen=True)
class Work:
    """How runs are done.

    Attributes:
        folder: of the study.
        data: of the study.
        lock: held.
        slots: at the same time, None for as many as there is room for.
        watch: hears of every event.
        engine: `ray`, a `Cluster`, or `inline`.
    """

    folder: StudyFolder
    data: Data
    lock: StudyLock
    slots: int | None
    watch: Watch
    engine: EngineChoice


def train_again(wanted: Sequence[Candidate], members: Path, work: Work) -> list[Candidate]:
    """Train students whose weights are gone, with their recipe and seed, as the search did.

    Returns:
        The same candidates with weights.

    Raises:
        AutosdError: a folder of `members` holds another recipe, or was trained on other data.
        WorkFailed: a run gave no student; what the others gave is kept.
    """
    folder, each = work.folder, work.folder.definition.per_trial
    engine = Engine(work.engine, work.slots or folder.definition.slots, each)
    job = Job(
        key="",
        recipe={},
        folder="",
        evaluate_on=(),
        final=("val", PART),
        keep_logits=("val", PART),
        export=True,
        details={"study": folder.name, "trained_on": ["train"]},
        token=work.lock.token,
        lock=str(folder.lock_path.resolve()),
        cpus=each.cpus,
        gpus=each.share,
        epoch_seconds=folder.definition.epoch_seconds,
        root=str(folder.path),
    )
    runs = [Run(one.label, one.recipe) for one in wanted]
    meter = Meter(engine.slots)
    bridge = ListBridge(Plan(members, work.data.fingerprint, job), runs, meter, work.watch)
    if bridge.left:
        left = [run for run in runs if not bridge.folder(run, "result.json").exists()]
        of_runs(members, left, work.data, engine.slots, job.final).check()
        code.remark(folder.path, folder.definition.recipe.model.name, work.watch.say)
        with engine:
            engine.drive(bridge, work.watch, meter.resize)
    models = [bridge.folder(run, MODEL) for run in runs]
    for run, model in zip(runs, models, strict=True):
        if not (model / "model.json").is_file():
            why = bridge.failures.get(run.name, "it has no student")
            raise WorkFailed(f"{bridge.folder(run)}: training again gave no student: {why}")
    return [
        replace(one, origin=AGAIN, weights=model) for one, model in zip(wanted, models, strict=True)
    ]


def stage(candidate: Candidate, data: Data, into: Path) -> Path:
    """The exported student of a candidate in a folder of its own below `into`.

    Raises:
        AutosdError: the checkpoint is damaged or of another run.
    """
    place, weights = into / candidate.name, candidate.weights
    if weights is None:
        raise AutosdError(f"{candidate.folder}: its weights are gone; use --train-missing")
    place.mkdir()
    if weights.is_dir():
        for name in FILES:
            shutil.copyfile(weights / name, place / name)
    else:
        trainer = Trainer(candidate.recipe, data, evaluate_on=(), checkpoint=weights)
        trainer.export(place, {"trained_on": ["train"], "seed": candidate.recipe.seed})
    return place


def compare_with_kept(
    candidate: Candidate, student: Path, kept: npt.NDArray[np.float16], data: Data
) -> str:
    """What to tell of a staged student beside its kept logits; nothing where it was not retrained.

    Raises:
        AutosdError: the weights are those of another student.
    """
    if candidate.weights not in (None, candidate.folder / MODEL) and candidate.origin == AGAIN:
        return _compare_again(candidate, kept, data)
    part = Loader(data.part(PART), data).plain()
    network = load_student(student, trust_code=candidate.recipe.model.name)
    rows = evaluate(network, part).logits
    gap = np.abs(rows - kept.astype(np.float32))
    if (gap > ROUNDING + RELATIVE * np.abs(kept)).any():
        raise AutosdError(
            f"{candidate.weights}: does not predict what {candidate.folder / LOGITS} says of this "
            "student; remove it and use --train-missing"
        )
    return ""


def _compare_again(candidate: Candidate, kept: npt.NDArray[np.float16], data: Data) -> str:
    """Whether a student that was trained again gave the very logits of the first time."""
    run = replace(candidate, folder=(candidate.weights or candidate.folder).parent)
    fresh = logits(run, data.part(PART).labels, kept.shape[1])
    if np.array_equal(fresh, kept):
        return (
            f"{candidate.name} was trained again and predicts as before, bit for bit in half "
            "precision."
        )
    gap = np.abs(fresh.astype(np.float32) - kept.astype(np.float32)).max()
    changed = int((fresh.argmax(1) != kept.argmax(1)).sum())
    return (
        f"{candidate.name} was trained again and is not the same bit for bit: its logits on "
        f"{PART} differ by up to {gap:.2g}, {changed} of {len(kept)} predictions with them. The "
        "scores are those of the new weights; the choice rests on the old logits."
    )
