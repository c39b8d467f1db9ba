"""From what a user gives, on the command line or in Python, to a study definition.

What is given beats the file, and a fault of it is named in the user's own words.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd import resources, stored, yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe, StudyDefinition, set_values
from autosd.search.knobs import is_range
from autosd.search.vocabulary import SEARCHABLE

DEFAULT_STUDY = "digits"
STUDY_KEYS = frozenset(StudyDefinition.model_fields) - {"recipe"}
UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Words:
    """What the user calls the things that he gives.

    Attributes:
        options: dotted key of the study -> its option or argument, such as `--data`.
        settings: where every other key is given, such as `--set`.
    """

    options: Mapping[str, str]
    settings: str


def default_definition(data: str) -> dict[str, Any]:
    """What is searched for a data set that no study file speaks of."""
    return {
        "name": study_name(data),
        "recipe": {
            "data": data,
            "model": "resnet20",
            "epochs": 15,
            "schedule": {"name": "cosine", "warmup_epochs": 1},
        },
        "space": "seeds",
        "trials": 40,
    }


def study_name(data: str) -> str:
    """A study name from a data set's name or path: `npz:../Some Set.npz` gives `some_set`."""
    last = data.split(":", 1)[-1].rstrip("/").rsplit("/", 1)[-1].removesuffix(".npz").lower()
    return re.sub(r"[^a-z0-9._-]+", "_", last).strip("._-")[:64] or "study"


def base_values(study: str | None, data: str | None, root: Path) -> tuple[dict[str, Any], str]:
    """The values to start from and where they stand, for messages.

    A study is a file, a shipped name, or the name of a study that already has a folder.
    """
    if study is None and data is not None and data not in resources.names("studies"):
        return default_definition(data), "study"
    name = study or data or DEFAULT_STUDY
    shipped = name in resources.names("studies")
    if not shipped and "/" not in name and has_begun(root / name):
        started = root / name / "study.yaml"
        return _values_of_begun(started, name), str(started)
    path = resources.find("studies", name)
    values = yamlfile.read(path)
    if not isinstance(values, dict):
        raise AutosdError(f"{path}: a mapping of keys to values is needed")
    return values, f"study {name}" if shipped else str(path)


def has_begun(folder: Path) -> bool:
    """Whether a folder is that of a study, be its definition lost once it had trials."""
    there = [os.path.lexists(folder / name) for name in ("space.yaml", "study.db")]
    return os.path.lexists(folder / "study.yaml") or ((folder / "trials").is_dir() and any(there))


def _values_of_begun(path: Path, name: str) -> dict[str, Any]:
    """The definition that a study's folder has."""
    values = begun_values(path)
    if values["name"] != name:
        raise AutosdError(
            f"{path}: is the study '{values['name']}'; to go on, move its folder to that name"
        )
    return values


def begun_values(path: Path) -> dict[str, Any]:
    """The values of the `study.yaml` of a study that has begun.

    Raises:
        AutosdError: it is damaged; names it and the way out.
    """
    with stored.sound(path, stored.WAY_OUT):
        values = yamlfile.read(path)
        if not isinstance(values, dict) or not isinstance(values.get("name"), str):
            raise ValueError("no definition of a study")
        return values


def resolve(
    values: dict[str, Any],
    where: str,
    options: Mapping[str, Any],
    sets: Mapping[str, Any],
    words: Words,
) -> tuple[StudyDefinition, dict[str, Any]]:
    """The definition with options and settings applied, and what is left for the space.

    Args:
        values: the raw study values.
        where: file or word that starts a message.
        options: dotted study keys to values; None means not given.
        sets: keys of the study, of the recipe, or knobs such as `masd.mask_ratio`. A range of a
            recipe's setting is the space's alone.
        words: how the user gave options and settings.

    Returns:
        The definition, and what fixes or draws parameters of the space.
    """
    study, of_space = {}, {}
    for key, value in sets.items():
        first = key.split(".")[0]
        if first in STUDY_KEYS:
            study[key] = value
            continue
        place = key.removeprefix("recipe.")
        if place in of_space:
            raise AutosdError(f"{words.settings} {place}: is given twice, once as recipe.{place}")
        of_space[place] = value
        drawn = is_range(value) and place.split(".")[0] in SEARCHABLE
        if not drawn and (first == "recipe" or first in Recipe.model_fields):
            study[key if first == "recipe" else f"recipe.{key}"] = value
    given = {key: value for key, value in options.items() if value is not None}
    try:
        definition = StudyDefinition.parse(set_values(values, {**given, **study}), where)
    except AutosdError as error:
        lines = [_blamed(line, where, given, sets, words) for line in str(error).splitlines()]
        raise AutosdError("\n".join(lines)) from None
    return definition, of_space


def _blamed(
    line: str, where: str, given: Mapping[str, Any], sets: Mapping[str, Any], words: Words
) -> str:
    """A fault with the option that caused it in the place of the file."""
    place = line.removeprefix(f"{where}: ")
    for key in sets:
        if place.removeprefix("recipe.").startswith(key.removeprefix("recipe.")):
            return f"{words.settings} {place.removeprefix('recipe.')}"
    for key in given:
        if place.startswith(f"{key}:"):
            return words.options[key] + place.removeprefix(key)
    return line


def seconds(text: str | None, option: str) -> float | None:
    """`90`, `90s`, `30m`, `2h` or `1d` in seconds; `option` is named where it is none of them.

    Raises:
        AutosdError: anything else, or nothing left of time.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip())
    if match is None or match[2] not in UNITS or float(match[1]) <= 0:
        raise AutosdError(f"{option} {text}: seconds or 90s, 30m, 2h are needed")
    return float(match[1]) * UNITS[match[2]]
