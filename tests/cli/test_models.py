"""`autosd predict`, `export` and `evaluate` as they are typed; nothing foreign is trusted."""

import csv
import hashlib
import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from autosd.cli.main import app

from ..results.small_model import write_student

NAMES = ("plain", "[red]", "</script>")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of 8x8 grey images with class names that want to be escaped."""
    folder = tmp_path_factory.mktemp("models") / "m"
    return write_student(folder, names=NAMES, temperature=2.0)


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(exported, tmp_path / "model"))


@pytest.fixture
def photos(here: Path) -> Path:
    """Three images, one damaged file, and one that is none."""
    folder = here / "photos"
    folder.mkdir()
    stream = np.random.default_rng(0)
    for name in ("a.png", "b c.png", "d\n.png"):
        Image.fromarray(stream.integers(0, 256, (9, 9), dtype=np.uint8)).save(folder / name)
    (folder / "bad.png").write_text("")
    (folder / "notes.txt").write_text("")
    return folder


def test_predictions_are_a_table_whose_paths_are_whole(invoke, model, photos):
    result = invoke("predict", model, "photos", "--top", 2)
    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["class", "probability", "image"]
    assert [row.partition(" %")[2].strip() for row in rows] == [
        "photos/a.png", "", "photos/b c.png", "", r"photos/d\n.png", ""
    ]  # fmt: skip
    assert all(row.split()[0] in NAMES for row in rows)
    assert result.stderr.splitlines() == [
        "unreadable: photos/bad.png: not an image",
        "3 images, 1 unreadable",
    ]


def test_the_same_predictions_come_as_csv_and_json(invoke, model, photos, assert_documented):
    result = invoke("predict", model, "photos", "--top", 2, "--json")
    payload = json.loads(result.stdout)
    assert_documented("predict", payload)
    assert payload["unreadable"] == [{"image": "photos/bad.png", "reason": "not an image"}]
    text = invoke("predict", model, "photos", "--top", 2, "--format", "csv").stdout
    head, *rows = csv.reader(io.StringIO(text))
    assert head == ["image", "class", "probability", "class_2", "probability_2"]
    for row, image in zip(rows, payload["images"], strict=True):
        pairs = [[one["class"], f"{one['probability']:.6f}"] for one in image["classes"]]
        assert row == [image["image"], *pairs[0], *pairs[1]]


def test_predictions_go_to_a_file_in_the_form_of_its_name(invoke, here, model, photos):
    result = invoke("predict", model, "photos/a.png", "--out", "out/classes.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "1 image in out/classes.csv\n"
    assert (here / "out/classes.csv").read_text().startswith("image,class,probability\nphotos/a")
    assert invoke("predict", model, "photos/a.png", "--out", "x.json").exit_code == 0
    assert len(json.loads((here / "x.json").read_text())["images"]) == 1
    assert [path.name for path in (here / "out").iterdir()] == ["classes.csv"]


def test_paths_come_from_standard_input(here, model, photos):
    words = ["predict", str(model), "-", "--format", "csv"]
    result = CliRunner().invoke(app, words, input="photos/b c.png\nphotos/a.png\n")
    paths = [row[0] for row in csv.reader(io.StringIO(result.stdout))]
    assert paths == ["image", "photos/b c.png", "photos/a.png"]
    empty = CliRunner().invoke(app, words, input="")
    assert empty.exit_code == 2
    assert "standard input was empty" in empty.stderr


def test_only_where_all_files_fail_the_exit_code_is_one(invoke, model, photos):
    one = invoke("predict", model, "photos/bad.png", "--json")
    assert (one.exit_code, json.loads(one.stdout)["images"]) == (1, [])
    assert one.stderr.endswith("error: the only path could not be read\n")
    two = invoke("predict", model, "photos/bad.png", "nothing.png")
    assert two.exit_code == 1
    assert "nothing.png: no such file" in two.stderr
    assert invoke("predict", model, "photos/bad.png", "photos/a.png").exit_code == 0


def test_calibrated_probabilities_are_less_sure_and_said(invoke, model, photos):
    plain = json.loads(invoke("predict", model, "photos/a.png", "--json").stdout)
    result = invoke("predict", model, "photos/a.png", "--json", "--calibrated")
    scaled = json.loads(result.stdout)
    assert (plain["temperature"], scaled["temperature"]) == (None, 2.0)
    assert "temperature 2.000" in result.stderr
    first, second = (of["images"][0]["classes"][0]["probability"] for of in (scaled, plain))
    assert first < second


def test_an_export_is_written_beside_the_model_and_checked(
    invoke, model, photos, assert_documented
):
    result = invoke("export", model, "--to", "pt2", "--images", "photos", "--json")
    assert result.exit_code == 0, result.output
    payload = json.loads(result.stdout)
    assert_documented("export", payload)
    assert payload["file"] == str(model / "model.pt2")
    assert (model / "model.pt2").stat().st_size == payload["bytes"]
    assert payload["largest_difference"] < 1e-5
    assert payload["checked_on"] == "3 images of --images, 1 unreadable left out"


def test_an_export_without_images_says_that_they_are_random(invoke, here, model):
    result = invoke("export", model, "--to", "pt2", "--out", "m.pt2", "--with-preprocessing")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "wrote m.pt2" in words
    assert "takes uint8 [batch, 8, 8, 1] named 'images', grey, 0 to 255" in words
    assert "on 64 random images: largest difference of a logit" in words
    assert result.stderr.startswith("note: no real images were at hand (no recipe")


@pytest.fixture
def arrays(here: Path) -> str:
    """A labelled data set of the model's classes."""
    stream = np.random.default_rng(1)
    values = {
        f"{part}_{what}": value
        for part, count in (("train", 60), ("test", 30))
        for what, value in (
            ("images", stream.integers(0, 256, (count, 8, 8), dtype=np.uint8)),
            ("labels", np.arange(count) % 3),
        )
    }
    np.savez(here / "arrays.npz", label_names=np.array(NAMES), **values)
    return "npz:arrays.npz"


