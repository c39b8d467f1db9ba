"""A study with every kind of file, ways to garble one, and every command that reads it."""

import contextlib
import gc
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

import autosd
from autosd.cli.main import app
from autosd.errors import AutosdError
from autosd.results.dashboard import serve

STUDY = Path("runs/tiny")
DEFINITION = """
name: tiny
recipe: {data: digits, model: resnet8, epochs: 1, batch_size: 64}
space: label_smoothing
trials: 4
finalists: {count: 2, seeds: 2}
"""
SEARCHED = ("search tiny.yaml --inline --trials 2 --set finalists.count=1 --set finalists.seeds=1",)
MAKING = (
    "search tiny.yaml --inline",
    "retrain tiny --seeds 2 --inline",
    "ensemble tiny --distill --seeds 2 --inline",
    "compare tiny --strategies label_smoothing --seeds 2 --test --inline",
    "report tiny",
    "search tiny --inline",
    "enqueue tiny recipe.yaml",
)
COMMANDS = (
    "status tiny",
    "status tiny --watch",
    "best tiny --yaml out.yaml",
    "trials tiny",
    "report tiny --out report.html",
    "verify tiny --no-replay",
    "clean tiny --dry-run",
    "clean tiny --yes",
    "search tiny --inline",
    "search tiny --trials 5 --inline",
    "retrain tiny --seeds 2 --inline",
    "compare tiny --strategies label_smoothing --seeds 2 --test --inline",
    "ensemble tiny --inline",
    "ensemble tiny --distill --seeds 2 --inline",
    "export tiny --to pt2 --out out.pt2",
    "evaluate tiny --part val",
    "evaluate tiny --part test",
    "evaluate runs/tiny/ensemble --part val",
    "predict tiny picture.png",
    "predict runs/tiny/ensemble picture.png",
    "enqueue tiny recipe.yaml",
    "retry tiny --failed",
    "stop tiny",
    "inspect runs/tiny/study.yaml",
    "train runs/tiny/best/recipe.yaml --out out",
    "dashboard",
    "autosd.load best",
    "autosd.load ensemble",
    "autosd.Study",
)


def make(folder: Path, commands: tuple[str, ...] = MAKING) -> Path:
    """Make a study below `folder`; all of `MAKING` gives every kind of file."""
    (folder / "tiny.yaml").write_text(DEFINITION)
    (folder / "recipe.yaml").write_text("strategies: [label_smoothing: {smoothing: 0.07}]\n")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "picture.png")
    for words in commands:
        said = run(folder, words)
        assert said.code == 0, (words, said)
    return folder


@dataclass(frozen=True)
class Said:
    """How a command ended.

    Attributes:
        code: its exit code.
        text: what it said on standard error; of `verify` everything.
        bug: what a user would see as a traceback.
        printed: on standard output.
    """

    code: int
    text: str
    bug: BaseException | None = None
    printed: str = ""

    @property
    def errors(self) -> str:
        """Lines of errors; what `verify` finds stands on its standard output."""
        return "\n".join(line for line in self.text.splitlines() if "error: " in line)


def run(folder: Path, words: str | Sequence[str]) -> Said:
    """Run a command, or a call of the Python interface, in this process below `folder`."""
    with contextlib.chdir(folder):
        if isinstance(words, str):
            if words in CALLS:
                return _called(CALLS[words])
            words = words.split()
        result = CliRunner().invoke(app, words)
    bug = None if isinstance(result.exception, SystemExit) else result.exception
    text = result.output if words[0] == "verify" else result.stderr
    return Said(result.exit_code, text, bug, result.stdout)


def _called(call: Callable[[], object]) -> Said:
    try:
        call()
    except AutosdError as error:
        return Said(error.exit_code, "".join(f"error: {line}\n" for line in str(error).split("\n")))
    except Exception as error:
        return Said(1, "", error)
    return Said(0, "")


def _dashboard() -> None:
    def enough(address: str) -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        serve("tiny", Path("runs"), host="127.0.0.1", port=0, allow_edits=False, say=enough)


def _study() -> None:
    study = autosd.Study.open("tiny")
    for table in (study.trials, study.curves, study.leaderboard, study.finalists, study.best):
        table()


CALLS: dict[str, Callable[[], object]] = {
    "dashboard": _dashboard,
    "autosd.load best": lambda: autosd.load("runs/tiny/best"),
    "autosd.load ensemble": lambda: autosd.load("runs/tiny/ensemble"),
    "autosd.Study": _study,
}


