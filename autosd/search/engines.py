"""The engines: Ray on this machine, Ray on a cluster, or in-process for tests and debugging."""

import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec
from autosd.search import inline
from autosd.search.attended import Attended
from autosd.search.cluster import Cluster
from autosd.search.jobs import Bridge
from autosd.search.placed import Placed
from autosd.search.progress import Watch

if TYPE_CHECKING:
    from autosd.search.raytune.engine import RayEngine

EngineChoice = Literal["ray", "inline"] | Cluster


class Engine:
    """An engine for the length of a context; what is never started costs nothing."""

    def __init__(self, kind: EngineChoice, asked: int | None, each: SlotSpec) -> None:
        """Nothing is started yet; a cluster is joined to see what it has.

        Args:
            kind: `ray` on this machine, a cluster, or `inline`, which has one slot.
            asked: jobs at the same time, None for as many as there is room for.
            each: what a job takes.

        Raises:
            AutosdError: there is no room, or no such cluster.
        """
        self.kind, self.asked, self.each = kind, asked, each
        self.slots = slots_of(kind, asked, each)
        self._ray: RayEngine | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Begin to start Ray in the background; the caller has other things to prepare."""
        if self._ray is None and self.kind != "inline":
            from autosd.search.raytune.engine import RayEngine

            cluster = self.kind if isinstance(self.kind, Cluster) else None
            asked = self.asked if cluster else self.slots
            self._ray = RayEngine(asked, self.each.cpus, self.each.gpus, cluster)
            self._stack.enter_context(self._ray)

    def drive(
        self,
        bridge: Bridge,
        watch: Watch,
        resized: Callable[[int], object] = lambda slots: None,
    ) -> None:
        """Do all jobs of a bridge.

        Args:
            bridge: of the runs.
            watch: hears of every event.
            resized: told how many slots there are when nodes come or go.

        Raises:
            Stopped: the end was asked for; the same call goes on.
        """
        self.start()
        attended = Attended(bridge, watch)
        placed = Placed(attended, self.kind if isinstance(self.kind, Cluster) else None)
        if self._ray is not None:
            self._ray.run(placed, lost=watch.lost, resized=resized)
        else:
            from autosd.search.worker import Worker

            inline.run(placed, Worker())
        attended.check()


def slots_of(kind: EngineChoice, asked: int | None, each: SlotSpec) -> int:
    """How many jobs run at the same time on an engine, as things are now; see `slots_for`."""
    if kind == "inline":
        return 1
    if not isinstance(kind, Cluster):
        return slots_for(asked, each)
    kind.allow()
    from autosd.search.raytune.joined import join, room

    join(kind)
    there = room(each.cpus, each.gpus)
    if there < 1:
        raise AutosdError(
            f"per_trial (--cpus-per-trial, --gpus-per-trial): needs {each.cpus} processors and "
            f"{each.gpus:g} GPUs, no node of {kind.address} has them"
        )
    return min(asked or there, there)


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
