import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autosd.data.cache import cached_images, default_cache


def fill(item: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.full(shape, item % 256, dtype=np.uint8)


def silent(what: str, done: int, count: int) -> None:
    """Progress that nobody looks at."""


DECODE_WITH_NOTES = """
import sys
from pathlib import Path
import numpy as np
from autosd.data.cache import cached_images

def noted(item, shape):
    with open(sys.argv[2], "a") as file:
        file.write("x")
    return np.full(shape, item % 256, dtype=np.uint8)

path = Path(sys.argv[1])
images = cached_images(path, range(600), lambda: (2, 2, 3), noted, lambda *_: None, "test")
sys.exit(0 if images.shape == (600, 2, 2, 3) and images[599, 1, 1, 2] == 599 % 256 else 1)
"""


def test_two_processes_decode_only_once(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("images.npy", "count")]
    command = [sys.executable, "-c", DECODE_WITH_NOTES, *paths]
    workers = [subprocess.Popen(command) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert len((tmp_path / "count").read_text()) == 600


def test_progress_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    cached_images(
        tmp_path / "i.npy",
        range(600),
        lambda: (1, 1, 1),
        fill,
        lambda *args: told.append(args),
        "decoding x",
    )
    assert told == [("decoding x", 256, 600), ("decoding x", 512, 600), ("decoding x", 600, 600)]


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_an_unfit_file_is_made_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "i.npy"
    path.write_bytes(content)
    images = cached_images(path, [1, 2], lambda: (1, 1, 1), fill, silent, "x")
    assert images.ravel().tolist() == [1, 2]


def test_the_map_cannot_change_the_file(tmp_path: Path) -> None:
    path = tmp_path / "i.npy"
    images = cached_images(path, [1, 2], lambda: (1, 1, 1), fill, silent, "x")
    before = path.read_bytes()
    images[0] = 99
    images.flush()
    assert path.read_bytes() == before


def test_the_cache_is_where_the_desktop_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "autosd"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert default_cache() == Path("/home/someone/.cache/autosd")
