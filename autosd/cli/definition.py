"""The words of the command line for what `autosd.search.definition` resolves."""

from collections.abc import Mapping, Sequence
from typing import Any

from autosd import resources, yamlfile
from autosd.errors import AutosdError
from autosd.recipe import Recipe, StudyDefinition, unknown
from autosd.search import definition
from autosd.search.knobs import is_range

OPTIONS = {
    "name": "--name",
    "recipe.data.name": "--data",
    "recipe.model": "--model",
    "space": "--space",
    "trials": "--trials",
    "recipe.epochs": "--epochs",
    "time_budget": "--time-budget",
    "patience": "--patience",
    "sampler": "--sampler",
    "pruner": "--pruner",
    "slots": "--slots",
    "per_trial.cpus": "--cpus-per-trial",
    "per_trial.gpus": "--gpus-per-trial",
    "seed": "--seed",
}


def assignments(pairs: Sequence[str]) -> dict[str, Any]:
    """`["optimizer.lr=0.05"]` as a mapping with YAML values.

    Raises:
        AutosdError: a pair without `=` or with an empty key.
    """
    result = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip():
            raise AutosdError(f"--set {pair}: key=value is needed, such as optimizer.lr=0.05")
        result[key.strip()] = yamlfile.loads(text, f"--set {key}")
    return result


def resolve(
    values: dict[str, Any], where: str, options: Mapping[str, Any], sets: Mapping[str, Any]
) -> tuple[StudyDefinition, dict[str, Any]]:
    """`definition.resolve` with faults in the words of the command line."""
    return definition.resolve(values, where, options, sets, definition.Words(OPTIONS, "--set"))


def refuse_drawn(settings: Mapping[str, Any]) -> None:
    """A comparison has no space: a range or a strategy's knob would be passed over in silence.

    Raises:
        AutosdError: either was given; one line for each.
    """
    faults = []
    for key, value in settings.items():
        first = key.split(".")[0]
        if first in Recipe.model_fields and is_range(value):
            faults.append(f"--set {key}: one value is needed; a comparison draws none")
        elif first in resources.names("search_spaces"):
            faults.append(
                f"--set {key}: strategies with other knobs than their defaults are compared as "
                "recipe files, named in --strategies"
            )
        elif first not in Recipe.model_fields:
            faults.append(f"--set {key}: {unknown('key of a recipe', first, Recipe.model_fields)}")
    if faults:
        raise AutosdError("\n".join(faults))
