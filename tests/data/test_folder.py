import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autosd.data.loading import check_data, load_data
from autosd.data.sources.pictures import decode
from autosd.errors import AutosdError
from autosd.recipe import DataSpec

Write = Callable[[dict[str, int]], Path]
SPLIT = {"train/a": 12, "train/b": 10, "test/a": 4, "test/b": 5}


def spec(path: Path, **more: object) -> DataSpec:
    return DataSpec.model_validate({"name": f"folder:{path}", **more})


def test_a_folder_with_train_and_test_is_decoded_to_rgb(folder: Write, tmp_path: Path) -> None:
    root = folder(SPLIT)
    data = load_data(spec(root), cache=tmp_path / "c", with_test=True)
    assert data.class_names == ("a", "b")
    assert data.image_shape == (3, 8, 8)
    assert data.counts == {"train": 16, "val": 3, "select": 3, "test": 9}
    assert (data.augment.crop, data.augment.flip) == (1, True)
    everything = data.part("train", "val", "select")
    files = sorted((root / "train").rglob("*.png"))
    for position, row in enumerate(np.concatenate([data.rows[p] for p in list(data.rows)[:3]])):
        grey = np.asarray(Image.open(files[row]))
        image = everything.images[everything.rows[position]]
        assert np.array_equal(image, np.repeat(grey[..., None], 3, axis=2))
        assert data.class_names[everything.labels[position]] == files[row].parent.name


def test_one_level_of_classes_is_split(folder: Write, tmp_path: Path) -> None:
    data = load_data(spec(folder({"a": 20, "b": 16})), cache=tmp_path / "c")
    assert data.counts == {"train": 22, "val": 4, "select": 4, "test": 6}


def test_a_val_folder_is_the_val_part(folder: Write, tmp_path: Path) -> None:
    root = folder({**SPLIT, "val/a": 3, "val/b": 3})
    data = load_data(spec(root), cache=tmp_path / "c")
    assert data.counts == {"train": 19, "val": 6, "select": 3, "test": 9}
    assert data.rows["val"].tolist() == list(range(22, 28))


@pytest.mark.parametrize("counts", [SPLIT, {"a": 20, "b": 16}])
def test_images_of_the_test_part_are_not_decoded_without_leave(
    folder: Write, tmp_path: Path, counts: dict[str, int]
) -> None:
    root = folder(counts)
    rows = load_data(spec(root), cache=tmp_path / "first").rows["test"]
    files = sorted(root.rglob("*.png")) if "a" in counts else sorted((root / "test").rglob("*"))
    tested = [files[row] for row in rows] if "a" in counts else [f for f in files if f.is_file()]
    for path in tested:
        path.write_bytes(b"x" * path.stat().st_size)
    data = load_data(spec(root), cache=tmp_path / "second")
    assert data.counts["test"] == len(tested)
    with pytest.raises(AutosdError, match="not an image"):
        load_data(spec(root), cache=tmp_path / "second", with_test=True)


def test_it_is_decoded_once(folder: Write, tmp_path: Path) -> None:
    root = folder(SPLIT)
    told: list[tuple[str, int, int]] = []
    for _ in range(2):
        load_data(spec(root), cache=tmp_path / "c", progress=lambda *args: told.append(args))
    assert told == [("decoding pictures", 22, 22)]
    changed = root / "train" / "a" / "000.png"
    os.utime(changed, (time.time() + 5, time.time() + 5))
    load_data(spec(root), cache=tmp_path / "c", progress=lambda *args: told.append(args))
    assert len(told) == 2


def test_the_fingerprint_survives_a_copy_and_notices_a_change(
    folder: Write, tmp_path: Path
) -> None:
    root = folder(SPLIT)
    cache = tmp_path / "c"
    first = load_data(spec(root), cache=cache).fingerprint
    moved = root.rename(tmp_path / "moved")
    assert load_data(spec(moved), cache=cache, with_test=True).fingerprint == first
    (moved / "test" / "a" / "000.png").unlink()
    assert load_data(spec(moved), cache=cache).fingerprint != first


def test_the_default_size_is_the_most_frequent_and_at_most_224(tmp_path: Path) -> None:
    root = tmp_path / "big"
    for name, sides in {"a": (30, 30, 40, 30), "b": (30, 40, 50, 30)}.items():
        (root / "train" / name).mkdir(parents=True)
        for k, side in enumerate(sides):
            Image.new("RGB", (side, side + 7)).save(root / "train" / name / f"{k}.png")
    sized = {"split": {"test": 2}}
    assert load_data(spec(root, **sized), cache=tmp_path).image_shape == (3, 30, 30)
    assert load_data(spec(root, image_size=20, **sized), cache=tmp_path).image_shape == (3, 20, 20)
    for path in root.rglob("*.png"):
        Image.new("RGB", (300, 400)).save(path)
    assert load_data(spec(root, **sized), cache=tmp_path).image_shape == (3, 224, 224)


