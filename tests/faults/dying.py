"""Commands in forks of one warm process, each of which may die at a write of its choice.

A line of JSON on standard input asks for one: `{"place": FOLDER, "words": [...], "die": N,
"environment": {...}, "warm": false}`. It is killed right before the N-th time that it changes
anything below `runs` of its folder: opens a file for writing, renames, makes, cuts or removes one,
or commits to a database. The answer is the exit code, -9 for a death; what it said is in the files
`out` and `err`, and how often it wrote in `points`. After a `warm` one the next ones start faster.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Points:
    """Counts writes below a folder; the last one is not done any more."""

    def __init__(self, folder: Path, last: int) -> None:
        self.folder, self.last, self.count = str(folder), last, 0
        sys.addaudithook(self.hear)
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        event.listen(Engine, "commit", lambda connection: self.add())

    def hear(self, name: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of the interpreter."""
        writes = name in CHANGES or (name == "open" and int(arguments[2] or 0) & WRITING)
        if writes and _changed(name, arguments).startswith(self.folder):
            self.add()

    def add(self) -> None:
        """One more; the end if it is the last."""
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def _changed(name: str, arguments: tuple[Any, ...]) -> str:
    """The path of an event; who empties a folder names what is in it by the folder's descriptor."""
    if name in ("os.remove", "os.rmdir") and arguments[1] >= 0:
        return os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), str(arguments[0]))
    return str(arguments[0])


def command(place: Path, words: list[str], die: int, note: Path | None = None) -> NoReturn:
    """Be `autosd WORDS` in a folder, up to the write at which to die.

    `note` takes the names of the modules that were needed.
    """
    for stream, name in ((1, "out"), (2, "err")):
        with (place / name).open("w") as said:
            os.dup2(said.fileno(), stream)
    os.chdir(place)
    sys.argv = ["autosd", *words]
    points = Points(place / "runs", die)
    from autosd.cli.main import main

    code = 1
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        (place / "points").write_text(str(points.count))
        if note is not None:
            note.write_text("\n".join(sys.modules))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def warm(note: Path) -> None:
    """Import what a command needed, without doing any of it in this process.

    The child of a process that has trained cannot train: autograd's threads would be missing.
    """
    for name in note.read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def main() -> None:
    import torch._dynamo  # noqa: F401

    for line in sys.stdin:
        wanted = json.loads(line)
        place, words = Path(wanted["place"]).resolve(), wanted["words"]
        note = place / "modules" if wanted["warm"] else None
        child = os.fork()
        if child == 0:
            os.environ.update(wanted["environment"])
            command(place, words, wanted["die"], note)
        _, status = os.waitpid(child, 0)
        if note is not None:
            warm(note)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
