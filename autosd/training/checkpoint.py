"""The state of a training run in one file: whole or absent, read without running code of it.

The file is what `torch.save` writes, followed by its SHA-256: a damaged file is noticed before
any of it is interpreted (the archive itself does not check its tensors).
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from autosd.errors import AutosdError
from autosd.files import write_atomically

FORMAT = "autosd checkpoint 1"
IDENTITY = ("recipe", "data", "train_on")
"""What must be equal for a run to go on."""

_DIGEST = hashlib.sha256().digest_size


class CheckpointUnreadable(AutosdError):
    """A file that should hold a training state does not, or holds that of another run."""


def save_checkpoint(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write `state` (tensors and plain values) atomically, marked with the run it belongs to."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "identity": dict(identity), **state}, buffer)
    content = buffer.getbuffer()
    digest = hashlib.sha256(content).digest()
    write_atomically(path, lambda file: (file.write(content), file.write(digest)))


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The state at `path`, tensors on the CPU.

    Raises:
        CheckpointUnreadable: truncated, garbled, not ours, or of another recipe or other data.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise unreadable(path, "it is no checkpoint of this version of autosd")
    theirs = content.get("identity")
    for key in IDENTITY:
        own = identity[key]
        if not isinstance(theirs, dict) or theirs.get(key) != own:
            found = theirs.get(key) if isinstance(theirs, dict) else None
            raise unreadable(path, f"it belongs to another run ({key}: {found!r}, here {own!r})")
    return content


def read_identity(path: Path) -> dict[str, Any]:
    """Which run the checkpoint at `path` is of.

    Raises:
        CheckpointUnreadable: truncated, garbled or not ours.
    """
    content = _read(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise unreadable(path, "it is no checkpoint of this version of autosd")
    return dict(content["identity"])


def unreadable(path: Path, why: str) -> CheckpointUnreadable:
    """The error for the checkpoint at `path`, with the way out."""
    return CheckpointUnreadable(
        f"{path}: cannot go on from this checkpoint: {why}. Remove the file to train this run "
        "from its start, or name another folder"
    )


def _read(path: Path) -> Any:
    """The unpickled content; only tensors and plain values are ever built."""
    try:
        content = path.read_bytes()
        archive, digest = content[:-_DIGEST], content[-_DIGEST:]
        if hashlib.sha256(archive).digest() != digest:
            raise ValueError("the checksum differs")
        return torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:
        # A foreign archive fails in many ways: zip, pickle, key, value and attribute errors.
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise unreadable(path, f"it is damaged or foreign ({reason[0][:120]})") from error
