"""Where the pixels of a training run live: on the device, or in a file that is read ahead."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Protocol

import numpy as np
import psutil
import torch
from torch import Tensor

from autosd.data.dataset import Dataset, chunks

BATCHES_AHEAD = 2


class Pixels(Protocol):
    """uint8 images of a data set, by position in it."""

    def fetch(self, index: Tensor) -> Tensor:
        """`[B, H, W, C]` on the device for positions `[B]`."""

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Positions and images on the device, `size` at a time; `order` is on the processor."""


class Resident:
    """All images on the device. Those in this machine's memory are used where they are."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        on_host = device.type == "cpu"
        self._images = torch.from_numpy(dataset.images) if on_host else _copied(dataset, device)
        self._rows = torch.from_numpy(dataset.rows) if on_host else None
        self._device = device

    def fetch(self, index: Tensor) -> Tensor:
        rows = index if self._rows is None else self._rows.index_select(0, index)
        return self._images.index_select(0, rows)

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        for index in _sent(order, self._device).split(size):
            yield index, self.fetch(index)


def _copied(dataset: Dataset, device: torch.device) -> Tensor:
    """The images of the data set's rows on the device."""
    shape = (len(dataset), *dataset.images.shape[1:])
    images = torch.empty(shape, dtype=torch.uint8, device=device)
    start = 0
    for chunk in chunks(dataset):
        images[start : start + len(chunk)] = torch.from_numpy(chunk)
        start += len(chunk)
    return images


class Streamed:
    """Images in a mapped file: a thread gathers some batches ahead, through pinned memory."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self._dataset, self._device = dataset, device

    def fetch(self, index: Tensor) -> Tensor:
        return self._gathered(index.cpu()).to(self._device, non_blocking=True)

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        chunks = iter(order.split(size))
        with ThreadPoolExecutor(1, thread_name_prefix="autosd-prefetch") as thread:
            waiting = deque(
                (index, thread.submit(self._gathered, index))
                for index in islice(chunks, BATCHES_AHEAD)
            )
            while waiting:
                index, pixels = waiting.popleft()
                waiting.extend((i, thread.submit(self._gathered, i)) for i in islice(chunks, 1))
                yield (
                    index.to(self._device, non_blocking=True),
                    pixels.result().to(self._device, non_blocking=True),
                )

    def _gathered(self, index: Tensor) -> Tensor:
        rows = self._dataset.rows[index.numpy()]
        pixels = torch.from_numpy(np.take(self._dataset.images, rows, axis=0))
        return pixels.pin_memory() if self._device.type == "cuda" else pixels


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device that nobody waits for: only pinned memory allows that."""
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)


def place(dataset: Dataset, device: torch.device, resident_share: float) -> Pixels:
    """Resident where the images take at most that share of the device's free memory."""
    if _bytes_needed(dataset, device) <= resident_share * free_memory(device):
        return Resident(dataset, device)
    return Streamed(dataset, device)


def _bytes_needed(dataset: Dataset, device: torch.device) -> int:
    """What residence would add; nothing for an array that is in memory already."""
    if device.type == "cpu" and not isinstance(dataset.images, np.memmap):
        return 0
    return len(dataset) * int(np.prod(dataset.images.shape[1:]))


def free_memory(device: torch.device) -> int:
    """Free bytes of the device, as far as this process may take them."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        allowed = torch.cuda.get_per_process_memory_fraction(device) * total
        return int(min(free, allowed - torch.cuda.memory_allocated(device)))
    return int(psutil.virtual_memory().available)