def test_a_matrix_that_cannot_be_written_is_refused_before_test_is_read(
    invoke, here, model, arrays
):
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    result = invoke("evaluate", model, "--data", arrays, "--confusion", ".")
    assert result.exit_code == 2
    assert result.stderr == "error: --confusion .: is a folder, not a file to write\n"
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_an_evaluation_shows_classes_and_confusions(invoke, here, model, arrays, assert_documented):
    result = invoke("evaluate", model, "--data", arrays, "--confusion", "c.csv", "--json")
    assert result.exit_code == 0, result.output
    payload = json.loads(result.stdout)
    assert_documented("evaluate", payload)
    head, *rows = csv.reader(io.StringIO((here / "c.csv").read_text()))
    assert head == ["class", *NAMES]
    assert [[int(cell) for cell in row[1:]] for row in rows] == payload["confusion"]
    shown = invoke("evaluate", model, "--data", arrays).stdout
    assert "arrays, test: 30 images" in shown
    assert "the data set's own test part" in shown
    for row in payload["classes"]:
        assert f"{row['class']}" in shown
    assert f"{100 * payload['metrics']['top1']:.1f} %" in shown
    assert "taken for (columns)" in shown


def test_many_classes_are_shown_by_their_worst(invoke, tmp_path):
    folder = write_student(tmp_path / "many", names=tuple(f"class {k}" for k in range(25)))
    stream = np.random.default_rng(1)
    images = stream.integers(0, 256, (100, 8, 8), dtype=np.uint8)
    names = np.array([f"class {k}" for k in range(25)])
    path = tmp_path / "many.npz"
    np.savez(path, train_images=images, train_labels=np.arange(100) % 25, label_names=names)
    result = invoke("evaluate", folder, "--data", f"npz:{path}", "--part", "all")
    assert result.exit_code == 0, result.output
    assert "the 10 least recognised of 25 classes" in result.stdout
    assert "Most frequent confusions" in result.stdout


class Evil:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def described(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def pickled(folder: Path) -> None:
    content = pickle.dumps(Evil(folder / "ran"))
    (folder / "model.safetensors").write_bytes(content)


def pickled_and_hashed(folder: Path) -> None:
    pickled(folder)
    content = (folder / "model.safetensors").read_bytes()
    described(folder, sha256=hashlib.sha256(content).hexdigest())


def code(folder: Path) -> None:
    (folder / "net.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    described(folder, model=f"{folder / 'net.py'}:Net")


def cut(name: str, length: int):
    def damage(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:length])

    return damage


DAMAGES = {
    "a pickle": (pickled, "sha256 differs"),
    "a pickle with its hash": (pickled_and_hashed, "not readable as safetensors"),
    "a network's code": (code, "--trust-code"),
    "truncated weights": (cut("model.safetensors", 1000), "sha256 differs"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "cannot be read"),
    "a truncated description": (cut("model.json", 100), "no description of a student"),
    "no description": (lambda folder: (folder / "model.json").unlink(), "no model here"),
    "a description without end": (
        lambda folder: (folder / "model.json").write_text("[" * 100_000),
        "no description of a student",
    ),
    "no deviation": (lambda folder: described(folder, std=[0]), "std above 0"),
    "nothing": (shutil.rmtree, "no such folder"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_that_is_not_what_it_says_is_refused_in_one_line(
    invoke, here, model, photos, arrays, damage
):
    spoil, fault = DAMAGES[damage]
    spoil(model)
    for words in (
        ["predict", model, "photos", "--out", "x.csv"],
        ["export", model, "--to", "pt2", "--out", "x.pt2"],
        ["evaluate", model, "--data", arrays],
    ):
        result = invoke(*words)
        assert result.exit_code == 2, result.output
        assert result.stderr.startswith(f"error: {model}")
        assert fault in result.stderr
        assert (result.stdout, len(result.stderr.splitlines())) == ("", 1)
    assert not (model / "ran").exists()
    assert not list(here.glob("x.*"))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["predict", "MODEL", "photos", "--top", "0"], "--top"),
        (["predict", "MODEL", "photos", "--json", "--format", "csv"], "exclude each other"),
        (["predict", "MODEL", "photos", "--out", "photos"], "is a folder"),
        (["export", "MODEL"], "--to"),
        (["export", "MODEL", "--to", "tflite"], "tflite"),
        (["export", "MODEL", "--to", "pt2", "--images", "no/*.png"], "nothing matches"),
        (["evaluate", "MODEL"], "--data is missing"),
        (["evaluate", "MODEL", "--data", "digits"], "not the classes of"),
        (["evaluate", "MODEL", "--data", "digitz"], "Did you mean 'digits'"),
        (["evaluate", "MODEL", "--data", "digits", "--part", "tset"], "Did you mean 'test'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(invoke, model, photos, words, fault):
    result = invoke(*(model if word == "MODEL" else word for word in words))
    assert result.exit_code == 2, result.output
    assert fault in result.stderr
    assert result.stdout == ""
    assert not list(model.glob("*.pt2"))
