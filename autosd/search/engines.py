"""The two engines by name: Ray for work, in-process for tests and debugging."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec
from autosd.search import inline
from autosd.search.jobs import Bridge
from autosd.search.progress import Watch

EngineName = Literal["ray", "inline"]
Drive = Callable[[Bridge, Watch], None]


@contextmanager
def started(name: EngineName, slots: int, each: SlotSpec) -> Iterator[Drive]:
    """An engine for the length of a block: `drive(bridge, watch)` does all jobs of a bridge.

    Ray starts in the background; what is done before the first `drive` costs no time.

    Args:
        name: of the engine; `inline` has one slot.
        slots: jobs at the same time.
        each: what a job takes.
    """
    if name == "inline":
        from autosd.search.worker import Worker

        yield lambda bridge, watch: inline.run(bridge, Worker())
        return
    from autosd.search.rayrun import RayEngine

    with RayEngine(slots, each.cpus, each.gpus) as ray:
        yield lambda bridge, watch: ray.run(bridge, lost=watch.lost)


def slots_for(asked: int | None, each: SlotSpec) -> int:
    """How many jobs run at the same time: as asked, or as many as the machine has room for.

    Raises:
        AutosdError: there is no room for a single one.
    """
    cpus, gpus = processors(), graphics_cards() if each.gpus else 0
    room = cpus // each.cpus
    if each.gpus:
        room = min(room, math.floor(gpus / each.gpus + 1e-9))
    if room < 1:
        raise AutosdError(
            f"per_trial: needs {each.cpus} processors and {each.gpus:g} GPUs, "
            f"this machine has {cpus} and {gpus}"
        )
    return room if asked is None else asked


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
