"""Names that would lead out of a folder, out of a page or into a terminal stay names."""

import io
import json
import os
import re
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pytest
from PIL import Image

from .garbling import run, snapshot

CLASSES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "[bold red]loud[/bold red]",
    "[/]",
    "../../up",
    "two\nlines",
    "\x1b]0;title\x07\x1b[31mred",
    "=1+cmd|' /C calc'!A0",
    "{{ 7 * 7 }} ${x} %s",
    "\u202egnp.exe",
    "| a | b |",
    "`code` **bold** <!-- -->",
)
OUT = (
    "..",
    ".",
    "../up",
    "/tmp/up",
    "a/b",
    "a\\..\\b",
    "~",
    "",
    "a\nb",
    "\x1b[2J",
    "-x",
    "a" * 300,
)
STUDY = """
name: named
recipe: {data: "npz:<img src=x onerror=alert(3)>.npz", model: resnet8, epochs: 1, batch_size: 32}
space: label_smoothing
trials: 2
finalists: {count: 1, seeds: 1}
"""


class Elements(HTMLParser):
    """Names of the elements of a page, and of attributes that are scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.images: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.images += [dict(attrs)] * (tag == "img")
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@pytest.mark.parametrize("name", OUT)
def test_no_name_of_a_study_leads_out_of_its_folder(tmp_path: Path, name: str):
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(json.dumps({"name": name, "recipe": {"data": "digits"}}))
    before = snapshot(tmp_path)
    commands = [["search", "study.yaml"], ["search", "--name", name], ["compare", "study.yaml"]]
    if name not in (".", "..", "/tmp/up", "", "-x"):
        commands += [["status", name], ["retrain", name], ["clean", name, "--yes"]]
    for words in commands:
        said = run(folder, words)
        assert (said.code, said.bug) == (2, None), (words, said)
        assert said.text.count("\n") < 20
        assert said.text.replace("\n", "").isprintable()
    assert snapshot(tmp_path) == before


WRONG = {
    "model": ["../../evil.py:Net", "evil.py:Net", "hf-hub:../../x", "os.system", "", "\x1b[2J"],
    "strategies": [["../masd"], ["strategy"], ["__init__"], ["os"], [""], ["\x1b[2J"]],
    "data": ["../../etc/passwd", "folder:", "npz:", "folder:/dev", "npz:/dev/zero", "\x1b[2J"],
    "init": ["../../../../etc", "/dev/zero", "/proc/self"],
}


@pytest.mark.parametrize("key", WRONG)
def test_no_name_in_a_recipe_leads_to_something_else(tmp_path: Path, key: str):
    for value in WRONG[key]:
        recipe = {"data": "digits", "model": "resnet8", "epochs": 1, key: value}
        (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
        said = run(tmp_path, "train recipe.yaml --out out")
        assert (said.code, said.bug) == (2, None), (value, said)
        assert said.text.replace("\n", "").isprintable(), value
        assert not (tmp_path / "out").exists()


def write_arrays(path: Path, classes: tuple[str, ...], **more: object) -> None:
    """An npz file with images of these classes."""
    draw = np.random.default_rng(0)
    count = len(classes) * 12
    arrays = {
        "train_images": draw.integers(0, 255, (count, 8, 8), np.uint8),
        "train_labels": np.arange(count) % len(classes),
        "test_images": draw.integers(0, 255, (len(classes) * 2, 8, 8), np.uint8),
        "test_labels": np.arange(len(classes) * 2) % len(classes),
        "label_names": np.array(classes),
    }
    np.savez(path, **arrays)


def test_members_of_an_archive_do_not_leave_it(tmp_path: Path):
    path = tmp_path / "inside/data.npz"
    path.parent.mkdir()
    write_arrays(path, ("a", "b"))
    stray = io.BytesIO()
    np.save(stray, np.zeros(3))
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("../stray.npy", "/tmp/stray.npy", "../../train_images.npy", "a/../../b.npy"):
            archive.writestr(name, stray.getvalue())
    before = snapshot(tmp_path)
    said = run(path.parent, "inspect npz:data.npz")
    assert (said.code, said.bug) == (0, None), said
    assert snapshot(tmp_path) == before


def test_a_member_of_an_ensemble_lies_inside_of_it(searched: Path, tmp_path: Path):
    model = json.loads((searched / "runs/tiny/best/model.json").read_text())
    for name in ("../best", "/tmp", ".", "a/b", "..", "a\x00b"):
        member = {"name": name, "weight": 1.0, "sha256": dict.fromkeys(
            ("model.json", "model.safetensors"), model["sha256"])}  # fmt: skip
        values = {
            key: model[key] for key in ("classes", "class_names", "image_shape", "mean", "std")
        }
        (tmp_path / "model.json").write_text(
            json.dumps({**values, "format": "autosd ensemble 1", "members": [member]})
        )
        said = run(tmp_path, "predict . picture.png")
        assert (said.code, said.bug) == (2, None), said
        assert "members" in said.text


def check_page(path: Path) -> None:
    """Nothing of a name has become an element, an attribute or a script."""
    found = Elements(path.read_text())
    assert found.handlers == []
    assert [one for one in found.images if one.get("src") == "x"] == []


@pytest.mark.slow
def test_names_of_classes_and_files_are_shown_and_nothing_else(tmp_path: Path):
    write_arrays(tmp_path / "<img src=x onerror=alert(3)>.npz", CLASSES)
    (tmp_path / "named.yaml").write_text(STUDY)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "picture.png")
    commands = (
        ["inspect", "named.yaml", "--picture", "classes.png"],
        ["search", "named.yaml", "--inline"],
        ["retrain", "named", "--seeds", "2", "--inline"],
        ["compare", "named", "--strategies", "label_smoothing", "--seeds", "2", "--inline"],
        ["evaluate", "named", "--part", "val", "--confusion", "confusion.csv"],
        ["predict", "named", "picture.png", "--top", "12"],
        ["predict", "named", "picture.png", "--top", "12", "--out", "classes.csv"],
        ["report", "named"],
        ["best", "named"],
        ["status", "named"],
    )
    for words in commands:
        said = run(tmp_path, words)
        assert (said.code, said.bug) == (0, None), (words, said)
        shown = said.text + said.printed
        assert re.sub(r"[\n\t]", "", shown).isprintable(), words
    study = tmp_path / "runs/named"
    pages = [study / "report.html", study / "compare/compare.html"]
    for page in pages:
        check_page(page)
    check_cells([tmp_path / "classes.csv", tmp_path / "confusion.csv"])
    check_note(study / "study.db")
    print(f"names: {len(CLASSES)} classes, {len(commands)} commands, {len(pages)} pages, 0 escaped")


def check_cells(tables: list[Path]) -> None:
    for table in tables:
        for line in table.read_text().splitlines():
            assert not re.search(r"(^|,)\"?[=@]", line), (table, line)


def check_note(database: Path) -> None:
    """The note, which optuna-dashboard shows as Markdown with HTML, has the name as code only."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{database}")
    attributes = storage.get_study_system_attrs(storage.get_study_id_from_name("named"))
    storage.engine.dispose()
    note = "".join(
        str(value) for key, value in attributes.items() if key.startswith("dashboard:note")
    )
    assert "<img" in note
    assert "<img" not in re.sub(r"`[^`]*`", "", note)


def test_a_folder_of_images_may_have_any_names(tmp_path: Path):
    for number, name in enumerate(("two\nlines", "\x1b[31mred", "<b>", "[/]", b"\xff\xfe")):
        folder = os.fsencode(tmp_path / "data") + b"/" + os.fsencode(name)
        os.makedirs(folder)
        for image in range(12):
            pixels = np.full((8, 8), (number * 50 + image) % 255, np.uint8)
            Image.fromarray(pixels).save(os.fsdecode(folder) + f"/{image}\x1b[2J.png")
    said = run(tmp_path, "inspect folder:data")
    assert (said.code, said.bug) == (0, None), said
    assert re.sub(r"[\n\t]", "", said.printed + said.text).isprintable()
