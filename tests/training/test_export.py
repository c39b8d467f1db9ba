"""The exported student: the same predictions, and nothing foreign is trusted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import autosd
from autosd.data.dataset import Data
from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.training.trainer import Trainer

MakeRecipe = Callable[..., Recipe]


@pytest.fixture(scope="module")
def folder(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student exported after one epoch."""
    path = tmp_path_factory.mktemp("export") / "model"
    recipe = Recipe.parse({"data": "digits", "epochs": 1, "batch_size": 64, "precision": "fp32"})
    trainer = Trainer(recipe, digits)
    next(trainer.epochs())
    trainer.export(path, {"note": "a test"})
    return path


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    copy = tmp_path / "model"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def change(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["none", "ema", "swa"])
def test_a_loaded_student_gives_the_trainers_predictions(
    recipe: MakeRecipe, digits: Data, tmp_path: Path, precision: str, kind: str
) -> None:
    trainer = Trainer(recipe(epochs=1, precision=precision, average={"kind": kind}), digits)
    next(trainer.epochs())
    trainer.export(tmp_path / "model", {})
    student = autosd.load(tmp_path / "model")
    part, evaluation = digits.part("val"), trainer.evaluate("val")
    images = torch.stack([student.preprocess(part.images[row]) for row in part.rows])
    with torch.no_grad():
        logits = student(images.contiguous(memory_format=torch.channels_last))
    assert not student.training
    assert student.class_names == digits.class_names
    assert (logits.numpy() == evaluation.logits).all()


def test_a_picture_is_fitted(folder: Path, digits: Data) -> None:
    student = autosd.load(folder)
    pixels = digits.part("val").images[0]
    assert pixels.shape == (8, 8, 1)
    same = student.preprocess(Image.fromarray(pixels[..., 0]))
    assert torch.equal(same, student.preprocess(pixels))
    wide = Image.new("RGBA", (31, 20), (10, 200, 30, 128))
    assert student.preprocess(wide).shape == (1, 8, 8)
    assert student.preprocess(np.zeros((20, 20), np.uint8)).shape == (1, 8, 8)
    with pytest.raises(AutosdError, match=r"uint8 \[H, W, 1\]"):
        student.preprocess(np.zeros((8, 8, 3), np.uint8))


def test_the_description_says_where_the_student_comes_from(folder: Path) -> None:
    text = json.loads((folder / "model.json").read_text())
    assert text["model"] == "resnet8"
    assert text["details"]["note"] == "a test"
    assert text["details"]["record"]["layout"] == "channels_last"


def test_other_weights_are_refused(model: Path) -> None:
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (model / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(AutosdError, match="sha256 differs"):
        autosd.load(model)


def test_an_unknown_format_is_refused(model: Path) -> None:
    change(model, format="autosd student 99")
    with pytest.raises(AutosdError, match="unknown format"):
        autosd.load(model)


@pytest.mark.parametrize("name", ["evil.py:Model", "hf-hub:someone/model", "/tmp/evil.py:Model"])
def test_code_from_elsewhere_is_not_run(model: Path, name: str) -> None:
    (model / "evil.py").write_text("raise SystemExit('ran')")
    change(model, model=name)
    with pytest.raises(AutosdError, match="trust_code"):
        autosd.load(model)


def test_an_unknown_network_is_refused(model: Path) -> None:
    change(model, model="resnet9999")
    with pytest.raises(AutosdError, match="resnet9999"):
        autosd.load(model)


def test_a_network_of_another_width_is_refused(model: Path) -> None:
    change(model, model="resnet14")
    with pytest.raises(AutosdError, match="not the weights of resnet14"):
        autosd.load(model)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "../../secret"},
        {"class_names": ["a"]},
        {"image_shape": [1, 8, 100_000]},
        {"mean": [0.1, 0.2]},
        {"classes": -1},
    ],
    ids=str,
)
def test_a_description_that_does_not_add_up_is_refused(
    model: Path, changes: dict[str, object]
) -> None:
    change(model, **changes)
    with pytest.raises(AutosdError, match=r"model\.json"):
        autosd.load(model)


def test_missing_files_are_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match=r"nowhere/model\.json: cannot be read"):
        autosd.load(tmp_path / "nowhere")
    (model / "model.safetensors").unlink()
    with pytest.raises(AutosdError, match=r"model\.safetensors: cannot be read"):
        autosd.load(model)
