"""A user's own recipe as the next trial of a study, whether somebody runs the study or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.search import ledger, queue
from autosd.search.inverse import filled_in, params_of
from autosd.search.knobs import STRATEGY
from autosd.search.records import TrialRecord
from autosd.search.study import StudyFolder, close


@dataclass(frozen=True)
class Enqueued:
    """What became of a recipe.

    Attributes:
        study: name of the study.
        request: the request in the study's folder; empty where an earlier trial is the same.
        same_as: the earlier trial with the same parameters, else None.
        params: of the trial.
        planned: trials of the study in all.
        room: trials of the plan that are neither ended, running, waiting nor asked for before.
        ahead: trials that are beyond the plan, being asked for before.
        objective: of the study.
        notes: what the user should know.
    """

    study: str
    request: str
    same_as: TrialRecord | None
    params: Mapping[str, Any]
    planned: int
    room: int
    ahead: int
    objective: str
    notes: tuple[str, ...]

    @property
    def family(self) -> str:
        """Family of the trial."""
        return str(self.params[STRATEGY])

    def mapping(self) -> dict[str, Any]:
        """The JSON of `autosd enqueue`."""
        return {
            "study": self.study,
            "request": self.request or None,
            "same_as": None if self.same_as is None else self.same_as.number,
            "params": dict(self.params),
            "planned": self.planned,
            "room": self.room,
            "notes": list(self.notes),
        }


def enqueue(name: str, root: Path, file: Path) -> Enqueued:
    """Ask for a recipe to be tried in a study; what the file leaves out is as in the study.

    The process that runs the study takes it up when it asks for its next trial; otherwise the next
    search does. It counts as one of the planned trials.

    Args:
        name, root: which study.
        file: a recipe, or some of its keys.

    Raises:
        AutosdError: no such study, or the recipe cannot be a trial of it; says what is in the way.
    """
    folder = StudyFolder.find(name, root)
    recipe, notes = _read(folder, file)
    params = _params(folder, recipe, file)
    study = folder.load()
    try:
        records = folder.records(study)
        counts = ledger.counts(study)
    finally:
        close(study)
    same = next((one for one in records if one.state != "waiting" and one.params == params), None)
    asked = len(queue.requests(folder.path))
    planned, objective = folder.definition.trials, folder.definition.objective
    room = planned - (counts.counted + counts.running + counts.waiting + asked)
    request = "" if same else queue.leave(folder.path, params, file.name).name
    places = max(0, room), max(0, -room)
    return Enqueued(folder.name, request, same, params, planned, *places, objective, notes)


def _read(folder: StudyFolder, file: Path) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of a file, checked, and what is to be said of it."""
    from autosd.strategies.check import check_recipe

    values = yamlfile.read(file)
    if not isinstance(values, Mapping):
        raise AutosdError(f"{file}: a mapping of keys to values is needed")
    if "strategies" not in values:
        raise AutosdError(f"{file}: strategies: is missing; which are to be tried?")
    base = folder.definition.recipe.with_seed(folder.definition.seed)
    recipe = Recipe.parse(filled_in(values, folder.space, base), str(file))
    notes = check_recipe(recipe, str(file))
    if recipe.seed != base.seed:
        notes.append(f"every trial of a study has its seed, {base.seed}, not {recipe.seed}")
    return recipe, tuple(notes)


def _params(folder: StudyFolder, recipe: Recipe, file: Path) -> dict[str, Any]:
    from autosd.strategies.strategy import discover

    base = folder.definition.recipe.with_seed(folder.definition.seed)
    try:
        return params_of(folder.space, recipe, base, discover())
    except AutosdError as error:
        lines = [f"{file}: {line}" for line in str(error).splitlines()]
        raise AutosdError(
            "\n".join([f"{file}: cannot be a trial of study {folder.name}:", *lines])
        ) from None
