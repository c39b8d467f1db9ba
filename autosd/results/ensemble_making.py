"""The folder `ensemble/`: members, weights, scores and card, whole or absent."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autosd.data.dataset import Data
from autosd.data.loading import load_data
from autosd.files import write_json, write_text
from autosd.results import best
from autosd.results.ensemble_card import text
from autosd.results.ensemble_choice import Plan
from autosd.results.ensemble_members import Work, compare_with_kept, stage
from autosd.results.ensemble_pool import FINALIST, MEMBERS, PART, Candidate
from autosd.results.ensemble_worth import (
    Networks,
    device_of,
    gains,
    opening,
    relative_cost,
    sentence,
)
from autosd.results.ensembled import FILE, FOLDER, FORMAT, Member, ensembled
from autosd.results.readings import now
from autosd.training.ensemble import Share, write_ensemble

DISTILLED = "distilled"
RUNS = (MEMBERS, DISTILLED)
METHOD = (
    "Intervals are paired by image: McNemar's exact test and Clopper and Pearson's interval for "
    "top-1, Student's t for NLL. They cover other images of this kind, not other training seeds.",
    "All members were trained on train alone. The choice rests on folds of select; val, which "
    "guided the search, takes no part in it.",
)


def make(plan: Plan, work: Work, target: Path) -> None:
    """Evaluate the ensemble, then let it take its folder in one rename.

    Raises:
        AutosdError: a checkpoint is damaged, or holds another student than its logits say.
    """
    with tempfile.TemporaryDirectory(prefix="autosd-") as name:
        staged = Path(name)
        students = {one.name: one for one in (*plan.members, plan.best)}
        places = {key: stage(one, work.data, staged) for key, one in students.items()}
        told = [_compared(plan, one, places[one.name], work.data) for one in students.values()]
        weights = [weight for _, weight in plan.chosen.members]
        shares = [
            Share(one.name, places[one.name], weight)
            for one, weight in zip(plan.members, weights, strict=True)
        ]
        made, single = staged / FOLDER, places[plan.best.name]
        made.mkdir()
        write_ensemble(made, shares, {"study": work.folder.name, "trained_on": ["train"]})
        values = {
            **_values(plan, work, made, single, [line for line in told if line]),
            "relative_cost": relative_cost([share.source for share in shares], single),
        }
        best.replace(target, lambda new: _fill(new, made, target, values, work.folder.name))


def _fill(new: Path, made: Path, old: Path, values: Mapping[str, Any], study: str) -> None:
    """Everything the folder has: the ensemble, the runs that were there, results and card."""
    shutil.copytree(made, new, dirs_exist_ok=True)
    for runs in RUNS:
        if (old / runs).is_dir():
            shutil.copytree(old / runs, new / runs, copy_function=_link)
    write_results(new, values, study)


def write_results(place: Path, values: Mapping[str, Any], study: str) -> None:
    """Write `results.json` and the card that tells the same."""
    write_json(place / FILE, values)
    write_text(place / "README.md", text(ensembled(values), study))


def _compared(plan: Plan, one: Candidate, place: Path, data: Data) -> str:
    position = [student.name for student in plan.pool.students].index(one.name)
    return compare_with_kept(one, place, plan.pool.logits[position], data)


def _values(
    plan: Plan, work: Work, made: Path, single: Path, told: Sequence[str]
) -> dict[str, Any]:
    """Everything `results.json` says; reads test, which is on record before."""
    folder, chosen = work.folder, plan.chosen
    device = device_of(folder)
    networks = Networks(made, single, device)
    pairs = {part: networks.on(work.data, part) for part in ("val", PART)}
    folder.split.note_reading(FOLDER, now())
    with_test = load_data(folder.definition.recipe.data, with_test=True)
    pairs["test"] = networks.on(with_test, "test")
    found = [*pairs["test"].gains("test"), *gains(PART, *chosen.held_out, plan.pool.labels)]
    members = [
        _member(one, weight) for one, (_, weight) in zip(plan.members, chosen.members, strict=True)
    ]
    remarks = [opening(chosen.choice.kind, members, plan.best.name)]
    if len(members) > 1 or members[0].name != plan.best.name:
        remarks += [sentence(gain) for gain in found if gain.part == "test"]
    return {
        "format": FORMAT,
        "key": plan.key,
        "metric": plan.metric,
        "size": plan.size,
        "folds": chosen.folds,
        "kind": chosen.choice.kind,
        "members": [asdict(member) for member in members],
        "best_member": plan.best.name,
        "forwards": len(members),
        "scores": {
            "ensemble": {part: pair.ensemble.metrics for part, pair in pairs.items()},
            "best_member": {part: pair.best.metrics for part, pair in pairs.items()},
        },
        "kinds": [asdict(kind) for kind in chosen.kinds],
        "gains": [asdict(gain) for gain in found],
        "candidates": len(plan.pool.students),
        "finalists": sum(one.origin == FINALIST for one in plan.pool.students),
        "left_out": plan.left_out,
        "images": {part: work.data.counts[part] for part in pairs},
        "remarks": [*remarks, *told, *_left_out(plan), *METHOD],
        "distilled": None,
    }


def _member(one: Candidate, weight: float) -> Member:
    return Member(
        name=one.name,
        label=one.label,
        seed=one.recipe.seed,
        family=one.family,
        strategies=one.strategies,
        trial=one.trial,
        origin=one.origin,
        weight=weight,
    )


def _left_out(plan: Plan) -> list[str]:
    if not plan.left_out:
        return []
    return [
        f"{plan.left_out} students of the search took no part: their weights are gone or of "
        "another version of autosd; with --train-missing they do, and those that the ensemble "
        "needs are trained again."
    ]


def _link(source: str, target: str) -> None:
    """A second name for a file that is only ever replaced, a copy where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
