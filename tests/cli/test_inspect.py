"""`autosd inspect` on the command line."""

import json

import numpy as np
import pytest
from PIL import Image


def test_json_is_as_documented_and_the_picture_is_written_where_asked(
    invoke, here, assert_documented
):
    done = invoke("inspect", "digits", "--picture", "grid.png", "--json")
    said = json.loads(done.stdout)
    assert_documented("inspect", said)
    assert said["parts"] == {"train": 500, "val": 500, "select": 500, "test": 297}
    with Image.open(here / "grid.png") as picture:
        assert picture.format == "PNG"


def test_people_get_a_table_and_nothing_is_written(invoke, here):
    done = invoke("inspect", "digits")
    assert done.exit_code == 0
    for part in ("train 500", "all 8 x 8", "c1611ae32b01a895", "Of test only counts"):
        assert part in done.stdout
    assert list(here.iterdir()) == []


def test_hostile_names_and_equal_images_are_told_as_text(invoke, here, assert_documented):
    rows = np.random.default_rng(0).integers(0, 256, (20, 4, 4), dtype=np.uint8)
    rows[7] = rows[0]
    names = ["[red]bold[/red]\x1b[2J", "</script>"]
    np.savez(here / "x.npz", train_images=rows, train_labels=np.arange(20) % 2, label_names=names)
    done = invoke("inspect", "npz:x.npz")
    assert done.exit_code == 0
    assert "[red]bold[/red]?[2J" in done.stdout
    assert "groups with different labels: 1" in done.stdout
    assert_documented("inspect", json.loads(invoke("inspect", "npz:x.npz", "--json").stdout))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["nothing"], "no data set named 'nothing'"),
        (["digits", "--picture", "grid.gif"], "--picture grid.gif: a name that ends in .png"),
        (["digits", "--set", "epochs=3"], "--set epochs: only settings of the data"),
    ],
)
def test_mistakes_end_in_one_line(invoke, here, words, fault):
    done = invoke("inspect", *words)
    assert done.exit_code == 2
    assert fault in done.stderr
    assert list(here.iterdir()) == []
