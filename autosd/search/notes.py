"""Warnings of a worker in a process of its own, carried to the driver with its results."""

import logging

MOST = 20


class Notes(logging.Handler):
    """Collects what the library warns of in this process until it is taken."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []
        logging.getLogger("autosd").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message; of a flood only the first ones."""
        if len(self._lines) < MOST:
            self._lines.append(record.getMessage())

    def take(self) -> list[str]:
        """What has been said since the last time."""
        lines, self._lines = self._lines, []
        return lines
