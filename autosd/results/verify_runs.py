"""Runs of lists (finalists, retraining, comparisons, ensembles' members): their folders."""

import math
from pathlib import Path
from typing import Any

from autosd.data.dataset import Data
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.results.ensembled import FILE, FOLDER, read_ensembled
from autosd.results.retrained import read_retrained
from autosd.results.verify_faults import PUT_BACK, Check
from autosd.results.verify_trial import check_logits, read_history
from autosd.search.finalists import CHOOSE_ANEW, CHOSEN
from autosd.search.lists import read_record
from autosd.search.study import StudyFolder

AGAIN = "move the folder away: then the same command trains it again"
TESTED = ("retrain", "ensemble/distilled")


def check_runs(folder: StudyFolder, data: Data | None, live: bool, check: Check) -> None:
    """Check every run that has a result, and that the finalists have theirs."""
    split = folder.path / "split.json"
    known = check.read_json(split, split.name) if split.is_file() else {}
    expected = (known or {}).get("fingerprint")
    for job in sorted(folder.path.glob("**/job.json")):
        path = job.parent
        if (path / "result.json").is_file() and not hidden(folder, path):
            where = _where(folder, path)
            with check.form_of(f"{where}/result.json", AGAIN):
                _check_run(path, where, expected, data, check)
    with check.form_of(f"finalists/{CHOSEN}", CHOOSE_ANEW):
        _check_finalists(folder, live, check)
    with check.form_of(split.name):
        _check_readings(folder, known or {}, check)
    for read in (read_retrained, read_ensembled):
        try:
            read(folder)
        except (AutosdError, KeyError, TypeError, ValueError) as error:
            check.wrong("results.json", str(error), "repeat retrain or ensemble; runs are kept")


def hidden(folder: StudyFolder, path: Path) -> bool:
    """Whether it lies in a folder that is still to be renamed, or was."""
    return any(part.startswith(".") for part in path.relative_to(folder.path).parts)


def _where(folder: StudyFolder, path: Path) -> str:
    return path.relative_to(folder.path).as_posix()


def _check_run(
    path: Path, where: str, expected: str | None, data: Data | None, check: Check
) -> None:
    """A run with a result: recipe, data, scores, curve, logits."""
    check.count("runs of lists")
    result = check.read_json(path / "result.json", f"{where}/result.json", AGAIN)
    try:
        recipe = Recipe.read(path / "recipe.yaml")
    except AutosdError as error:
        check.wrong(f"{where}/recipe.yaml", str(error), PUT_BACK)
        return
    if result is None:
        return
    try:
        read_record(path)
    except AutosdError as error:
        raise ValueError(str(error).removeprefix(f"{path}/")) from None
    if result.get("seed") != recipe.seed or not where.endswith(f"-{recipe.seed}"):
        what = f"result, recipe and folder have other seeds ({result.get('seed')}, {recipe.seed})"
        check.wrong(where, what, AGAIN)
    if expected is not None and result.get("data") != expected:
        check.wrong(f"{where}/result.json", "is of other data than the study", AGAIN)
    if "failure" in result:
        return
    _check_scores(result, where, check)
    history = read_history(path / "history.jsonl", where, check)
    if history is not None and len(history) != result.get("epochs"):
        what = f"has {len(history)} epochs, its result says {result.get('epochs')}"
        check.wrong(f"{where}/history.jsonl", what, AGAIN)
    logits = path / "logits.npz"
    if logits.is_file():
        check_logits(logits, f"{where}/logits.npz", (), data, check)


def _check_scores(result: dict[str, Any], where: str, check: Check) -> None:
    for part, scores in (result.get("metrics") or {}).items():
        for name, value in scores.items():
            share = name in ("top1", "top5", "balanced_accuracy")
            number = isinstance(value, int | float) and math.isfinite(value)
            if not number or (share and not 0 <= value <= 1):
                check.wrong(f"{where}/result.json", f"{name} on {part} is {value!r}", AGAIN)


def _check_finalists(folder: StudyFolder, live: bool, check: Check) -> None:
    """Who was chosen, and whether their runs are there with the recipes that were chosen."""
    path = folder.finalists / CHOSEN
    if not path.is_file():
        return
    chosen = check.read_json(path, f"finalists/{CHOSEN}", CHOOSE_ANEW)
    if chosen is None:
        return
    if not chosen.get("confirmed") and not live:
        check.note("the finalists are not confirmed yet; the same search goes on")
    for entry in chosen["finalists"]:
        recipe = Recipe.parse(entry["recipe"])
        for seed in entry["seeds"]:
            run = folder.finalists / f"{entry['label']}-{seed}"
            _check_chosen(run, recipe.with_seed(seed), bool(chosen.get("confirmed")), check)


def _check_chosen(run: Path, recipe: Recipe, confirmed: bool, check: Check) -> None:
    where = f"finalists/{run.name}"
    if not (run / "result.json").is_file():
        if confirmed and (run / "error.txt").is_file():
            check.note(f"{where} failed; the next search tries it again")
        elif confirmed:
            check.wrong(where, "has no result although its finalist is confirmed", PUT_BACK)
        return
    try:
        written = Recipe.read(run / "recipe.yaml")
    except AutosdError:
        return  # said before
    if written.fingerprint() != recipe.fingerprint():
        check.wrong(f"{where}/recipe.yaml", "is not the recipe that was chosen", AGAIN)


def _check_readings(folder: StudyFolder, split: dict[str, Any], check: Check) -> None:
    """Every run that has scores on test, and an ensemble, has announced that it reads test."""
    announced = {reading.get("who") for reading in split.get("test_readings", ())}
    results = [
        path for runs in TESTED for path in sorted(folder.path.glob(f"{runs}/*/result.json"))
    ]
    ensembles = folder.path.glob(f"{FOLDER}/{FILE}")
    for who in (_where(folder, path.parent) for path in (*results, *ensembles)):
        if who not in announced:
            what = f"the reading of test by {who} is not on record"
            check.wrong("split.json", what, "put back a copy of it; reports count these readings")
