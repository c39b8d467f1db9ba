"""Paths as people type them."""

import os
from pathlib import Path

import pytest

from autosd.results.image_paths import Named, image_paths


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with images and other things."""
    for name in (
        "b.png",
        "a.JPG",
        "notes.txt",
        "in/z.webp",
        "in/deeper/c.png",
        "in/.hidden/d.png",
        "in/Thumbs.db",
        "in/.e.png",
        "[x].png",
        "void/readme.md",
        "arrays.npz",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str, lines: tuple[str, ...] = ()) -> list[str]:
    return [named.path for named in image_paths(words, lines)]


def test_files_come_in_the_order_given_and_folders_in_that_of_names(here: Path) -> None:
    assert names("in", "b.png", "a.JPG") == ["in/deeper/c.png", "in/z.webp", "b.png", "a.JPG"]


def test_a_path_stands_once_however_it_is_written(here: Path) -> None:
    assert names("b.png", "./b.png", str(here / "b.png"), "in/../b.png") == ["b.png"]
    assert names("in/z.webp", "in", "in/*.webp") == ["in/z.webp", "in/deeper/c.png"]


def test_patterns_are_expanded_unless_a_file_has_that_name(here: Path) -> None:
    assert names("*.png") == ["[x].png", "b.png"]
    assert names("**/*.png") == ["[x].png", "b.png", "in/deeper/c.png"]
    assert names("[x].png") == ["[x].png"]
    assert names("v*", "[ab].*") == ["void", "a.JPG", "b.png"]


def test_standard_input_stands_where_the_dash_does(here: Path) -> None:
    lines = ("in/z.webp\n", "\n", "b.png\r\n", "in/deeper")
    assert names("a.JPG", "-", "[x].png", lines=lines) == [
        "a.JPG", "in/z.webp", "b.png", "in/deeper/c.png", "[x].png"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("nothing.png", "no such file"),
        ("nothing/*.png", "nothing matches this pattern"),
        ("void", "no images in this folder"),
        ("arrays.npz", "arrays, not an image"),
        (os.devnull, "not a file"),
    ],
)
def test_what_cannot_be_an_image_says_why(here: Path, word: str, fault: str) -> None:
    (named,) = image_paths([word])
    assert named.path == word
    assert named.fault.startswith(fault)


def test_a_file_that_is_named_is_tried_whatever_its_name(here: Path) -> None:
    assert list(image_paths(["notes.txt"])) == [Named("notes.txt")]


def test_a_link_to_a_folder_above_ends_the_descent(here: Path) -> None:
    (here / "in/deeper/up").symlink_to(here / "in")
    (here / "linked").symlink_to(here / "in/deeper")
    assert names("in") == ["in/deeper/c.png", "in/z.webp"]
    assert names("linked") == ["linked/c.png", "linked/up/z.webp"]


def test_paths_are_found_as_they_are_asked_for(here: Path) -> None:
    def endless():
        yield "b.png\n"
        raise AssertionError("read ahead")

    assert next(image_paths(["-"], endless())).path == "b.png"
