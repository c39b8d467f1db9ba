"""The engines: Ray on this machine, Ray on a cluster, or in-process for tests and debugging."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal, Self

from autosd.errors import AutosdError
from autosd.recipe import SlotSpec
from autosd.search import inline
from autosd.search.attended import Attended
from autosd.search.capacity import graphics_cards, least_share, slots_for
from autosd.search.cluster import Cluster
from autosd.search.jobs import Bridge, Source
from autosd.search.packed import Packed
from autosd.search.placed import Placed
from autosd.search.progress import Watch

if TYPE_CHECKING:
    from autosd.search.raytune.engine import RayEngine

EngineChoice = Literal["ray", "inline"] | Cluster
NO_ROOM = "no node of the cluster has room for a trial any more: the search waits for one"


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
            cards = graphics_cards() if self.each.gpus == "auto" and cluster is None else None
            share = least_share(self.each)
            self._ray = RayEngine(asked, self.each.cpus, share, cluster, cards)
            self._stack.enter_context(self._ray)

    def drive(
        self,
        bridge: Source,
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
        attended = Attended(self._packed(bridge), watch)
        placed = Placed(attended, self.kind if isinstance(self.kind, Cluster) else None)
        if self._ray is not None:

            def changed(slots: int) -> None:
                if slots < 1:
                    watch.say(NO_ROOM)
                resized(slots)

            self._ray.run(placed, lost=watch.lost, resized=changed)
        else:
            from autosd.search.worker import Worker

            inline.run(placed, Worker())
        attended.check()

    def _packed(self, bridge: Source) -> Bridge:
        """The bridge with shares of GPUs by what jobs need, where that is asked for."""
        if self.kind == "inline" or self.each.gpus != "auto":
            return bridge
        return Packed(bridge, self._gpus)

    def _gpus(self) -> Sequence[str]:
        """Every GPU of this machine, or of the cluster as it is now."""
        if not isinstance(self.kind, Cluster):
            return [str(gpu) for gpu in range(graphics_cards())]
        from autosd.search.raytune.joined import gpus

        return gpus()


def slots_of(kind: EngineChoice, asked: int | None, each: SlotSpec) -> int:
    """How many jobs run at the same time on an engine, as things are now; see `slots_for`."""
    if kind == "inline":
        if least_share(each):
            slots_for(None, each)  # refuses what is not there
        return 1
    if not isinstance(kind, Cluster):
        return slots_for(asked, each)
    kind.allow()
    from autosd.search.raytune.joined import join, room

    join(kind)
    there = room(each.cpus, least_share(each))
    if there < 1:
        raise AutosdError(
            f"per_trial (--cpus-per-trial, --gpus-per-trial): needs {each.cpus} processors and "
            f"{each.share:g} GPUs, no node of {kind.address} has them"
        )
    return min(asked or there, there)
