"""From a picture to what a student takes."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from autosd.data.augment import Normalise
from autosd.data.sources.arrays import resized
from autosd.data.sources.pictures import decode_as, fitted
from autosd.errors import AutosdError


class Preprocess:
    """Makes one normalised image of a picture, as the data layer did for training.

    Args:
        image_shape: `(C, H, W)` of the student.
        mean, std: per channel, on a scale of 0 to 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        self.image_shape, self.mean, self.std = image_shape, mean, std
        self._normalise = Normalise(mean, std, image_shape[1:], torch.device("cpu"))

    def __call__(self, image: Image.Image | npt.NDArray[np.uint8]) -> Tensor:
        """A float32 tensor `[C, H, W]` of a PIL image or a uint8 array `[H, W]` or `[H, W, C]`.

        A PIL image is turned upright, cut in the middle to the student's shape and resized;
        an array of another size is resized as it is.

        Raises:
            AutosdError: an array of another type or number of channels.
        """
        if isinstance(image, Image.Image):
            pixels = fitted(image, self.pixel_shape)
        else:
            pixels = self._array(image)
        return self.batch(pixels[None])[0]

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """`(H, W, C)`."""
        channels, height, width = self.image_shape
        return height, width, channels

    def decode(self, path: Path) -> npt.NDArray[np.uint8]:
        """An image file as uint8 `[H, W, C]`, exactly as the files of a training set are read.

        Raises:
            AutosdError: names the file.
        """
        return decode_as(path, self.pixel_shape)

    def batch(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """Normalised float32 `[B, C, H, W]` of uint8 `[B, H, W, C]` of the student's shape."""
        return self._normalise(torch.from_numpy(pixels.copy()))

    def _array(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        channels, height, width = self.image_shape
        pixels = image[..., None] if image.ndim == 2 else image
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != channels:
            raise AutosdError(
                f"an image is uint8 [H, W, {channels}], not {image.dtype} {list(image.shape)}"
            )
        return pixels if pixels.shape[:2] == (height, width) else resized(pixels, height)
