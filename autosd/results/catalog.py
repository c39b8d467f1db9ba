"""What can be chosen, as plain values: strategies with their knobs, models, data, spaces, ..."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autosd import resources, yamlfile

REFERENCE_CLASSES = 10
REFERENCE_SHAPE = (3, 32, 32)
REFERENCE_MODEL = "resnet20"
Entries = list[dict[str, Any]]


def strategies() -> Entries:
    """Every strategy: name, slots, reference, cost (on ResNet-20 at 32 pixels), knobs."""
    from autosd.strategies.strategy import discover

    return [
        {
            "name": name,
            "slots": sorted(slot.value for slot in kind.slots),
            "reference": kind.reference,
            "cost": cost(name),
            "knobs": knobs(kind.Knobs.model_json_schema()),
        }
        for name, kind in sorted(discover().items())
    ]


def cost(name: str) -> dict[str, float]:
    """Declared forwards, backwards and step cost (cross-entropy 1) of a strategy's defaults."""
    import torch

    from autosd.models.build import build_student
    from autosd.recipe import Recipe
    from autosd.strategies.check import build_strategies
    from autosd.strategies.strategy import RunSpec

    recipe = Recipe.parse(
        {"data": "cifar10", "model": REFERENCE_MODEL, "strategies": [name], "epochs": 30}
    )
    student = build_student(recipe.model, REFERENCE_CLASSES, REFERENCE_SHAPE, 0)
    labels = torch.arange(REFERENCE_CLASSES)
    run = RunSpec(
        REFERENCE_CLASSES, len(labels), labels, REFERENCE_SHAPE, 8, 30, torch.device("cpu")
    )
    (strategy,) = build_strategies(recipe, student, run, 0)
    declared = strategy.cost()
    return {
        "forwards": round(declared.forwards, 3),
        "backwards": round(declared.backwards, 3),
        "step": round(declared.step, 3),
    }


def knobs(schema: dict[str, Any]) -> Entries:
    """Name, default and valid values of each knob of a JSON schema."""
    return [
        {
            "name": name,
            "default": field.get("default"),
            "valid": valid(field),
            "meaning": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def valid(field: dict[str, Any]) -> str:
    """What a field of a JSON schema takes, in words: `number >= 0, <= 1`, or its choices."""
    if "enum" in field:
        return ", ".join(str(choice) for choice in field["enum"])
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " or ".join(valid(branch) for branch in field["anyOf"])
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[key]}" for key, sign in signs.items() if key in field]
    return " ".join([str(field.get("type", "any")), ", ".join(bounds)]).strip()


def models() -> Entries:
    """Families of our own; timm's names are accepted beside them."""
    from autosd.models.build import model_names

    own = [{"name": name, "source": "autosd"} for name in model_names()]
    return [*own, {"name": "any timm backbone, such as mobilenetv3_small_050", "source": "timm"}]


def data() -> Entries:
    """Data sets by name, and the two kinds of paths."""
    from autosd.data.loading import data_names

    named = [{"name": name} for name in data_names()]
    return [*named, {"name": "npz:PATH"}, {"name": "folder:PATH"}]


def spaces() -> Entries:
    """Shipped search spaces with their families."""
    return [
        {"name": name, "families": ", ".join(_families(name))}
        for name in resources.names("search_spaces")
    ]


def _families(name: str) -> list[str]:
    values = yamlfile.read(resources.find("search_spaces", name))
    return list((values or {}).get("strategies") or {})


def studies(directory: Path) -> Entries:
    """Shipped definitions, and the studies under `directory`."""
    shipped = [
        {"name": name, "what": "definition", "where": f"autosd search {name}"}
        for name in resources.names("studies")
    ]
    started = [
        {"name": path.parent.name, "what": "study", "where": str(path.parent)}
        for path in sorted(directory.glob("*/study.yaml"))
    ]
    return shipped + started


def samplers() -> Entries:
    """Samplers by name."""
    from autosd.search.samplers import SAMPLERS

    return [{"name": name, "what": what} for name, what in SAMPLERS.items()]


def pruners() -> Entries:
    """Pruners by name."""
    from autosd.search.pruners import PRUNERS

    return [{"name": name, "what": what} for name, what in PRUNERS.items()]


LISTS: dict[str, Callable[[], Entries]] = {
    "strategies": strategies,
    "models": models,
    "data": data,
    "spaces": spaces,
    "samplers": samplers,
    "pruners": pruners,
}
