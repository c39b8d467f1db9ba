"""Sees that Ray's core has died; without it a run would wait for ever."""

import os
import threading
from collections.abc import Callable

from autosd.errors import EngineLost
from autosd.search.raytune.adapters import Desk

GRACE_SECONDS = 5.0


class Watchdog(threading.Thread):
    """Looks once a second whether Ray's core still lives; without it a run hangs for ever."""

    def __init__(self, desk: Desk, dead: Callable[[], bool], lost: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.desk, self.dead, self.lost = desk, dead, lost
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(1.0):
            if self.dead():
                self._end()
                return

    def _end(self) -> None:
        """Ask the run to end; where the main thread is stuck inside Ray, end the process."""
        message = "Ray ended unexpectedly; what was finished is kept: run the same command again"
        self.desk.error = self.desk.error or EngineLost(message)
        if self.over.wait(GRACE_SECONDS):
            return
        self.lost(message)
        os._exit(EngineLost.exit_code)
