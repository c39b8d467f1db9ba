from pathlib import Path

import pytest

from autosd.results.best import replace


def fill(text: str):
    return lambda folder: (folder / "file").write_text(text)


def test_the_folder_is_replaced_whole(tmp_path: Path):
    best = tmp_path / "best"
    replace(best, fill("one"))
    (best / "left over").write_text("old")
    replace(best, fill("two"))
    assert [path.name for path in best.iterdir()] == ["file"]
    assert (best / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_failure_leaves_the_old_one(tmp_path: Path):
    def fail(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise OSError("disk full")

    best = tmp_path / "best"
    replace(best, fill("one"))
    with pytest.raises(OSError, match="disk full"):
        replace(best, fail)
    assert (best / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
