"""The few ways in which autosd ends early, each with the exit code the command line gives it."""

from collections.abc import Mapping

KEPT = (
    "what was finished is kept: make room on the disk, or mend it, and run the same command again"
)
"""What everything ends with that a disk is to blame for."""
HELD = (
    "another process holds the database: let it go on, or end it, and run the same command again; "
    "what was finished is kept"
)
"""What everything ends with that waited a minute for a database in a file."""


class AutosdError(Exception):
    """Something the user can put right: one line that names the thing and what is allowed."""

    exit_code = 2


class NotAllowed(AutosdError):
    """A path that the system does not let this user read or write."""


class WorkFailed(AutosdError):
    """The input was fine, the work did not succeed."""

    exit_code = 1


class EngineLost(AutosdError):
    """Ray, a machine or a disk failed; what was finished is kept and the same command goes on."""

    exit_code = 75


class DataUnreadable(AutosdError):
    """The data set that the input names is gone or damaged where it is needed."""


class Stopped(AutosdError):
    """Somebody asked for the end with `autosd stop`; the same command goes on."""

    exit_code = 143


class TrialDiverged(Exception):
    """A loss term became NaN or infinite.

    Attributes:
        epoch: 1-based epoch in which it was seen.
        step: 0-based step of the first non-finite loss, -1 where only the epoch is known.
        terms: the named loss terms of that epoch (means over its steps).
    """

    def __init__(self, epoch: int, step: int, terms: Mapping[str, float]) -> None:
        self.epoch, self.step, self.terms = epoch, step, dict(terms)
        bad = [name for name, value in terms.items() if not abs(value) < float("inf")]
        super().__init__(f"diverged at epoch {epoch}: {', '.join(bad) or 'supervised'}")
