"""A warmed-up process that runs commands in forks of itself: imports are paid once.

`python forks.py autosd|drive`: one JSON object for each command on standard input, its exit code on
standard output. The shim of `failing_disk.c` is in the process; a fork is armed with its fault.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 300
FULL = 2**62
shim: Any = ctypes.CDLL(None)
shim.failing_disk_arm.argtypes = [ctypes.c_char_p, *[ctypes.c_long] * 2, *[ctypes.c_int] * 3]
for count in (shim.failing_disk_calls, shim.failing_disk_injected):
    count.restype = ctypes.c_long


def entry(program: str) -> Callable[[], int | None]:
    """What runs a command line of `sys.argv`."""
    if program == "autosd":
        import torch

        torch.set_num_threads(1)
        return importlib.import_module("autosd.cli.main").main  # type: ignore[no-any-return]
    sys.path.insert(0, str(Path(__file__).parents[1] / "search"))
    return importlib.import_module("drive").main  # type: ignore[no-any-return]


def command(main: Callable[[], int | None], order: dict[str, Any]) -> None:
    """Run a command in this fork, which ends with it."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(_create(order[name]), number)
    os.chdir(order["cwd"])
    sys.argv = ["autosd", *order["words"]]
    code = 0
    _arm(order)
    try:
        code = main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    shim.failing_disk_disarm()
    sys.stdout.flush()
    sys.stderr.flush()
    told = {"injected": shim.failing_disk_injected(), "modules": sorted(sys.modules)}
    Path(order["told"]).write_text(json.dumps(told))
    os._exit(code)


def _arm(order: dict[str, Any]) -> None:
    first, error, half, stays = order["fault"] or (0, 0, False, False)
    last = FULL if stays else first + half
    log = _create(order["log"])
    shim.failing_disk_arm(order["folder"].encode(), first, last, error, half, log)


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def warm(order: dict[str, Any]) -> None:
    """Import what a command has needed."""
    for name in json.loads(Path(order["told"]).read_text())["modules"]:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def serve() -> None:
    """Fork for each order until there are no more."""
    main = entry(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            signal.alarm(DEADLINE_SECONDS)
            command(main, order)
        _, status = os.waitpid(child, 0)
        if order["warm"]:
            warm(order)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    serve()
