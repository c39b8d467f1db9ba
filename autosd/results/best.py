"""The folder `best/` of a study: the winner's recipe, student, scores and card, whole or absent."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autosd import stored, yamlfile
from autosd.errors import AutosdError
from autosd.files import write_json, write_text
from autosd.recipe import Recipe
from autosd.results.card import Card, table, text
from autosd.results.card_facts import data_lines, score_facts, score_lines
from autosd.results.outcome import Winner, against_baseline
from autosd.search.finalists import read_finalists
from autosd.search.lists import TRAIN_AGAIN, read_recipe, read_record
from autosd.search.study import StudyFolder

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
MODEL = (WEIGHTS, DESCRIPTION)
ORIGINS = ("confirmation", "retrain")
WRITE_ANEW = (
    "put back a copy of it, or move best/ away: `autosd search` and `autosd retrain` write it anew"
)


def write_from_confirmation(folder: StudyFolder, won: Winner) -> bool:
    """Fill `best/` with the winner's student of the first confirmation seed, its card up to date.

    A student that `retrain` made of the same recipe is better and stays.

    Returns:
        Whether `best/` now holds this winner.
    """
    if won.source is None or not (won.source / "model" / DESCRIPTION).is_file():
        return False
    restore(folder.best)
    kept = holds(folder.best, won.recipe)
    if kept == "retrain":
        return True
    recipe = read_recipe(won.source)
    metrics = read_record(won.source).metrics
    finalists = read_finalists(folder.finalists, folder.minimise)
    compared = against_baseline(finalists, folder.minimise)
    card = Card(
        study=folder.name,
        recipe=recipe,
        label=won.label,
        trained_on=("train",),
        origin="confirmation",
        metrics=metrics,
        table=table(compared, won.score.objective, won.score.images),
        remarks=("Means over fresh seeds on `select`, which the search never saw.",),
        data=data_lines(folder, won.source / "model" / DESCRIPTION),
        score=score_lines(won),
        readings=len(folder.split.readings()),
    )
    facts = {
        "origin": "confirmation",
        "label": won.label,
        "strategies": list(won.strategies),
        "winner": won.recipe.fingerprint(),
        "seed": recipe.seed,
        "trained_on": ["train"],
        "metrics": metrics,
        "score": score_facts(won),
    }
    shown = folder.best / "README.md"
    if not (kept and shown.is_file() and shown.read_bytes() == text(card).encode()):
        write(folder.best, won.source / "model", recipe, facts, card)
    return True


def write(
    best: Path,
    model: Path,
    recipe: Recipe,
    facts: dict[str, Any],
    card: Card,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Put a new folder in the place of `best` in one rename.

    Args:
        best: the folder to be replaced.
        model: has `model.safetensors` and `model.json`.
        recipe: that trained this student.
        facts: for `metrics.json`.
        card: for `README.md`.
        details: added to those of `model.json`.
    """

    from autosd.training.export import check_exported

    def fill(new: Path) -> None:
        with stored.sound(model, TRAIN_AGAIN):
            check_exported(model)
        shutil.copyfile(model / WEIGHTS, new / WEIGHTS)
        told = stored.load(model / DESCRIPTION)
        told["details"] = {**told.get("details", {}), **(details or {})}
        write_json(new / DESCRIPTION, told)
        write_text(new / "recipe.yaml", yamlfile.dumps(recipe.mapping()))
        write_json(new / "metrics.json", facts)
        write_text(new / "README.md", text(card))

    replace(best, fill)


def replace(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder beside `folder`, then let it take the place of the old one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore(folder)
    old = _old(folder)
    new = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        fill(new)
        new.chmod(0o755)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        restore(folder)


def restore(folder: Path) -> None:
    """Put back what `replace` had moved out of the way before it failed, or remove it for good."""
    if folder.exists():
        shutil.rmtree(_old(folder), ignore_errors=True)
    elif _old(folder).exists():
        os.replace(_old(folder), folder)


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def holds(best: Path, recipe: Recipe) -> str | None:
    """The origin of the student in `best/` if it is of this winning recipe, else None.

    Seed and epochs may differ: `retrain` chooses its own.
    """
    there = student(best)
    if there is None:
        return None
    its, origin = there
    same = its.model_copy(update={"seed": recipe.seed, "epochs": recipe.epochs})
    return origin if same.fingerprint() == recipe.fingerprint() else None


def student(best: Path) -> tuple[Recipe, str] | None:
    """Recipe and origin of the student in `best/`; None where there is none.

    Raises:
        AutosdError: a file is damaged or lost, or `best` is no folder; names it and the way out.
    """
    if best.is_symlink() or (best.exists() and not best.is_dir()):
        raise AutosdError(f"{best}: is no folder of its own; {WRITE_ANEW}")
    if not all((best / name).is_file() for name in MODEL):
        return None
    path = best / "metrics.json"
    with stored.sound(best / "recipe.yaml", WRITE_ANEW):
        recipe = Recipe.read(best / "recipe.yaml")
    with stored.sound(path, WRITE_ANEW):
        facts = stored.load(path)
        origin: str = facts["origin"]
        if origin not in ORIGINS:
            raise ValueError(f"origin is {origin!r:.60}")
        if facts["seed"] != recipe.seed:
            raise ValueError(f"seed is {facts['seed']!r:.60}, recipe.yaml says {recipe.seed}")
    return recipe, origin
