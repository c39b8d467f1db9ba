"""Hand-made studies that were confirmed, retrained, or made an ensemble of; no training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from autosd import yamlfile
from autosd.files import write_json, write_text
from autosd.recipe import Recipe
from autosd.results.report.story import Story
from autosd.search.finalists import Candidate, default, runs, write_chosen
from autosd.search.study import StudyFolder

from .studies import study

SCORES = {
    "cross_entropy": (0.80, 0.81, 0.79),
    "masd-default": (0.85, 0.87, 0.84),
    "cutmix-default": (0.80, 0.82, 0.80),
}
IMAGES = {"train": 600, "val": 200, "select": 200, "test": 400}
VERSIONS = {"autosd": "0.1.0", "torch": "2.15.0"}


def told(
    root: Path,
    scores: Mapping[str, Sequence[float]] = SCORES,
    *,
    name: str = "hand",
    trials: int = 24,
    command: Sequence[str] = ("/somewhere/bin/autosd", "search", "hand"),
    data: str = "0123456789abcdef",
    stopped: int = 6,
) -> StudyFolder:
    """A study whose finalists have these scores on `select`, one per seed.

    Args:
        root: folder of studies.
        scores: label (`cross_entropy` or `FAMILY-default`) -> score of each seed.
        name: of the study.
        trials: how many.
        command: that began it.
        data: fingerprint of the data and their division.
        stopped: every so manieth trial was pruned.
    """
    folder = study(root, lambda params: 0.7 + 0.1 * (params["strategy"] == "masd"), trials,
                   name=name, stopped=stopped)  # fmt: skip
    split = {"counts": IMAGES, "fingerprint": data, "test_readings": []}
    write_json(folder.path / "split.json", split)
    machine = {"processor": "a processor", "cores": 2}
    known = {"command": list(command), "versions": VERSIONS, "machine": machine, "git": "abc123"}
    write_json(folder.path / "environment.json", known)
    if scores:
        confirm(folder, scores)
    return StudyFolder.open(folder.path)


def confirm(folder: StudyFolder, scores: Mapping[str, Sequence[float]]) -> None:
    """Write the record of a confirmation."""
    seeds = len(next(iter(scores.values())))
    text = (folder.path / "study.yaml").read_text(encoding="utf-8")
    asked = text.replace("count: 0", "count: 3").replace("seeds: 3", f"seeds: {seeds}")
    write_text(folder.path / "study.yaml", asked)
    base = folder.definition.recipe
    candidates = [
        Candidate(label, family, default(folder.space, base, family).recipe, None, 0.8)
        for label in scores
        for family in [label.removesuffix("-default")]
    ]
    write_chosen(folder.finalists, candidates, seeds, "top1", confirmed=True)
    for candidate in candidates:
        for run, score in zip(runs([candidate], seeds), scores[candidate.label], strict=True):
            _write_run(folder.finalists / run.name, run.label, run.recipe, score)


def _write_run(path: Path, label: str, recipe: Recipe, score: float) -> None:
    metrics = {"top1": score, "nll": 1 - score, "ece": 0.05, "brier": 0.3}
    write_text(path / "recipe.yaml", yamlfile.dumps(recipe.mapping()))
    record = {
        "label": label,
        "seed": recipe.seed,
        "strategies": [spec.name for spec in recipe.strategies],
        "metrics": {"select": metrics, "val": metrics},
        "epochs": recipe.epochs,
        "seconds": 4.0,
    }
    write_text(path / "result.json", json.dumps(record))


def story(folder: StudyFolder) -> Story:
    """What is told of it."""
    return Story.read(StudyFolder.open(folder.path))
