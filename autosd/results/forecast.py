"""What a study will take: measured on a few steps of each family, nothing is written."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autosd.data.dataset import Data
from autosd.recipe import Recipe, SlotSpec
from autosd.results.room import RESERVE, finalist_runs, free, search_bytes
from autosd.search.engines import EngineChoice, slots_of
from autosd.search.needs import in_words
from autosd.search.ready import Ready
from autosd.search.study import study_path
from autosd.strategies.costs import planned_epochs
from autosd.training.trainer import Trainer

STEPS = 8


@dataclass(frozen=True)
class Forecast:
    """What to expect.

    Attributes:
        space: size of the space, as `Space.describe` gives it.
        seconds_per_epoch: by family, its published default.
        slots: runs at the same time.
        seconds: of the whole study if nothing is pruned, about.
        bytes: on disk at its end, about.
        free: bytes free on that disk.
        gpus: which share of a GPU trials get and why; empty where they need none.
    """

    space: dict[str, Any]
    seconds_per_epoch: dict[str, float]
    slots: int
    seconds: float
    bytes: float
    free: float
    gpus: str = ""

    @property
    def enough(self) -> bool:
        """Whether the disk has room for it."""
        return self.free >= self.bytes + RESERVE


def forecast(ready: Ready, root: Path, engine: EngineChoice = "ray") -> Forecast:
    """Measure an epoch of every family and add up, for a study under `root`."""
    definition, space = ready.definition, ready.space
    base = definition.recipe.with_seed(definition.seed)
    recipes = {
        family: space.recipe(space.default_params(family), base) for family in space.families
    }
    each = definition.per_trial
    measured = {family: _epoch(recipe, ready.data, each) for family, recipe in recipes.items()}
    slots = slots_of(engine, definition.slots, definition.per_trial)
    mean = sum(seconds * epochs for seconds, epochs in measured.values()) / len(measured)
    runs = definition.trials + finalist_runs(definition.finalists)
    return Forecast(
        space=space.describe(),
        seconds_per_epoch={family: seconds for family, (seconds, _) in measured.items()},
        slots=slots,
        seconds=runs * mean / slots,
        bytes=search_bytes(definition, ready.data, slots),
        free=free(root),
        gpus=in_words(study_path(root, definition.name), each.gpus),
    )


def _epoch(recipe: Recipe, data: Data, each: SlotSpec) -> tuple[float, int]:
    """Seconds of an epoch (second pass over a few batches, one evaluation), and its epochs."""
    few = data.rows["train"][: STEPS * recipe.batch_size]
    small = replace(data, rows={**data.rows, "train": few})
    short = recipe.model_copy(update={"epochs": 2, "budget": "epochs"})
    device = "cuda" if each.share > 0 else "cpu"
    trainer = Trainer(short, small, device=device, threads=each.cpus)
    _, report = trainer.epochs()
    speed = float(report.images_per_second)
    evaluation = max(0.0, float(report.seconds) - len(few) / speed)
    seconds: float = data.counts["train"] / speed + evaluation
    return seconds, planned_epochs(recipe, trainer.cost)
