"""Image files of any kind to uint8 arrays of one shape."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from autosd.data.cache import in_threads
from autosd.data.dataset import Images
from autosd.errors import AutosdError

MAX_DEFAULT_SIDE = 224


def decode(path: Path, size: int) -> Images:
    """An image file as uint8 `[size, size, 3]`; see `decode_as`."""
    return decode_as(path, (size, size, 3))


def decode_as(path: Path, shape: tuple[int, int, int]) -> Images:
    """An image file as uint8 of `shape` `(H, W, C)`, 1 or 3 channels; see `fitted`.

    Raises:
        AutosdError: names the file.
    """
    try:
        with Image.open(path) as picture:
            picture.draft(None, (2 * shape[1], 2 * shape[0]))
            return fitted(picture, shape)
    except Exception as error:  # decoders of damaged files raise almost anything
        raise AutosdError(unreadable(path, error)) from None


def fitted(picture: Image.Image, shape: tuple[int, int, int]) -> Images:
    """A picture of any kind as uint8 of `shape` `(H, W, C)`, 1 or 3 channels.

    Turned upright (EXIF), transparency laid on white, grey, palette and CMYK made RGB, cut in the
    middle to the shape, resized bicubically with antialiasing. Of an animation the first frame.
    """
    height, width, channels = shape
    upright = as_rgb(ImageOps.exif_transpose(picture))
    if channels == 1:
        upright = upright.convert("L")
    cut = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(cut).reshape(shape)


def as_rgb(picture: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit grey by its upper byte, transparency over white."""
    if picture.mode.startswith("I"):
        wide = np.asarray(picture).astype(np.int64)
        shift = 8 if wide.max(initial=0) > 255 else 0
        picture = Image.fromarray((wide >> shift).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def common_side(paths: list[Path]) -> int:
    """The most frequent shorter side of the images, at most 224; only headers are read.

    Raises:
        AutosdError: names the files that are no images.
    """
    sides: list[int] = []
    faults: list[str] = []
    for _, results in in_threads(paths, _side):
        sides += [side for side in results if isinstance(side, int)]
        faults += [fault for fault in results if isinstance(fault, str)]
    if faults:
        more = [f"... and {len(faults) - 5} more files"] if len(faults) > 5 else []
        raise AutosdError("\n".join(faults[:5] + more))
    return default_side(sides)


def default_side(sides: Iterable[int]) -> int:
    """The most frequent of some shorter sides, the larger of two; at most 224."""
    counts = Counter(sides)
    most = max(counts.values())
    return min(MAX_DEFAULT_SIDE, max(side for side, count in counts.items() if count == most))


def _side(path: Path) -> int | str:
    try:
        with Image.open(path) as picture:
            return min(picture.size)
    except Exception as error:  # decoders of damaged files raise almost anything
        return unreadable(path, error)


def unreadable(path: Path, error: BaseException) -> str:
    """One line for a file that is no image or a damaged one."""
    if isinstance(error, UnidentifiedImageError):
        return f"{path}: not an image"
    return f"{path}: cannot be read as an image ({error})"
