"""Where workers look for modules: where the driver does."""

import itertools
import os
import sys
import sysconfig
from typing import Any

from ray.job_config import JobConfig


class DriverModules(JobConfig):  # type: ignore[misc]
    """Puts before Python's own modules on the workers' path what the driver has there.

    Ray by itself puts the current folder there, which the installed command does not have: a study
    begun in a checkout would train with the code that lies there instead of the installed one,
    whose fingerprint it records, and a user's `random.py` would take the place of Python's.
    """

    @property
    def _py_driver_sys_path(self) -> list[str]:
        """Last one first: Ray puts each before all others."""
        own = (
            sysconfig.get_path("stdlib"),
            f"python{sys.version_info[0]}{sys.version_info[1]}.zip",
        )
        before = itertools.takewhile(lambda entry: not entry.endswith(own), sys.path)
        return [os.path.abspath(entry) for entry in before][::-1]

    @_py_driver_sys_path.setter
    def _py_driver_sys_path(self, value: Any) -> None:
        """What Ray's own `__init__` sets."""
