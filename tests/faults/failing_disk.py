"""Commands on a disk that fails at a chosen call, each in a fork of a warmed-up process."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Self

import pytest

HERE = Path(__file__).parent
TEMPORARY = re.compile(r"\.([a-z0-9_]{8})(?=/|$)")


@dataclass(frozen=True)
class Fault:
    """What happens at the `first` call that changes the folder, counted from 1.

    Attributes:
        first: the call.
        error: number of the error; 0: the process is killed instead.
        half: the call writes one half of its bytes and says so; the next one has the error.
        stays: every later call has the error too, as on a disk that is full.
    """

    first: int
    error: int
    half: bool = False
    stays: bool = False

    def __str__(self) -> str:
        how = "half of it, then " * self.half + errno.errorcode.get(self.error, "killed")
        return f"call {self.first}: {how}{' from then on' if self.stays else ' once'}"


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code, what it said, the calls it made, how many of them failed."""

    code: int
    out: str
    err: str
    calls: tuple[str, ...]
    injected: int


class Disk:
    """Runs commands whose folder lies on a disk that fails as told, from `with` to its end."""

    def __init__(self, scratch: Path, program: str = "autosd") -> None:
        """Build the shim; skip the test where that cannot be done.

        Args:
            scratch: a folder for the shim and for what commands say.
            program: `autosd`, or `drive` for a study whose training is a formula.
        """
        self.scratch, self.program = scratch, program
        self._shim = scratch / "failing_disk.so"
        compiler = shutil.which("cc")
        if compiler is None or not sys.platform.startswith("linux"):
            pytest.skip("needs Linux and a C compiler (cc) for the disk that fails")
        source = str(HERE / "failing_disk.c")
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
        subprocess.run([compiler, *flags, "-o", str(self._shim), source, "-ldl"], check=True)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "forks.py"), self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "LD_PRELOAD": str(self._shim),
                "OMP_NUM_THREADS": "1",
                "SLEEP": "0",
            },
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def run(
        self, words: list[str], folder: Path, fault: Fault | None = None, *, warm: bool = False
    ) -> Ended:
        """Run a command in the parent of `folder`; with `warm` the next ones begin as this ends."""
        files = {name: self.scratch / f"{name}.txt" for name in ("out", "err", "log", "told")}
        order = {
            "words": words,
            "cwd": str(folder.parent),
            "folder": str(folder),
            "fault": None if fault is None else astuple(fault),
            "warm": warm,
            **{name: str(path) for name, path in files.items()},
        }
        files["told"].unlink(missing_ok=True)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        read = {name: path.read_text() for name, path in files.items() if path.exists()}
        calls = tuple(TEMPORARY.sub(".*", line) for line in read["log"].splitlines())
        injected = json.loads(read["told"])["injected"] if "told" in read else 1
        return Ended(code, read["out"], read["err"], calls, injected)