def test_names_of_classes_may_have_odd_characters(folder: Write, tmp_path: Path) -> None:
    names = ["a b", "ä,ö", "日本", "{x}: y", "'q'", "-rf", "e\nf"]
    root = folder({f"train/{name}": 4 for name in names})
    stray = os.fsdecode(b"caf\xe9")
    os.mkdir(root / "train" / stray)
    for k in range(4):
        Image.new("L", (8, 8), k).save(root / "train" / stray / f"{k}.png")
    data = load_data(spec(root, split={"val": 8, "select": 8, "test": 8}), cache=tmp_path / "c")
    assert set(data.class_names) == {*names, "caf\\xe9"}
    assert all(name.encode() for name in data.class_names)


def test_hidden_files_and_litter_are_ignored(folder: Write, tmp_path: Path) -> None:
    root = folder({"train/a/deep": 6, "train/a": 6, "train/b": 10})
    (root / "train" / ".hidden").mkdir()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "train" / "a" / name).write_text("litter")
    (root / "train" / "README.txt").write_text("beside the classes")
    data = load_data(spec(root), cache=tmp_path / "c")
    assert (sum(data.counts.values()), data.class_names) == (22, ("a", "b"))


def test_files_that_are_no_images_are_named(folder: Write, tmp_path: Path) -> None:
    root = folder(SPLIT)
    (root / "train" / "a" / "notes.txt").write_text("hello")
    (root / "train" / "b" / "empty.png").write_bytes(b"")
    with pytest.raises(AutosdError) as error:
        load_data(spec(root), cache=tmp_path / "c")
    assert str(error.value).splitlines() == [
        f"{root / 'train' / 'a' / 'notes.txt'}: not an image",
        f"{root / 'train' / 'b' / 'empty.png'}: not an image",
    ]


def test_a_damaged_image_is_named_and_leaves_no_cache(folder: Write, tmp_path: Path) -> None:
    root = folder(SPLIT)
    Image.effect_noise((64, 64), 50).save(root / "train" / "a" / "000.png")
    whole = (root / "train" / "a" / "000.png").read_bytes()
    (root / "train" / "a" / "000.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AutosdError, match=r"train/a/000\.png: cannot be read as an image"):
        load_data(spec(root), cache=tmp_path / "c")
    assert not list((tmp_path / "c").rglob("*.npy*[!k]"))
    Image.new("L", (8, 8)).save(root / "train" / "a" / "000.png")
    assert load_data(spec(root), cache=tmp_path / "c").counts["train"] == 16


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"train/a": 5}, "only one class ('a'); at least two are needed"),
        ({"train/a": 5, "train/b": 0}, "no images in"),
        ({"train/a": 5, "train/b": 5, "test/a": 0}, "no images in"),
        ({"train/a": 5, "train/b": 5, "test/bb": 2}, "no class named 'bb'; there are: a, b."),
        ({"val/a": 5, "test/b": 5}, "has val and test but no train folder"),
        ({"train": 3}, "no folders named after the classes"),
        ({"train/a": 5, "train/b": 2, "test/a": 1}, "'b' has 2; each class needs at least 3"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(
    folder: Write, tmp_path: Path, counts: dict[str, int], said: str
) -> None:
    with pytest.raises(AutosdError) as error:
        load_data(spec(folder(counts)), cache=tmp_path / "c")
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_folder_is_named_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(AutosdError, match="absent: no such folder"):
        check_data(spec(tmp_path / "absent"))


def test_a_cache_that_cannot_be_written_is_named(folder: Write, tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    with pytest.raises(AutosdError, match=r"file/images: cannot be written"):
        load_data(spec(folder(SPLIT)), cache=occupied)


def saved(path: Path, image: Image.Image, **options: object) -> np.ndarray:
    image.save(path, **options)
    return decode(path, 8)


def test_grey_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert saved(tmp_path / "p.png", red.quantize(4))[0, 0].tolist() == [255, 0, 0]
    assert saved(tmp_path / "c.tif", red.convert("CMYK"))[0, 0].tolist() == [255, 0, 0]
    assert saved(tmp_path / "l.png", Image.new("L", (8, 8), 70))[0, 0].tolist() == [70] * 3
    assert saved(tmp_path / "1.png", Image.new("1", (8, 8), 1))[0, 0].tolist() == [255] * 3


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path: Path) -> None:
    wide = Image.fromarray(np.full((8, 8), 0x7F30, dtype=np.uint16))
    assert saved(tmp_path / "w.png", wide)[0, 0].tolist() == [0x7F] * 3


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert saved(tmp_path / "a.png", clear)[0, 0].tolist() == [255] * 3
    palette = Image.new("P", (8, 8), 0)
    assert saved(tmp_path / "t.png", palette, transparency=0)[0, 0].tolist() == [255] * 3


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    lying = Image.new("RGB", (8, 8), "black")
    lying.paste("white", (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(tmp_path / "e.png", lying, exif=exif)
    assert image[:, -1].min() > 250
    assert image[:, 0].max() < 5


def test_oblong_pictures_are_cut_in_the_middle(tmp_path: Path) -> None:
    wide = Image.new("RGB", (24, 8), "black")
    wide.paste("white", (8, 0, 16, 8))
    assert saved(tmp_path / "o.png", wide).min() == 255
