"""Small data sets made of scikit-learn's real digits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """uint8 `[1797, 8, 8]` and labels `[1797]`."""
    bunch = load_digits()
    return (bunch.images * 15).astype(np.uint8), bunch.target


@pytest.fixture
def arrays(digits: tuple[np.ndarray, np.ndarray]) -> Arrays:
    """MedMNIST layout: 200 colour images to train, 60 to test, ten classes."""
    images, labels = digits
    colour = np.stack([images, images[:, ::-1], 255 - images], axis=-1)
    return {
        "train_images": colour[:200],
        "train_labels": labels[:200],
        "test_images": colour[200:260],
        "test_labels": labels[200:260],
    }


@pytest.fixture
def npz(tmp_path: Path, arrays: Arrays) -> Callable[..., Path]:
    """Write the arrays with some replaced; None leaves one out."""

    def write(**changes: np.ndarray | None) -> Path:
        path = tmp_path / "small.npz"
        merged = {**arrays, **changes}
        np.savez(path, **{key: value for key, value in merged.items() if value is not None})
        return path

    return write


@pytest.fixture
def folder(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> Callable[[dict[str, int]], Path]:
    """Write `{"train/zero": 5, ...}` grey PNG files below one folder."""

    def write(counts: dict[str, int]) -> Path:
        root = tmp_path / "pictures"
        for offset, (name, count) in enumerate(counts.items()):
            (root / name).mkdir(parents=True, exist_ok=True)
            for k in range(count):
                image = Image.fromarray(digits[0][20 * offset + k])
                image.save(root / name / f"{k:03d}.png")
        return root

    return write
