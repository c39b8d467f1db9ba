"""The slots of an engine as the bridges of a run share them: what runs, and how the place does."""

from autosd.errors import EngineLost
from autosd.search.faults import POLICIES, Kind
from autosd.search.meter import Meter

LEAST_IN_A_ROW = 3


class Floor:
    """Who may begin now, and whether the place is to blame for what fails.

    A run that must be alone waits until nothing else runs, and while it does nothing else begins,
    whichever bridge it comes from.
    """

    def __init__(self, meter: Meter) -> None:
        """An empty floor; `meter` knows how many slots there are now."""
        self._live: dict[str, bool] = {}
        self._awaited: object = None
        self._row: list[tuple[Kind, str]] = []
        self._worked = False
        self._meter = meter

    def admits(self, bridge: object, alone: bool = False) -> bool:
        """Whether a run of `bridge` may begin; to be asked before each look for one.

        Args:
            bridge: who asks. Others wait while one of its runs waits to be alone.
            alone: whether its next run must be.
        """
        if alone:
            self._awaited = bridge
        elif self._awaited is bridge:
            self._awaited = None
        if alone or any(self._live.values()):
            return not self._live
        return self._awaited is None

    def enter(self, run: str, alone: bool = False) -> None:
        """A run begins."""
        self._live[run] = alone
        if alone:
            self._awaited = None

    def leave(self, run: str) -> None:
        """A run has ended, in whatever way."""
        self._live.pop(run, None)

    # Whether the place is at fault

    def worked(self) -> None:
        """A run has finished an epoch: the place is sound."""
        self._row.clear()
        self._worked = True

    def blames(self, run: str, kind: Kind) -> bool:
        """Take down the fault of a run; whether it counts against the run.

        Where the place is certainly at fault, only the first fault after an epoch of any run does:
        what fails everywhere is no fault of the one that happened to be there.
        """
        place = POLICIES[kind].place
        if place == "never":
            return True
        worked, self._worked = self._worked, False
        self._row.append((kind, run))
        return place == "perhaps" or worked

    @property
    def failing(self) -> bool:
        """Whether so much failed in a row that it would be a waste to go on.

        Where the place is only perhaps at fault, as many different runs must have ended so.
        """
        most = max(LEAST_IN_A_ROW, self._meter.slots + 1)
        certain = any(POLICIES[kind].place == "certainly" for kind, _ in self._row)
        return len(self._row if certain else {run for _, run in self._row}) >= most

    def check(self, why: str) -> None:
        """To be called after a fault was recorded.

        Raises:
            EngineLost: the place fails; the study can go on when it is mended.
        """
        if self.failing:
            raise EngineLost(
                f"{len(self._row)} attempts in a row failed, the last one by: {why}; no more are "
                "begun. What was finished is kept: mend it and run the same command again"
            )
