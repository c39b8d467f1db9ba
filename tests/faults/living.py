"""Studies that the real command line drives on Ray: their processes, and how these are killed."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

COMMAND = [sys.executable, "-c", "from autosd.cli.main import main; main()", "--debug"]
HANG = 300.0
"""Seconds after which what should have happened never will."""


@dataclass
class Living:
    """A working folder whose commands have a temporary folder of their own.

    Attributes:
        root: the working folder.
        scratch: `TMPDIR` of every process, by which they are found.
        environment: further variables.
        commands: every process that was started.
    """

    root: Path
    scratch: Path
    environment: dict[str, str] = field(default_factory=dict)
    commands: list[subprocess.Popen[str]] = field(default_factory=list)

    def study(self, name: str) -> Path:
        """The folder of a study."""
        return self.root / "runs" / name

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Run `autosd`; what it says goes to the file `said`."""
        kept = {key: text for key, text in os.environ.items() if key != "OMP_NUM_THREADS"}
        with (self.root / "said").open("a") as said:
            process = subprocess.Popen(
                [*COMMAND, *words],
                cwd=self.root,
                text=True,
                env={**kept, **self.environment, "TMPDIR": str(self.scratch)},
                stdout=said,
                stderr=said,
            )
        self.commands.append(process)
        return process

    def finish(self, *words: str) -> None:
        """Run `autosd` to its end, which has to be a good one."""
        code = self.start(*words).wait(HANG)
        assert code == 0, (code, self.said())

    def said(self) -> str:
        """The last lines that the commands said."""
        return "\n".join((self.root / "said").read_text().splitlines()[-30:])

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to this folder."""
        return [process for process in psutil.process_iter() if self._ours(process)]

    def _ours(self, process: psutil.Process) -> bool:
        try:
            ours = process.environ().get("TMPDIR") == str(self.scratch)
            return ours and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def workers(self) -> list[psutil.Process]:
        """Processes that train."""
        return [one for one in self.processes() if _trains(title(one))]

    def part(self, name: str) -> psutil.Process:
        """`raylet` or `gcs_server` of the newest driver."""
        family = psutil.Process(self.commands[-1].pid).children()
        return next(process for process in family if process.name() == name)

    def kill_all(self) -> None:
        """Everything at once, as a power cut does: nobody has time to notice the others' end."""
        found = self.processes()
        for sent in (signal.SIGSTOP, signal.SIGKILL):
            for process in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(sent)
        psutil.wait_procs(found, timeout=HANG)
        for process in self.commands:
            process.wait(HANG)


def _trains(title: str) -> bool:
    return title.startswith("ray::") and not title.endswith("Agent") and "IDLE" not in title


def title(process: psutil.Process) -> str:
    """What a process calls itself; nothing where it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextlib.contextmanager
def living(root: Path, **environment: str) -> Iterator[Living]:
    """A working folder for commands; nothing of them is left afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    found = Living(root, scratch, environment)
    try:
        yield found
    finally:
        found.kill_all()
        shutil.rmtree(scratch, ignore_errors=True)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> bool:
    """Wait until something is so; false where the process ended before."""
    until = time.monotonic() + HANG
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return True
