"""Ray's core as children of this process, on loopback only."""

import logging
import os
import secrets

import psutil
import ray

from autosd.search.raytune.modules import DriverModules
from autosd.search.scratch import Scratch

OBJECT_STORE_BYTES = 80 * 2**20


class LocalCore:
    """Ray on this machine, started and ended by this process."""

    def __init__(self, slots: int, cpus: int, gpus: int, scratch: Scratch) -> None:
        """Nothing is started yet.

        Args:
            slots: jobs at the same time.
            cpus: threads of each job.
            gpus: to be shared by the jobs; each says how much of one it takes.
            scratch: of its sessions; open when Ray is started.
        """
        self._slots, self.cpus, self.gpus, self.scratch = slots, cpus, gpus, scratch
        self._core: list[psutil.Process] = []
        self._parts: list[psutil.Process] = []

    def start(self) -> None:
        """To be called in a thread that stays: the kernel ends Ray's processes with it."""
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one home
        before = set(psutil.Process().children())
        try:
            ray.init(
                address="local",
                num_cpus=self._slots * self.cpus,
                num_gpus=self.gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(self.scratch.path),
                job_config=DriverModules(),
            )
        finally:
            self._core = [p for p in psutil.Process().children() if p not in before]
        self._parts = [p for p in self._core if p.name() in ("gcs_server", "raylet")]

    def stop(self) -> None:
        """Stop Ray and all of its processes."""
        family = [*self._core, *(p for core in self._core for p in _descendants(core))]
        ray.shutdown()
        _, alive = psutil.wait_procs(family, timeout=5)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)

    def dead(self) -> bool:
        """Whether a part has ended without which nothing goes on."""
        return any(_dead(process) for process in self._parts)

    def slots(self) -> int:
        """How many jobs there is room for."""
        return self._slots

    def supply(self) -> None:
        """Nothing: workers see what the driver sees."""


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _dead(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
