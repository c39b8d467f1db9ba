"""Exported files: the same logits for batches of any size, or no file at all."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from autosd.data.loading import load_data
from autosd.errors import AutosdError, WorkFailed
from autosd.recipe import DataSpec
from autosd.results.check_images import given_images, own_images
from autosd.results.exporting import TOLERANCE, export
from autosd.results.image_paths import image_paths
from autosd.results.model import Model, open_model
from autosd.training.ensemble import Share, write_ensemble

from .small_model import write_student

Run = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Twenty real images of digits, uint8 `[20, 8, 8, 1]`."""
    part = load_data(DataSpec(name="digits")).part("val")
    return part.images[part.rows[:20]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return open_model(str(write_student(tmp_path_factory.mktemp("student"))), Path())


@pytest.fixture(scope="module")
def linear(model: Model) -> Model:
    """The quickest thing to export."""
    torch.manual_seed(0)
    return replace(model, network=nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval())


def onnx(path: Path) -> Run:
    """What other programs do with the file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def pt2(path: Path) -> Run:
    program = torch.export.load(path).module()
    return lambda images: program(torch.from_numpy(images)).detach().numpy()


def assert_same(model: Model, path: Path, pixels: np.ndarray, *, preprocessing: bool) -> None:
    """The file gives the model's logits for batches of 1, 5 and 20."""
    images = torch.stack([model.preprocess(image) for image in pixels])
    with torch.no_grad():
        expected = model.network(images).numpy()
    inputs = pixels if preprocessing else images.contiguous().numpy()
    run = (onnx if path.suffix == ".onnx" else pt2)(path)
    for count in (1, 5, 20):
        assert np.abs(run(inputs[:count]) - expected[:count]).max() < 1e-5


@pytest.mark.parametrize(
    ("network", "kind", "preprocessing"),
    [
        ("model", "onnx", True),
        ("linear", "onnx", False),
        ("model", "pt2", False),
        ("linear", "pt2", True),
    ],
)
def test_a_file_gives_the_models_logits(
    request, pixels: np.ndarray, tmp_path: Path, network: str, kind: str, preprocessing: bool, capfd
) -> None:
    model, path = request.getfixturevalue(network), tmp_path / "new" / f"model.{kind}"
    done = export(model, kind, path, pixels, preprocessing=preprocessing)
    assert capfd.readouterr() == ("", "")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (done.images, done.agreement, done.size) == (20, 1.0, path.stat().st_size)
    assert 0 <= done.difference < 1e-5
    assert done.input.startswith("uint8 [batch, 8, 8, 1]" if preprocessing else "float32 [batch, 1")
    assert_same(model, path, pixels, preprocessing=preprocessing)
    facts = (onnx_facts if kind == "onnx" else pt2_facts)(path)
    assert json.loads(facts["class_names"]) == list(model.class_names)
    assert facts["input"] == done.input


def onnx_facts(path: Path) -> dict[str, str]:
    """What the file says of itself, once its form was looked at."""
    import onnx as library

    loaded = library.load(path)
    ends = [value.name for value in (*loaded.graph.input, *loaded.graph.output)]
    assert (loaded.opset_import[0].version, ends) == (20, ["images", "logits"])
    return {entry.key: entry.value for entry in loaded.metadata_props}


def pt2_facts(path: Path) -> dict[str, str]:
    facts = {"class_names": "", "input": ""}
    torch.export.load(path, extra_files=facts)
    return facts


@pytest.mark.parametrize("kind", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_an_ensemble_is_one_file(pixels: np.ndarray, tmp_path: Path, kind: str) -> None:
    shares = [
        Share(f"m{seed}", write_student(tmp_path / f"m{seed}", seed=seed), weight)
        for seed, weight in ((1, 0.75), (2, 0.25))
    ]
    write_ensemble(tmp_path / "both", shares, {})
    both = open_model(str(tmp_path / "both"), Path())
    done = export(both, kind, tmp_path / f"both.{kind}", pixels, preprocessing=True)
    assert done.difference < 1e-5
    assert_same(both, tmp_path / f"both.{kind}", pixels, preprocessing=True)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mobilenetv3_small_100", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_backbone_of_timm_is_exported(tmp_path: Path, network: str, kind: str, capfd) -> None:
    folder = write_student(tmp_path / "m", shape=(3, 64, 64), names=("a", "b"), network=network)
    backbone = open_model(str(folder), Path())
    pixels = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    capfd.readouterr()
    done = export(backbone, kind, tmp_path / f"m.{kind}", pixels, preprocessing=True)
    assert capfd.readouterr() == ("", "")
    assert done.difference < 1e-4
    assert_same(backbone, tmp_path / f"m.{kind}", pixels, preprocessing=True)


class Another(nn.Module):
    """Gives other logits when it is exported than when it is called."""

    def __init__(self, network: nn.Module, shift: float) -> None:
        super().__init__()
        self.network, self.shift = network, shift

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.network(images)
        return logits + self.shift if torch.compiler.is_exporting() else logits


class Undecided(nn.Module):
    """Asks for values, which no exporter can follow."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if images.sum() > 0 else -images


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_that_gives_other_logits_is_not_left_behind(
    linear: Model, pixels: np.ndarray, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"model.{kind}"
    path.write_text("the one before")
    wrong = replace(linear, network=Another(linear.network, 2 * TOLERANCE).eval())
    with pytest.raises(WorkFailed, match=r"not written, since a logit .* differs by 0\.002"):
        export(wrong, kind, path, pixels)
    assert path.read_text() == "the one before"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_difference_is_the_largest_of_any_logit(
    linear: Model, pixels: np.ndarray, tmp_path: Path
) -> None:
    close = replace(linear, network=Another(linear.network, TOLERANCE / 2).eval())
    done = export(close, "pt2", tmp_path / "m.pt2", pixels)
    assert done.difference == pytest.approx(TOLERANCE / 2, rel=0.01)


def test_a_network_that_cannot_be_exported_says_why(
    model: Model, pixels: np.ndarray, tmp_path: Path
) -> None:
    with pytest.raises(WorkFailed, match="cannot be written as pt2"):
        export(replace(model, network=Undecided()), "pt2", tmp_path / "m.pt2", pixels)
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named_with_the_command(
    model: Model, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AutosdError, match="needs onnxruntime: pip install onnxruntime"):
        export(model, "onnx", tmp_path / "m.onnx", pixels)


def test_a_place_that_cannot_be_written_is_named(
    model: Model, pixels: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AutosdError, match="is a folder"):
        export(model, "pt2", tmp_path, pixels)
    with pytest.raises(AutosdError, match=r"file/m\.pt2: cannot be written"):
        export(model, "pt2", tmp_path / "file/m.pt2", pixels)


def test_images_of_the_check_are_those_that_were_named(model: Model, tmp_path: Path) -> None:
    for k in range(3):
        Image.new("L", (8, 8), 40 * k).save(tmp_path / f"{k}.png")
    (tmp_path / "no.png").write_text("")
    found = given_images(model, image_paths([str(tmp_path)]))
    assert (found.pixels.shape, found.real) == ((3, 8, 8, 1), True)
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 40, 80]
    assert found.source == "3 images of --images, 1 unreadable left out"
    with pytest.raises(AutosdError, match=r"--images: .*no such file"):
        given_images(model, image_paths(["nothing.png"]))


def test_else_they_are_validation_images_of_its_own_data(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "m")
    (folder / "recipe.yaml").write_text("data: digits\n")
    found = own_images(open_model(str(folder), Path()))
    part = load_data(DataSpec(name="digits")).part("val")
    known = {image.tobytes() for image in part.images[part.rows]}
    assert found.real
    assert found.source == "64 images of digits (val)"
    assert {image.tobytes() for image in found.pixels} <= known


@pytest.mark.parametrize(
    ("recipe", "why"),
    [(None, "no recipe"), ("data: folder:gone\n", "gone: no such folder")],
)
def test_where_there_are_none_random_ones_are_called_random(
    tmp_path: Path, recipe: str | None, why: str
) -> None:
    folder = write_student(tmp_path / "m")
    if recipe:
        (folder / "recipe.yaml").write_text(recipe)
    found = own_images(open_model(str(folder), Path()))
    assert not found.real
    assert found.source == "64 random images"
    assert why in found.why
    assert found.pixels.std() > 50
