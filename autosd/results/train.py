"""One recipe trained to its end in a folder of its own, resumable at every epoch."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosd import stored, yamlfile
from autosd.errors import AutosdError, TrialDiverged, WorkFailed
from autosd.files import write_json, write_text
from autosd.recipe import Recipe
from autosd.results.readings import note_reading
from autosd.search.capacity import processors

if TYPE_CHECKING:
    from torch.nn import Module

    from autosd.training.report import EpochReport
    from autosd.training.trainer import Trainer

RESULT = "metrics.json"
RUNS = Path("runs")
SHOWN = ("top1", "top5", "nll", "ece")
Watch = Callable[["EpochReport"], None]


@dataclass(frozen=True)
class Trained:
    """What a training run gave.

    Attributes:
        metrics: part -> `top1`, `top5`, `nll`, `ece` as fractions.
        epochs: epochs trained.
        images_per_second: of the training steps, mean over epochs.
        folder: holds `model.safetensors` and `model.json`; `autosd.load` takes it.
        images: part -> number of images.
        warnings: what the check of the recipe had to say.
    """

    metrics: dict[str, dict[str, float]]
    epochs: int
    images_per_second: float
    folder: Path
    images: dict[str, int]
    warnings: tuple[str, ...] = ()

    def load(self) -> "Module":
        """The student in eval mode; see `autosd.load`."""
        from autosd.training.export import load_student

        return load_student(self.folder)


def train(
    recipe: Recipe | Mapping[str, Any] | str | Path,
    folder: str | Path | None = None,
    *,
    test: bool = False,
    threads: int | None = None,
    watch: Watch = lambda report: None,
) -> Trained:
    """Train `recipe` on `train`, evaluate on `val` and, if asked, once on `test`.

    A run that was interrupted goes on from its last epoch; a finished one is not repeated.

    Args:
        recipe: or its keys as a mapping, or its file; checked before anything is written.
        folder: takes checkpoint, history, student and metrics; None is `runs/train-NAME` with the
            name of the recipe's file, or without one its hash.
        test: whether the test part is read; each reading is noted in `folder/split.json`.
        threads: processor threads, None for as many as there are cores.
        watch: is shown every epoch.

    Raises:
        AutosdError: the recipe or its data are not right, or the folder holds another recipe.
        WorkFailed: the training diverged.
    """
    from autosd.data.loading import load_data
    from autosd.strategies.check import check_recipe

    folder = folder_for(recipe) if folder is None else Path(folder)
    recipe = _read(recipe)
    warnings = check_recipe(recipe)
    _refuse_another(recipe, folder)
    done = _finished(folder, ("val", "test") if test else ("val",))
    if done is not None:
        return done
    data = load_data(recipe.data, with_test=test)
    trainer = _trainer(recipe, data, folder, threads or processors())
    write_text(folder / "recipe.yaml", yamlfile.dumps(recipe.mapping()))
    speeds = _run(trainer, folder, watch)
    metrics = {"val": _metrics(trainer, "val")}
    if test:
        note_reading(folder, f"train, seed {recipe.seed}")
        metrics["test"] = _metrics(trainer, "test")
    trainer.export(folder, {"trained_on": ["train"], "seed": recipe.seed})
    facts = {
        "metrics": metrics,
        "epochs": trainer.planned,
        "images_per_second": statistics.fmean(speeds),
        "images": {part: data.counts[part] for part in metrics},
        "warnings": warnings,
    }
    write_json(folder / RESULT, facts)
    return _trained(folder, facts, tuple(metrics))


def folder_for(recipe: Recipe | Mapping[str, Any] | str | Path) -> Path:
    """Where a run of this recipe goes that was given no folder."""
    if isinstance(recipe, str | Path):
        return RUNS / f"train-{Path(recipe).stem}"
    return RUNS / f"train-{_read(recipe).fingerprint()}"


def _read(recipe: Recipe | Mapping[str, Any] | str | Path) -> Recipe:
    """The recipe of a file, of a mapping, or itself."""
    if isinstance(recipe, str | Path):
        return Recipe.read(Path(recipe))
    return recipe if isinstance(recipe, Recipe) else Recipe.parse(recipe, "recipe")


def _finished(folder: Path, parts: tuple[str, ...]) -> Trained | None:
    """What a finished run gave on these parts, None where there is none; test stays read once."""
    path = folder / RESULT
    if not path.is_file():
        return None
    with stored.sound(path, "put back a copy of it, or choose another folder (--out)"):
        facts = stored.load(path)
        return _trained(folder, facts, parts) if set(parts) <= set(facts["metrics"]) else None


def _trained(folder: Path, facts: dict[str, Any], parts: tuple[str, ...]) -> Trained:
    return Trained(
        metrics={part: facts["metrics"][part] for part in parts},
        epochs=facts["epochs"],
        images_per_second=facts["images_per_second"],
        folder=folder,
        images=facts["images"],
        warnings=tuple(facts["warnings"]),
    )


def _trainer(recipe: Recipe, data: Any, folder: Path, threads: int) -> "Trainer":
    import torch

    from autosd.training.trainer import Trainer

    return Trainer(
        recipe,
        data,
        device="cuda" if torch.cuda.is_available() else "cpu",
        threads=threads,
        checkpoint=folder / "last.pt",
    )


def _run(trainer: "Trainer", folder: Path, watch: Watch) -> list[float]:
    """Train to the end, saving each epoch; returns images per second of all epochs."""
    try:
        for report in trainer.epochs():
            trainer.save()
            lines = [json.dumps(record) for record in trainer.history]
            write_text(folder / "history.jsonl", "\n".join(lines) + "\n")
            watch(report)
    except TrialDiverged as error:
        raise WorkFailed(
            f"{error}; a smaller optimizer.lr, warm-up epochs or optimizer.clip help"
        ) from None
    return [float(record["images_per_second"]) for record in trainer.history]


def _metrics(trainer: "Trainer", part: str) -> dict[str, float]:
    values = trainer.evaluate(part).metrics
    return {name: float(values[name]) for name in SHOWN}


def _refuse_another(recipe: Recipe, folder: Path) -> None:
    path = folder / "recipe.yaml"
    if not path.is_file():
        return
    with stored.sound(path, "put back a copy of it, or choose another folder (--out)"):
        there = Recipe.read(path)
    if there.fingerprint() != recipe.fingerprint():
        raise AutosdError(f"{folder}: holds a run of another recipe; choose another folder (--out)")
