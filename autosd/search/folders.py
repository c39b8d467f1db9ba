"""The folder of a trial that begins, or goes on."""

import shutil
from pathlib import Path

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.files import write_text
from autosd.recipe import Recipe

RECIPE = "recipe.yaml"


def take(folder: Path, recipe: Recipe) -> None:
    """Write a trial's recipe to its folder, emptied first where that holds another one's run.

    A power cut may take the last commits from the database and leave the files of their trials
    (rule R35). Their numbers are then given again: no curve, checkpoint or logits of a lost trial
    may pass for those of its successor.
    """
    if _of_another(folder / RECIPE, recipe):
        shutil.rmtree(folder)
    write_text(folder / RECIPE, yamlfile.dumps(recipe.mapping()))


def _of_another(path: Path, recipe: Recipe) -> bool:
    """Whether a file holds another recipe; one that cannot be read proves nothing."""
    try:
        return path.exists() and Recipe.read(path).fingerprint() != recipe.fingerprint()
    except AutosdError:
        return False
