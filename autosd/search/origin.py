"""Which storage belongs to which study folder: an identity that both of them hold."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autosd import files, stored
from autosd.errors import AutosdError
from autosd.search import address
from autosd.stored import WAY_OUT

OURS = {
    ".lock",
    "space.yaml",
    "environment.json",
    "storage.json",
    "fork.json",
    "study.db",
    "split.json",
    "compare",
}
"""What a folder may hold before it is a study: a beginning of one, or a comparison."""


def check_free(path: Path) -> None:
    """Refuse a folder that holds something else than the beginning of a study."""
    if path.exists() and not path.is_dir():
        raise AutosdError(f"{path}: is a file, not a folder for a study")
    strange = [
        entry.name
        for entry in (sorted(path.iterdir()) if path.exists() else ())
        if entry.name not in OURS and not entry.name.startswith((".", "study.db-", "study.log"))
    ]
    if strange:
        raise AutosdError(
            f"{path}: has {', '.join(strange[:3])} but no study.yaml; {WAY_OUT}, or choose --name"
        )


def claim(path: Path, storage: str | None) -> str:
    """Write which storage the study has, under an identity of its own; the URL to use now."""
    url = address.storage_url(path, storage)
    identity = recorded(path).get("id") or secrets.token_hex(8)
    shown = None if storage is None else address.without_password(storage)
    files.write_json(path / "storage.json", {"id": identity, "url": shown})
    return url


def check_origin(attributes: Mapping[str, Any], name: str, path: Path, url: str) -> None:
    """Refuse a study of the same name that belongs to another folder; by its attributes."""
    known = recorded(path).get("id")
    lost = known is None and address.sqlite_path(url) == path / "study.db"
    if not lost and attributes.get("id") != known:
        raise AutosdError(
            f"{address.shown(url)}: already has a study named '{name}' from another "
            "folder than storage.json says; put back a copy of that, or choose another --name"
        )


def recorded(path: Path) -> dict[str, Any]:
    """What `storage.json` says; nothing where it is lost: the study's own file is its storage."""
    file = path / "storage.json"
    if not file.exists():
        return {}
    found = read_json(file)
    with stored.sound(file, WAY_OUT):
        if not all(isinstance(found.get(key), str | None) for key in ("id", "url")):
            raise ValueError("id and url are no text")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The object of a file that a study cannot do without.

    Raises:
        AutosdError: it is damaged; names the file and the way out.
    """
    with stored.sound(path, WAY_OUT):
        return stored.mapping(path)