class Opened:
    """Which files below a folder are opened for reading while it listens."""

    def __init__(self) -> None:
        """An audit hook stays for the life of the process: make one of these."""
        self.folder: Path | None = None
        self.found: set[str] = set()
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def below(self, folder: Path) -> Iterator[set[str]]:
        """Names of files that are opened in the block."""
        self.folder, self.found = folder.resolve(), set()
        try:
            yield self.found
        finally:
            self.folder = None

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None or event not in ("open", "sqlite3.connect"):
            return
        if event == "open" and isinstance(args[2], int) and args[2] & os.O_WRONLY:
            return
        path = str(args[0]).removeprefix("file:").partition("?")[0]
        where = Path(os.path.abspath(path))
        if where.is_relative_to(self.folder) and where.is_file():
            self.found.add(where.relative_to(self.folder).as_posix())


def one_of_each(names: set[str]) -> list[str]:
    """The first of each kind of file: trials, runs and members stand for each other."""
    kinds: dict[str, str] = {}
    for name in sorted(names):
        kind = re.sub(r"^(trials|finalists|retrain|compare|ensemble/\w+)/[^/]+/", r"\1/*/", name)
        kinds.setdefault(kind, name)
    return list(kinds.values())


def snapshot(folder: Path) -> dict[str, object]:
    """Everything in a folder with its content; of a whole database what it says of trials."""
    if any(folder.rglob("study.db-*")):
        gc.collect()  # a refusal here leaves open what the end of a user's process closes
    return {
        path.relative_to(folder).as_posix(): _content(path)
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("study.db-")
    }


def _content(path: Path) -> object:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if path.is_dir():
        return "folder"
    if path.name == "study.db":
        with contextlib.suppress(sqlite3.Error):
            return _trials(path)
    return path.read_bytes()


def _trials(path: Path) -> list[Any]:
    tables = (
        "trials",
        "trial_values",
        "trial_params",
        "trial_intermediate_values",
        "study_user_attributes",
        "study_system_attributes",
    )
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        return [connection.execute(f"select * from {table}").fetchall() for table in tables]


def _noise(path: Path) -> bytes:
    return Random(0).randbytes(max(64, path.stat().st_size))


def _flipped(path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    for place in Random(1).sample(range(len(content)), k=min(3, len(content))):
        content[place] ^= 1 << place % 8
    return bytes(content)


def _holed(path: Path) -> bytes:
    """A block of zeros in the middle, as a file system leaves after a power cut."""
    content = bytearray(path.read_bytes())
    begin, end = len(content) // 3, max(len(content) // 3 + 1, len(content) * 2 // 3)
    content[begin:end] = bytes(end - begin)
    return bytes(content)


def _retyped(value: str) -> Callable[[Path], bytes]:
    """The text of a file with its first value replaced by another."""

    def replaced(path: Path) -> bytes:
        text = path.read_bytes().decode(errors="replace")
        return re.sub(r'(:\s)("[^"]*"|[\w.-]+)', rf"\g<1>{value}", text, count=1).encode()

    return replaced


CONTENTS: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda path: b"",
    "noise": _noise,
    "zeros": lambda path: bytes(path.stat().st_size),
    "zeros inside": _holed,
    "flipped bits": _flipped,
    "not UTF-8": lambda path: b"\xff\xfe" + path.read_bytes(),
    "a list": lambda path: b"[1, 2]\n",
    "a number": lambda path: b"3\n",
    "an empty object": lambda path: b"{}\n",
    "null for the first value": _retyped("null"),
    "a list for the first value": _retyped("[[]]"),
    "nested deeply": lambda path: b"[" * 100_000 + b"\n",
    "a pickle": lambda path: b"\x80\x04K\x01.",
}
PLACES: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a broken link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
SWAPPED = {
    "another JSON": "split.json",
    "another YAML": "space.yaml",
    "a student": "best/model.safetensors",
    "arrays": "trials/0000/logits.npz",
    "a database": "study.db",
}
WAYS = (*CONTENTS, *PLACES, *SWAPPED)


def garble(path: Path, how: str, study: Path) -> None:
    """Damage a file in one of `WAYS`; `study` is whole."""
    if how in PLACES:
        path.unlink()
        PLACES[how](path)
    elif how in CONTENTS:
        path.write_bytes(CONTENTS[how](path))
    else:
        path.write_bytes((study / SWAPPED[how]).read_bytes())


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
