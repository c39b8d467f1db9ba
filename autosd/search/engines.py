"""The two engines by name: Ray for work, in-process for tests and debugging."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec
from autosd.search import inline
from autosd.search.attended import Attended
from autosd.search.jobs import Bridge
from autosd.search.progress import Watch

if TYPE_CHECKING:
    from autosd.search.raytune.engine import RayEngine

EngineName = Literal["ray", "inline"]
Drive = Callable[[Bridge, Watch], None]


class Engine:
    """An engine for the length of a context; what is never started costs nothing."""

    def __init__(self, name: EngineName, slots: int, each: SlotSpec) -> None:
        """Nothing is started yet.

        Args:
            name: of the engine; `inline` has one slot.
            slots: jobs at the same time.
            each: what a job takes.
        """
        self.name, self.slots, self.each = name, slots, each
        self._ray: RayEngine | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Begin to start Ray in the background; the caller has other things to prepare."""
        if self._ray is None and self.name == "ray":
            from autosd.search.raytune.engine import RayEngine

            self._ray = RayEngine(self.slots, self.each.cpus, self.each.gpus)
            self._stack.enter_context(self._ray)

    def drive(self, bridge: Bridge, watch: Watch) -> None:
        """Do all jobs of a bridge.

        Raises:
            Stopped: the end was asked for; the same call goes on.
        """
        self.start()
        attended = Attended(bridge, watch)
        if self._ray is not None:
            self._ray.run(attended, lost=watch.lost)
        else:
            from autosd.search.worker import Worker

            inline.run(attended, Worker())
        attended.check()


@contextmanager
def started(name: EngineName, slots: int, each: SlotSpec) -> Iterator[Drive]:
    """An engine that starts at once: `drive(bridge, watch)` does all jobs of a bridge."""
    with Engine(name, slots, each) as engine:
        engine.start()
        yield engine.drive


def slots_for(asked: int | None, each: SlotSpec) -> int:
    """How many jobs run at the same time: as asked, or as many as the machine has room for.

    Raises:
        AutosdError: there is no room for a single one, or the GPUs have none for all.
    """
    cpus, gpus = processors(), graphics_cards() if each.gpus else 0
    most = room_on(gpus, each.gpus) if each.gpus else math.inf
    room = min(cpus // each.cpus, most)
    if room < 1:
        raise AutosdError(
            f"per_trial (--cpus-per-trial, --gpus-per-trial): needs {each.cpus} processors and "
            f"{each.gpus:g} GPUs, this machine has {cpus} and {gpus}"
        )
    if asked is not None and asked > most:
        raise AutosdError(
            f"slots (--slots): {asked} with {each.gpus:g} GPUs each (--gpus-per-trial) do not fit; "
            f"this machine has {gpus} GPUs, room for {most}"
        )
    return int(room) if asked is None else asked


def room_on(gpus: int, share: float) -> int:
    """Jobs that fit on so many GPUs; a share of one is never spread over two."""
    return int(gpus / share + 1e-9) if share >= 1 else gpus * int(1 / share + 1e-9)


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
