"""Everything of a search that can be checked before anything is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autosd.data.dataset import Data
from autosd.data.loading import check_data, load_data
from autosd.errors import AutosdError
from autosd.models.build import build_student, check_model
from autosd.recipe import ModelSpec, StudyDefinition
from autosd.search.advice import check_space, few_steps
from autosd.search.pruners import make_pruner
from autosd.search.samplers import check_sampler
from autosd.search.space import Space
from autosd.strategies.check import check_combination, check_recipe
from autosd.strategies.strategy import discover
from autosd.training.evaluation import check_room


@dataclass(frozen=True)
class Ready:
    """A checked definition with what was needed to check it, and what the user should know."""

    definition: StudyDefinition
    space: Space
    data: Data
    advice: tuple[str, ...] = ()


def check(
    definition: StudyDefinition,
    overrides: Mapping[str, Any] | None = None,
    *,
    cache: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Ready:
    """Check everything that can be checked before anything is written, and load the data.

    Args:
        definition: resolved.
        overrides: parameters of the space fixed by `--set`.
        cache: folder of decoded images, None for the default.
        progress: of decoding, as `load_data` tells it.

    Raises:
        AutosdError: all faults that were found, one per line.
    """
    recipe = definition.recipe
    spaces: list[Space] = []
    _together(
        lambda: check_data(recipe.data),
        lambda: check_model(recipe.model),
        lambda: check_sampler(definition.sampler),
        lambda: make_pruner(definition.pruner, recipe.epochs),
        lambda: check_recipe(recipe),
        lambda: spaces.append(_read_space(definition, overrides)),
    )
    data = load_data(recipe.data, cache=cache, progress=progress)
    student = build_student(recipe.model, len(data.class_names), data.image_shape, seed=0)
    for part in ("val", "select"):
        check_room(data.counts[part], len(data.class_names), part)
    images = sum(data.counts[part] for part in ("train", "val", "select"))
    advice = check_space(spaces[0], recipe, student, images)
    few = few_steps(recipe, data.counts["train"])
    return Ready(definition, spaces[0], data, (*advice, *few))


def _read_space(definition: StudyDefinition, overrides: Mapping[str, Any] | None) -> Space:
    return Space.read(
        definition.space,
        discover(),
        check_combination,
        overrides,
        stages=_stages(definition.recipe.model),
        base=definition.recipe,
    )


def _stages(model: ModelSpec) -> int:
    """Feature maps of a student, whatever its images; of an unknown one as many as most have."""
    try:
        spec = model.model_copy(update={"pretrained": False})
        return len(build_student(spec, 10, (3, 32, 32), seed=0).spec.stages)
    except AutosdError:
        return 4


def _together(*checks: Callable[[], object]) -> None:
    """Run all checks; their faults in one error."""
    faults = []
    for act in checks:
        try:
            act()
        except AutosdError as error:
            faults.append(str(error))
    if faults:
        raise AutosdError("\n".join(dict.fromkeys(faults)))
