"""From a picture to what a student takes."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from autosd.data.augment import Normalise
from autosd.data.sources.arrays import resized
from autosd.data.sources.pictures import as_rgb
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
        self.image_shape = image_shape
        self._normalise = Normalise(mean, std, image_shape[1:], torch.device("cpu"))

    def __call__(self, image: Image.Image | npt.NDArray[np.uint8]) -> Tensor:
        """A float32 tensor `[C, H, W]` of a PIL image or a uint8 array `[H, W]` or `[H, W, C]`.

        A PIL image is turned upright, cut in the middle to the student's shape and resized;
        an array of another size is resized as it is.

        Raises:
            AutosdError: an array of another type or number of channels.
        """
        pixels = self._picture(image) if isinstance(image, Image.Image) else self._array(image)
        return self._normalise(torch.from_numpy(pixels.copy())[None])[0]

    def _picture(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        channels, height, width = self.image_shape
        upright = as_rgb(ImageOps.exif_transpose(image))
        if channels == 1:
            upright = upright.convert("L")
        if upright.size != (width, height):
            upright = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
        return np.asarray(upright).reshape(height, width, channels)

    def _array(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        channels, height, width = self.image_shape
        pixels = image[..., None] if image.ndim == 2 else image
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != channels:
            raise AutosdError(
                f"an image is uint8 [H, W, {channels}], not {image.dtype} {list(image.shape)}"
            )
        return pixels if pixels.shape[:2] == (height, width) else resized(pixels, height)
