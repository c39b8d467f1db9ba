"""Samples of each class as one picture, with the names of the classes as captions."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from autosd.data.dataset import Images
from autosd.errors import AutosdError
from autosd.files import write_atomically
from autosd.results.plain_text import one_line

SIDE = 64
GAP, CAPTION, MARGIN = 4, 18, 16
FONT_SIZE = 13
MOST_CLASSES = 120
FEW, MANY = 12, 40
INK, PAPER = (32, 32, 32), (255, 255, 255)


def draw(class_names: Sequence[str], samples: Mapping[int, Sequence[Images]]) -> Image.Image:
    """A strip of images for each class under its name; at most 120 classes, evenly chosen.

    Args:
        class_names: one for each class; whatever they hold is drawn as text.
        samples: class -> uint8 images `[H, W, C]`.
    """
    classes = sorted(samples)
    if len(classes) > MOST_CLASSES:
        chosen = np.linspace(0, len(classes) - 1, MOST_CLASSES).round().astype(int)
        classes = [classes[k] for k in chosen]
    shown = 8 if len(classes) <= FEW else 4 if len(classes) <= MANY else 2
    width, height = shown * (SIDE + GAP), CAPTION + SIDE + GAP
    columns = max(1, round(math.sqrt(len(classes) * height / width)))
    lines = math.ceil(len(classes) / columns)
    size = (columns * (width + MARGIN) + MARGIN, lines * (height + GAP) + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT_SIZE)
    for number, label in enumerate(classes):
        left = MARGIN + number % columns * (width + MARGIN)
        top = MARGIN // 2 + number // columns * (height + GAP)
        caption = fitting(class_names[label], width, font)
        pen.text((left, top), caption, fill=INK, font=font)
        for k, image in enumerate(samples[label][:shown]):
            picture.paste(tile(image), (left + k * (SIDE + GAP), top + CAPTION))
    return picture


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG, whole or not at all.

    Raises:
        AutosdError: another ending than `.png`, or it cannot be written there.
    """
    check_name(path)
    png = io.BytesIO()
    picture.save(png, "PNG")
    try:
        write_atomically(path, lambda file: file.write(png.getvalue()))
    except OSError as error:
        raise AutosdError(f"{path}: cannot be written ({error.strerror})") from None


def check_name(path: Path) -> None:
    """Raise `AutosdError` for a picture that would not be a PNG."""
    if path.suffix.lower() != ".png":
        raise AutosdError(f"--picture {path}: a name that ends in .png is needed")


def tile(image: Images) -> Image.Image:
    """An image as RGB, its longer side `SIDE` pixels; small ones keep their pixels visible."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("RGB")
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return picture.resize(size, how)


def fitting(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A name as one line that is at most `width` pixels wide."""
    text = one_line(name)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
