"""`error.txt` of a run: every fault of it with its reason and its traceback, the newest last."""

from pathlib import Path

from autosd.files import write_text
from autosd.search.jobs import Failure

NAME = "error.txt"


def add(folder: Path, attempt: str, fault: Failure) -> None:
    """Add a fault to the file in the folder of a run.

    Args:
        folder: of the run.
        attempt: which of its attempts ended so, in words.
        fault: what happened.
    """
    path = folder / NAME
    before = path.read_text(encoding="utf-8") + "\n" if path.is_file() else ""
    tail = fault["traceback"].rstrip()
    text = f"{attempt}: {fault['kind']}: {fault['why']}\n" + (f"\n{tail}\n" if tail else "")
    write_text(path, before + text)
