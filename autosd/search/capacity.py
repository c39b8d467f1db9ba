"""What fits on processors and GPUs. A share of one GPU is never spread over two.

Ray hands out shares in the same way: it takes the GPU with the least room that is enough.
"""

import math
import os
from collections.abc import Iterable
from pathlib import Path

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec

PARTS = (16, 8, 4, 3, 2, 1)
"""So many equal jobs share a GPU. Few sizes: a worker serves jobs of its own size only."""
SMALLEST = 1 / max(PARTS)
TINY = 1e-9


def slots_for(asked: int | None, each: SlotSpec) -> int:
    """How many jobs run at the same time: as asked, or as many as the machine has room for.

    Raises:
        AutosdError: there is no room for a single one, or the GPUs have none for all.
    """
    share = least_share(each)
    cpus, gpus = processors(), graphics_cards() if share else 0
    most = room_on(gpus, share) if share else math.inf
    room = min(cpus // each.cpus, most)
    if room < 1:
        raise AutosdError(
            f"per_trial (--cpus-per-trial, --gpus-per-trial): needs {each.cpus} processors and "
            f"{each.share:g} GPUs, this machine has {cpus} and {gpus}"
        )
    if asked is not None and asked > most:
        raise AutosdError(
            f"slots (--slots): {asked} with {share:g} GPUs each (--gpus-per-trial) do not fit; "
            f"this machine has {gpus} GPUs, room for {most}"
        )
    return int(room) if asked is None else asked


def least_share(each: SlotSpec) -> float:
    """Of a GPU, or GPUs, that a job may be given."""
    return SMALLEST if each.gpus == "auto" else each.gpus


def room_on(gpus: int, share: float) -> int:
    """Jobs that fit on so many GPUs; a share of one is never spread over two."""
    return int(gpus / share + TINY) if share >= 1 else gpus * int(1 / share + TINY)


def gpus_for(jobs: int, share: float) -> int:
    """GPUs that so many jobs take: the opposite of `room_on`."""
    if not share:
        return 0
    return math.ceil(jobs * share) if share >= 1 else math.ceil(jobs / int(1 / share + TINY))


def part_of_gpu(need: float) -> float:
    """The smallest share on offer that covers `need`; the whole GPU where none does."""
    return next((1 / part for part in PARTS if 1 / part >= need), 1.0)


def crowding(asked: int | None, each: SlotSpec) -> str:
    """What to tell who asks for more processors than there are; empty where they suffice."""
    wanted, cpus = (asked or 0) * each.cpus, processors()
    if wanted <= cpus:
        return ""
    return (
        f"--slots {asked} with {each.cpus} processors each (--cpus-per-trial) share the {cpus} of "
        "this machine, so each run is slower; without --slots there are as many as fit"
    )


def processors() -> int:
    """Processor cores that this process may use, a container's limit included."""
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no limit, or no Linux
        return cores


def graphics_cards() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


class Room:
    """Which share of which GPU is taken, by name of the job; the GPUs may be of several nodes."""

    def __init__(self, gpus: Iterable[str] = ()) -> None:
        """All of them are free.

        Args:
            gpus: their names, such as `node/0`.
        """
        self._taken: dict[str, dict[str, float]] = {}
        self.update(gpus)

    def update(self, gpus: Iterable[str]) -> None:
        """The GPUs that there are now; what was taken of those that stay is taken still."""
        self._taken = {gpu: self._taken.get(gpu, {}) for gpu in gpus}

    def fits(self, share: float) -> bool:
        """Whether a GPU has room for it."""
        return self._narrowest(share) is not None

    def take(self, job: str, share: float) -> bool:
        """Put a job where the least room is that is enough; whether there was any."""
        gpu = self._narrowest(share)
        if gpu is not None:
            self._taken[gpu][job] = share
        return gpu is not None

    def give(self, job: str) -> None:
        """Free what a job had; nothing where it had none."""
        for jobs in self._taken.values():
            jobs.pop(job, None)

    def _free(self, gpu: str) -> float:
        return 1 - sum(self._taken[gpu].values()) + TINY

    def _narrowest(self, share: float) -> str | None:
        enough = [gpu for gpu in self._taken if self._free(gpu) >= share]
        return min(enough, key=self._free, default=None)
