"""Where workers look for modules: where the driver does, and nowhere else."""

from typing import Any

from ray.job_config import JobConfig


class OwnModules(JobConfig):  # type: ignore[misc]
    """Leaves out the folders that Ray puts before everything else on its workers' path.

    These are the driver's current folder and that of its script. A study begun in a checkout would
    train with the code that lies there instead of the installed one, whose fingerprint it records,
    and a user's `random.py` would take the place of Python's.
    """

    @property
    def _py_driver_sys_path(self) -> list[str]:
        return []

    @_py_driver_sys_path.setter
    def _py_driver_sys_path(self, value: Any) -> None:
        """What Ray's own `__init__` sets."""
