"""Search for the best self-distillation recipe for your data and network.

The public names are imported when they are first used, so that `import autosd` costs nothing.
"""

import sys
from importlib import import_module, metadata
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosd.data.loading import load_data
    from autosd.errors import AutosdError, TrialDiverged
    from autosd.recipe import Recipe, StudyDefinition
    from autosd.results.api import Study
    from autosd.results.calls import search
    from autosd.results.train import train
    from autosd.strategies.strategy import Strategy
    from autosd.training.ensemble import load
    from autosd.training.trainer import Trainer

    __version__: str

__all__ = [
    "AutosdError",
    "Recipe",
    "Strategy",
    "Study",
    "StudyDefinition",
    "Trainer",
    "TrialDiverged",
    "load",
    "load_data",
    "search",
    "train",
]

_HOMES = {
    "AutosdError": "autosd.errors:AutosdError",
    "Recipe": "autosd.recipe:Recipe",
    "Strategy": "autosd.strategies.strategy:Strategy",
    "Study": "autosd.results.api:Study",
    "StudyDefinition": "autosd.recipe:StudyDefinition",
    "Trainer": "autosd.training.trainer:Trainer",
    "TrialDiverged": "autosd.errors:TrialDiverged",
    "load": "autosd.training.ensemble:load",
    "load_data": "autosd.data.loading:load_data",
    "train": "autosd.results.train:train",
}


class _Search(ModuleType):
    """The package `autosd.search`, which may be called: `autosd.search(...)` runs a study."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return import_module("autosd.results.calls").search(*args, **keywords)

    def __reduce__(self) -> tuple[Any, ...]:
        return import_module, (self.__name__,)


import_module("autosd.search")
sys.modules["autosd.search"].__class__ = _Search


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("autosd")
    if name not in _HOMES:
        raise AttributeError(f"module 'autosd' has no attribute '{name}'")
    module, attribute = _HOMES[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
