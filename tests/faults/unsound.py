"""A student some of whose trainings fail, each in its own way.

Each training that begins takes the next number from the folder `$TICKETS`; `$FATES` says by number
what becomes of it in its first batch, or in the first one of its second epoch. A retry is a
training of its own with a number of its own.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from autosd.models.custom import load_class
from autosd.models.student import Activations

Noting = load_class(f"{Path(__file__).with_name('noting.py')}:Noting")


class Unsound(Noting):  # type: ignore[misc, valid-type]
    """Fails as `$FATES` has it."""

    fate: str | None = None
    evaluated = False

    def activations(self, images: Tensor) -> Activations:
        if self.training and torch.is_grad_enabled():
            if self.fate is None:
                self.fate = json.loads(os.environ["FATES"]).get(str(_ticket()), "")
                self.evaluated = False  # it was when its interface was checked
            if self.fate in (LATE if self.evaluated else ACTS):
                {**ACTS, **LATE}[self.fate]()
        self.evaluated |= not self.training
        if self.training and self.fate == "inf":
            images = images + torch.inf
        found = super().activations(images)
        if self.training and self.fate == "nan":
            return found._replace(logits=found.logits * torch.nan)
        return found


def _ticket() -> int:
    number = 0
    while True:
        try:
            os.close(os.open(Path(os.environ["TICKETS"], str(number)), os.O_CREAT | os.O_EXCL))
            return number
        except FileExistsError:
            number += 1


def _raise() -> None:
    raise ValueError("a bug in the student")


def _host() -> None:
    """Ask for more memory than this process may have."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
    torch.zeros(2**30).sum()


def _device() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _hang() -> None:
    time.sleep(100_000)


def _kernel() -> None:
    """Enter a control group of little memory and take more, so that the kernel kills."""
    Path(os.environ["GROUP"], "cgroup.procs").write_text(str(os.getpid()))
    torch.ones(2**28).sum()


ACTS = {
    "raise": _raise,
    "host": _host,
    "device": _device,
    "kill": _kill,
    "hang": _hang,
    "kernel": _kernel,
    "exit": sys.exit,
}
LATE = {"stop": _stop}
