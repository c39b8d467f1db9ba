"""Runs on all training data: `train`, `val` and `select` give gradients, `test` is read at the end.

What `retrain` and the students of an ensemble have in common. The record are the folders: a run
with a result is a fact and stays, one that was interrupted goes on at its epoch.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from autosd.data.dataset import Data
from autosd.results.readings import now
from autosd.results.room import of_runs
from autosd.search import code
from autosd.search.engines import Engine, EngineChoice
from autosd.search.jobs import Job
from autosd.search.lists import ListBridge, Plan, Run
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter
from autosd.search.progress import Quiet, Watch
from autosd.search.study import StudyFolder

FIRST_SEED = 2000
TRAIN_ON = ("train", "val", "select")
PART = "test"


def train_runs(
    folder: StudyFolder,
    data: Data,
    runs: Sequence[Run],
    lock: StudyLock,
    *,
    into: Path | None = None,
    slots: int | None = None,
    watch: Watch | None = None,
    engine: EngineChoice = "ray",
) -> dict[str, str]:
    """Do the runs that have no result yet; each reading of test is on record before it happens.

    A run keeps `result.json` (metrics on test after its last epoch), `logits.npz` (test, float16)
    and its student in `model/`.

    Args:
        folder: of the study.
        data: of the study; its fingerprint is that of every run.
        runs: in the order in which they are begun.
        lock: of the study, held.
        into: folder of the runs below the study's, None for its `retrain/`.
        slots: runs at the same time, None for as many as the study has, or as there is room for.
        watch: hears of every event.
        engine: `ray`, a `Cluster` to join, or `inline` for one run at a time in this process.

    Returns:
        Name of a run -> why it gave no result; failed ones are tried again by the next call.

    Raises:
        AutosdError: a folder holds another recipe, or was trained on other data.
        EngineLost: Ray ended; the same call goes on.
    """
    into, watch = into or folder.retrain, watch or Quiet()
    each = folder.definition.per_trial
    machine = Engine(engine, slots or folder.definition.slots, each)
    plan = Plan(into, data.fingerprint, _job(folder, lock))
    meter = Meter(machine.slots)
    bridge = ListBridge(plan, runs, meter, watch)
    left = [run for run in bridge.runs if not bridge.folder(run, "result.json").exists()]
    if not left:
        return {}
    of_runs(into, left, data, machine.slots, (PART,)).check()
    code.remark(folder.path, folder.definition.recipe.model.name, watch.say)
    _record_readings(folder, [bridge.folder(run) for run in left])
    with machine:
        machine.drive(bridge, watch, meter.resize)
    for failed, why in bridge.failures.items():
        watch.say(f"{into.name}/{failed} gave no result: {why}")
    return bridge.failures


def _job(folder: StudyFolder, lock: StudyLock) -> Job:
    each = folder.definition.per_trial
    return Job(
        key="",
        recipe={},
        folder="",
        train_on=TRAIN_ON,
        evaluate_on=(),
        final=(PART,),
        keep_logits=(PART,),
        export=True,
        details={"study": folder.name, "trained_on": list(TRAIN_ON)},
        token=lock.token,
        lock=str(folder.lock_path.resolve()),
        cpus=each.cpus,
        gpus=each.share,
        epoch_seconds=folder.definition.epoch_seconds,
        root=str(folder.path),
    )


def _record_readings(folder: StudyFolder, runs: Sequence[Path]) -> None:
    """Announce one reading for each run; that of a run which is taken up again is there already."""
    known = {reading["who"] for reading in folder.split.readings()}
    for run in runs:
        who = Path(os.path.relpath(run, folder.path)).as_posix()
        if who not in known:
            folder.split.note_reading(who, now())
