"""Where a study's storage is: its URL, and how that may be shown. A password appears nowhere.

It stands in the URL of a command, or in the environment variable `AUTOSD_STORAGE_PASSWORD`, which
every later command needs too.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from autosd.errors import AutosdError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "psycopg[binary]"),
    "mysql": ("mysql+pymysql", "pymysql", "pymysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "pymysql"),
}
SECRETS = ("password", "passwd", "sslpassword")
PASSWORD_VARIABLE = "AUTOSD_STORAGE_PASSWORD"


def storage_url(folder: Path, url: str | None = None) -> str:
    """The URL of a study's storage with an absolute path.

    Args:
        folder: the study folder; its `study.db` is the default, and a relative SQLite path
            starts here.
        url: `sqlite:///PATH`, `postgresql://...` or `mysql://...`, or None.

    Raises:
        AutosdError: no such kind of storage.
    """
    if url is None:
        return f"sqlite:///{folder.resolve() / 'study.db'}"
    kind = url.split("://")[0].split("+")[0]
    if kind == "sqlite":
        path = url.partition(":///")[2]
        if not path or path.startswith((":memory:", "file:")):
            raise AutosdError("storage: sqlite needs a file, such as sqlite:///study.db")
        return f"sqlite:///{(folder.resolve() / path).resolve()}"
    if kind not in DRIVERS:
        known = ", ".join(f"{name}://" for name in ("sqlite", *DRIVERS))
        raise AutosdError(f"storage: {shown(url):.60} is none of {known}")
    return server(url).render_as_string(hide_password=False)


def shown(url: str) -> str:
    """A URL as it may be shown: without its password."""
    parsed = _parsed(url)
    if parsed is None:
        return url.partition("://")[0] + "://..."
    hidden = {name: "***" for name in parsed.query if name in SECRETS}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


def shown_word(word: str) -> str:
    """A word of a command line as it may be shown: a URL in it without its password."""
    if "://" not in word:
        return word
    option, equals, url = word.partition("=") if word.startswith("-") else ("", "", word)
    return option + equals + shown(url)


def without_password(url: str) -> str:
    """A URL as it may be written to a file; the driver then looks for a password by itself."""
    from sqlalchemy.engine import make_url

    bare = make_url(url)._replace(password=None).difference_update_query(SECRETS)
    return bare.render_as_string(hide_password=False)


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL, None for a server."""
    return Path(url.partition(":///")[2]) if url.startswith("sqlite:") else None


def _parsed(url: str) -> "URL | None":
    """The parts of a URL; None where it is none."""
    from sqlalchemy.engine import make_url  # not at the top: a study in a file needs none of it
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def server(url: str) -> "URL":
    """The parts of a server's URL, with the driver to use and a password from the environment.

    Raises:
        AutosdError: it cannot be read.
    """
    parsed = _parsed(url)
    if parsed is None:
        raise AutosdError(f"storage: {shown(url)} is not a URL that can be read")
    name, _, driver = parsed.drivername.partition("+")
    if parsed.password is None and os.environ.get(PASSWORD_VARIABLE):
        parsed = parsed.set(password=os.environ[PASSWORD_VARIABLE])
    return parsed if driver else parsed.set(drivername=DRIVERS[name][0])
