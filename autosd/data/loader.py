"""Batches for training and evaluation: no per-image Python, the same bits on every path."""

from collections.abc import Iterator

import torch
from torch import Tensor

from autosd.data.augment import Normalise, crop_and_flip, erase
from autosd.data.batches import Batch
from autosd.data.dataset import Data, Dataset
from autosd.data.pixels import place
from autosd.data.trivial import trivial_augment
from autosd.errors import AutosdError
from autosd.recipe import AugmentSpec
from autosd.streams import Clock, generator

RESIDENT_SHARE = 0.25
PLAIN_VALUES = 2**26
CPU = torch.device("cpu")


class Loader:
    """One data set in batches.

    Images that take at most `resident_share` of the device's free memory live there as uint8,
    others stream from their file; the batches are the same bit for bit.

    Args:
        dataset: the images.
        data: where it is from: mean, deviation and default augmentation.
        batch_size: rows of a training batch.
        augment: augmentation; what it leaves open is the data set's own.
        device: where batches are made.
        drop_single: leave out a last batch of one row, which batch normalisation cannot take.
        resident_share: 0 streams every mapped file.

    Attributes:
        steps_per_epoch: batches of an epoch.
        dropped: rows that an epoch leaves out.

    Raises:
        AutosdError: `drop_single`, and all batches would have one row.
    """

    def __init__(
        self,
        dataset: Dataset,
        data: Data,
        *,
        batch_size: int = 128,
        augment: AugmentSpec | None = None,
        device: str | torch.device = "cpu",
        drop_single: bool = False,
        resident_share: float = RESIDENT_SHARE,
    ) -> None:
        count = len(dataset)
        if drop_single and (batch_size == 1 or count == 1):
            raise AutosdError(
                f"batch_size {batch_size} with {count} training images makes batches of one row, "
                "which batch normalisation cannot take"
            )
        self._count, self._batch_size, self._shape = count, batch_size, data.image_shape
        self._augment = data.augmentation(augment or AugmentSpec())
        self.device = torch.device(device)
        self.dropped = int(drop_single and count % batch_size == 1)
        self.steps_per_epoch = -(-(count - self.dropped) // batch_size)
        self._labels = torch.from_numpy(dataset.labels).to(self.device)
        self._normalise = Normalise(data.mean, data.std, self._shape[1:], self.device)
        self._pixels = place(dataset, self.device, resident_share)

    def epoch(self, clock: Clock) -> Iterator[Batch]:
        """Batches of the clock's epoch; the k-th belongs to `clock.at(epoch, k)`."""
        stream = generator(CPU, clock.seed, clock.epoch, "order")
        order = torch.randperm(self._count, generator=stream)[: self._count - self.dropped]
        batches = self._pixels.batches(order, self._batch_size)
        for step, (index, pixels) in enumerate(batches):
            yield self._batch(index, pixels, clock.at(clock.epoch, step))

    def plain(self, batch_size: int = 2048) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in the order of the data set, not augmented.

        Batches are smaller than `batch_size` where images are large: at most 256 MB of float32.
        """
        values = self._shape[0] * self._shape[1] * self._shape[2]
        size = max(1, min(batch_size, PLAIN_VALUES // values))
        for index, pixels in self._pixels.batches(torch.arange(self._count), size):
            yield self._normalise(pixels), self._labels[index]

    def _batch(self, index: Tensor, pixels: Tensor, clock: Clock) -> Batch:
        def draw(index: Tensor, view: int) -> Tensor:
            return self._augmented(self._pixels.fetch(index), clock, view)

        return Batch(
            images=self._augmented(pixels, clock, 0),
            labels=self._labels[index],
            index=index,
            fresh=len(index),
            view=torch.zeros_like(index),
            source=torch.arange(len(index), device=self.device),
            draw=draw,
        )

    def _augmented(self, pixels: Tensor, clock: Clock, view: int) -> Tensor:
        """Normalised images, augmented by the stream of (seed, epoch, step, view)."""
        asked, moment = self._augment, (clock.seed, clock.epoch, clock.step)
        stream = generator(self.device, *moment, f"augment.{view}")
        pixels = crop_and_flip(pixels, asked.crop or 0, bool(asked.flip), stream)
        if asked.policy == "trivial":
            pixels = trivial_augment(
                pixels,
                generator(self.device, *moment, f"trivial.{view}"),
                generator(CPU, *moment, f"trivial.groups.{view}"),
            )
        return erase(self._normalise(pixels), asked.erase, stream)
