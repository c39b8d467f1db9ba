"""Connections to a database file, by a path that may hold any character."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection; `mode` as SQLite's URIs have it: `rwc`, `rw` or `ro`."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=60, check_same_thread=False
    )


def reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; `immutable` where not even the folder can be written.

    Where the file may be written the connection is none of SQLite's `ro`: the last one of those to
    close would leave the files of the write-ahead log behind.
    """
    file, folder = (os.access(place, os.W_OK) for place in (path, path.parent))
    connection = connect(path, ("rw" if file else "ro") if folder else "ro&immutable=1")
    connection.execute("PRAGMA query_only=ON")
    return connection
