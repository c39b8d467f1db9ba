"""Classes of image files: the model's own, whatever the kind of the file and the batch."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import autosd
from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.recipe import DataSpec
from autosd.results.image_paths import Named, image_paths
from autosd.results.model import Model, open_model
from autosd.results.predict import Prediction, Unreadable, predict

from .small_model import DIGITS, write_student


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of 8x8 grey images."""
    return open_model(str(write_student(tmp_path_factory.mktemp("grey"))), Path())


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model of 16x16 colour images."""
    folder = tmp_path_factory.mktemp("colour")
    return open_model(str(write_student(folder, shape=(3, 16, 16), names=("a", "b"))), Path())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Ten digits as PNG files, and their pixels `[10, 8, 8]`."""
    data = load_data(DataSpec(name="digits"))
    pixels = data.part("val").images[data.part("val").rows[:10]][..., 0]
    folder = tmp_path_factory.mktemp("digits")
    for k, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{k}.png")
    return folder, pixels


def run(model: Model, *words: Path, **options: float) -> list[Prediction | Unreadable]:
    return list(predict(model, image_paths(map(str, words)), **options))


def test_probabilities_are_those_of_the_loaded_student(grey: Model, files) -> None:
    folder, pixels = files
    student = autosd.load(grey.folder)
    images = torch.stack([student.preprocess(image) for image in pixels])
    with torch.no_grad():
        expected = torch.softmax(student(images).double(), dim=1).numpy()
    results = run(grey, folder, top=10)
    assert [result.path for result in results] == [str(folder / f"{k}.png") for k in range(10)]
    for result, row in zip(results, expected, strict=True):
        assert [name for name, _ in result.classes] == [DIGITS[k] for k in np.argsort(-row)]
        assert [value for _, value in result.classes] == pytest.approx(sorted(row)[::-1], abs=1e-6)


def test_the_size_of_a_batch_changes_nothing(grey: Model, files) -> None:
    one, many = (run(grey, files[0], top=3, batch_size=size) for size in (1, 4))
    for single, other in zip(one, many, strict=True):
        assert [name for name, _ in single.classes] == [name for name, _ in other.classes]
        values = [value for _, value in single.classes]
        assert values == pytest.approx([value for _, value in other.classes], abs=1e-6)


def test_more_classes_than_there_are_are_all_of_them(colour: Model, files) -> None:
    assert {len(result.classes) for result in run(colour, files[0], top=7)} == {2}


def test_a_temperature_divides_the_logits(grey: Model, files) -> None:
    hot, plain = (run(grey, files[0], top=10, temperature=t) for t in (2.0, 1.0))
    for warm, cold in zip(hot, plain, strict=True):
        ratios = np.log(dict(cold.classes)["0"] / dict(cold.classes)["1"])
        assert np.log(dict(warm.classes)["0"] / dict(warm.classes)["1"]) == pytest.approx(
            ratios / 2
        )


def kinds(folder: Path) -> None:
    """Pictures of every kind in the two classes of a data set."""
    stream = np.random.default_rng(0)
    pixels = stream.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels[..., :3]).resize((60, 41))
    turned = Image.Exif()
    turned[0x0112] = 6
    (folder / "a").mkdir(parents=True)
    (folder / "b").mkdir()
    picture.save(folder / "a/turned.jpg", exif=turned)
    picture.convert("CMYK").save(folder / "a/cmyk.jpg")
    picture.resize((900, 700)).save(folder / "a/large.jpg")
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "a/palette.gif")
    Image.fromarray(pixels).save(folder / "b/alpha.png")
    picture.convert("L").save(folder / "b/grey.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(folder / "b/wide.png")
    picture.convert("LA").save(folder / "b/grey_alpha.webp")


def test_files_of_every_kind_are_read_as_in_training(colour: Model, tmp_path: Path) -> None:
    kinds(tmp_path / "data")
    spec = DataSpec(name=f"folder:{tmp_path / 'data'}", image_size=16)
    data = load_data(spec, cache=tmp_path / "cache", with_test=True)
    files = sorted((tmp_path / "data").rglob("*.*"))
    assert len(files) == 8
    for part, rows in data.rows.items():
        images = data.part(part)
        for k, row in enumerate(rows):
            mine = colour.preprocess.decode(files[row])
            assert np.array_equal(mine, images.images[images.rows[k]]), files[row].name


def test_a_colour_picture_becomes_grey_for_a_grey_model(grey: Model, tmp_path: Path) -> None:
    Image.new("RGB", (20, 30), (255, 0, 0)).save(tmp_path / "red.png")
    assert (grey.preprocess.decode(tmp_path / "red.png") == 76).all()


def bomb(path: Path, side: int) -> Path:
    """A PNG of some bytes that claims to have `side` squared pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_decompression_bombs_are_refused(grey: Model, files, tmp_path: Path, side: int) -> None:
    refused, fine = run(grey, bomb(tmp_path / "bomb.png", side), files[0] / "0.png")
    assert isinstance(refused, Unreadable)
    assert "decompression bomb" in refused.reason
    assert isinstance(fine, Prediction)


def test_what_cannot_be_read_keeps_its_place_and_says_why(
    grey: Model, files, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    whole = (files[0] / "1.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    first, text, cut, gone = run(
        grey, files[0] / "0.png", tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "gone.png"
    )
    assert isinstance(first, Prediction)
    assert text == Unreadable(str(tmp_path / "text.png"), "not an image")
    assert cut.reason.startswith("cannot be read as an image")
    assert gone.reason == "no such file"


def test_no_more_files_are_read_than_a_batch_needs(grey: Model, files) -> None:
    taken: list[Named] = []

    def paths() -> Iterator[Named]:
        for named in image_paths([str(files[0])]):
            taken.append(named)
            yield named

    results = predict(grey, paths(), batch_size=4)
    next(results)
    assert len(taken) == 4


def test_a_model_without_a_temperature_says_so(grey: Model, tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match="has no temperature"):
        grey.temperature()
    fitted = write_student(tmp_path / "fitted", temperature=1.5)
    assert open_model(str(fitted), Path()).temperature() == 1.5
