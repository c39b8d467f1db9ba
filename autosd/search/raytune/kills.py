"""What this machine's kernel kills for want of memory."""

import math
import time
from pathlib import Path

COUNTERS = Path("/proc/vmstat")
RECENT_SECONDS = 30.0
"""Ray finds a dead worker well within this time."""


class Kills:
    """Whether the kernel killed a process just now; whose it was, the kernel does not say."""

    def __init__(self, counters: Path = COUNTERS, recent: float = RECENT_SECONDS) -> None:
        """What was killed before does not count.

        Args:
            counters: a file like `/proc/vmstat`.
            recent: seconds for which a kill is of just now.
        """
        self._counters, self._recent = counters, recent
        self._known, self._seen = self._read(), -math.inf

    def look(self) -> None:
        """To be called every second or so: a kill is as old as the first look that saw it."""
        known, self._known = self._known, self._read()
        if self._known > known:
            self._seen = time.monotonic()

    def recent(self) -> bool:
        """Whether there was one just now."""
        self.look()
        return time.monotonic() - self._seen < self._recent

    def _read(self) -> int:
        """Processes killed since the machine was started."""
        try:
            lines = self._counters.read_text(encoding="utf-8").splitlines()
        except OSError:  # no Linux
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
