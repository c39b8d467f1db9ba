"""A hundred thousand classes: they train, or it is said which memory they would need."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autosd.errors import AutosdError
from autosd.models.build import build_student
from autosd.recipe import ModelSpec, Recipe
from autosd.results.ensemble_choice import _check_room
from autosd.results.evaluate import Evaluated
from autosd.strategies.check import check_on_student
from autosd.strategies.strategy import discover
from autosd.training import evaluation
from autosd.training.evaluation import check_room, evaluate

CLASSES = 100_000
GIBIBYTES = 6
HANG = 1200
"""Seconds after which what should have happened never will."""
COMMAND = [sys.executable, "-c", "import resource; limit = int({limit}); "
           "resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)); "
           "from autosd.cli.main import main; main()"]  # fmt: skip


def test_memories_of_images_and_classes_say_how_much_they_would_take():
    spec = ModelSpec(name="resnet8")
    student = build_student(spec, CLASSES, (1, 8, 8), seed=0)
    said = {}
    for name in discover():
        recipe = Recipe.parse({"data": "digits", "model": "resnet8", "strategies": [name]})
        try:
            check_on_student(recipe, student, images=300_000)
        except AutosdError as error:
            said[name] = str(error)
    assert {"ps_kd", "ipasd", "toast"} <= said.keys() < set(discover())
    for name, why in said.items():
        assert re.fullmatch(rf"{name}: .* would take [\d.]+ GiB; at most 4 GiB .*", why), why


def test_logits_and_predictions_say_how_much_they_would_take():
    with pytest.raises(AutosdError, match=r"val, 30,000 images .* 12\.0 GB of memory; at most"):
        check_room(30_000, CLASSES, "val")
    with pytest.raises(AutosdError, match=r"20 students for 5,000 images .* 120 GB of memory"):
        _check_room(20, 5_000, CLASSES)
    check_room(20_000, CLASSES, "val")


def test_an_evaluation_keeps_few_logits_and_no_square_of_classes(monkeypatch):
    monkeypatch.setattr(evaluation, "FEW", 20 * CLASSES)
    labels = torch.randint(0, CLASSES, (30,), generator=torch.Generator().manual_seed(0))

    class Wide(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(images), CLASSES).scatter_(1, images.long(), 9.0)

    batches = [(part[:, None].float(), part) for part in labels.split(10)]
    done = evaluate(Wide(), batches, keep=False)
    assert done.metrics["top1"] == 1.0
    assert done.kept is None
    names = tuple(map(str, range(CLASSES)))
    taken = np.roll(done.labels, 1)
    shown = Evaluated(
        Path(), "many", "val", "", done.metrics, names, done.labels, taken, (), None, 1
    )
    assert shown.confusion is None
    assert shown.mapping()["confusion"] is None
    assert len(shown.confused(10)) == 10
    assert sum(one["images"] for one in shown.classes()) == shown.images == 30


@pytest.mark.slow
def test_every_strategy_trains_or_says_which_memory_it_would_need():
    script = Path(__file__).with_name("many_classes.py")
    command = [sys.executable, str(script), str(CLASSES), str(GIBIBYTES)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=HANG, check=True
    )
    told = {line["strategy"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert told.keys() == set(discover())
    refused = {name: line["told"] for name, line in told.items() if line["told"] != "trained"}
    assert all(re.search(r"would take [\d.]+ GiB", why) for why in refused.values()), refused
    peak = max(line["peak"] for line in told.values())
    print(f"100,000 classes: {len(told) - len(refused)} strategies trained, {len(refused)} say "
          f"which memory they would need, at most {peak} GiB resident")  # fmt: skip


def write_images(folder: Path) -> None:
    """Two images of each class for training, few to look at."""
    draw = np.random.default_rng(0)
    labels = np.concatenate([np.arange(CLASSES), np.arange(CLASSES)]).astype(np.int32)
    images = draw.integers(0, 255, (len(labels), 8, 8), np.uint8)
    parts = {"train": slice(None), "val": slice(500), "test": slice(300)}
    arrays = {f"{part}_images": images[rows] for part, rows in parts.items()}
    arrays |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    np.savez(folder / "many.npz", **arrays)
    split = {"select": 500}
    recipe = {"data": {"name": "npz:many.npz", "split": split}, "model": "resnet8", "epochs": 1,
              "batch_size": 256}  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    study = {"name": "many", "recipe": recipe, "space": "label_smoothing", "trials": 2}
    (folder / "many.yaml").write_text(json.dumps(study))


def autosd(folder: Path, *words: str, code: int = 0) -> str:
    """What a command says, in at most 8 GiB."""
    command = [part.replace("{limit}", str(8 * 2**30)) for part in COMMAND]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "2",
        "MALLOC_ARENA_MAX": "1",  # what the allocator keeps differs by gigabytes from run to run
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [*command, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == code, (words, done.stderr[-2000:])
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_commands_live_with_a_hundred_thousand_classes(tmp_path: Path):
    write_images(tmp_path)
    assert f"{CLASSES - 30:,}"[:2] in autosd(tmp_path, "inspect", "npz:many.npz")
    autosd(tmp_path, "train", "recipe.yaml", "--out", "out", "--test")
    autosd(tmp_path, "evaluate", "out", "--data", "npz:many.npz", "--part", "test")
    values = json.loads(autosd(tmp_path, "evaluate", "out", "--data", "npz:many.npz", "--part",
                               "val", "--json").splitlines()[-1])  # fmt: skip
    assert values["confusion"] is None
    said = autosd(tmp_path, "evaluate", "out", "--data", "npz:many.npz", "--confusion", "c.csv",
                  code=2)  # fmt: skip
    assert "would take 20.0 GB" in said
    assert not (tmp_path / "c.csv").exists()
    assert "trials on" in autosd(tmp_path, "search", "many.yaml", "--dry-run")
    large = ["--set", "data.split.select=60000"]
    assert "GB of memory" in autosd(tmp_path, "search", "many.yaml", *large, code=2)
    wide = ["--space", "toast", "--name", "wide"]
    assert "GiB" in autosd(tmp_path, "search", "many.yaml", *wide, code=2)
    assert not (tmp_path / "runs").exists()
    print("100,000 classes: trained for an epoch of 199,500 images, evaluated, refused with bytes")
