"""Search for the best self-distillation recipe for your data and network.

The public names are imported when they are first used, so that `import autosd` costs nothing.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosd.data.loading import load_data
    from autosd.errors import AutosdError, TrialDiverged
    from autosd.recipe import Recipe, StudyDefinition
    from autosd.strategies.strategy import Strategy
    from autosd.training.export import load_student as load
    from autosd.training.trainer import Trainer

    __version__: str

__all__ = [
    "AutosdError",
    "Recipe",
    "Strategy",
    "StudyDefinition",
    "Trainer",
    "TrialDiverged",
    "load",
    "load_data",
]

_HOMES = {
    "AutosdError": "autosd.errors:AutosdError",
    "Recipe": "autosd.recipe:Recipe",
    "Strategy": "autosd.strategies.strategy:Strategy",
    "StudyDefinition": "autosd.recipe:StudyDefinition",
    "Trainer": "autosd.training.trainer:Trainer",
    "TrialDiverged": "autosd.errors:TrialDiverged",
    "load": "autosd.training.export:load_student",
    "load_data": "autosd.data.loading:load_data",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("autosd")
    if name not in _HOMES:
        raise AttributeError(f"module 'autosd' has no attribute '{name}'")
    module, attribute = _HOMES[name].split(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
