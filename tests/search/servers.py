"""Database servers on loopback for tests: real ones, from Debian's packages, in a folder of theirs.

`postgresql()` and `mariadb()` start an empty server and give the URL of a database; a missing
program skips the test with the command that installs it.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 60
PASSWORD = "s3cret-of-asd"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server with the database `optuna`; its URL holds no password."""
    folder = _program("initdb", "postgresql").parent
    port = _port()
    with _home("postgres") as home:
        data = home / "data"
        _as("postgres", folder / "initdb", "-D", data, "-A", "trust", "-U", "asd", "--no-sync")
        control = [folder / "pg_ctl", "-D", data, "-w", "-t", str(SECONDS)]
        listen = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
        _as("postgres", *control, "-l", home / "log", "-o", listen, "start")
        try:
            _run(folder / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "asd", "optuna")
            yield f"postgresql://asd@127.0.0.1:{port}/optuna"
        finally:
            _as("postgres", *control, "-m", "fast", "stop")


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """A MariaDB server with the database `optuna`; its URL holds a password."""
    install, server = _program("mariadb-install-db", "mariadb-server"), _program("mariadbd", "")
    port = _port()
    with _home("mysql") as home:
        common = ["--no-defaults", f"--datadir={home / 'data'}", *_user("mysql")]
        _run(install, *common, "--auth-root-authentication-method=normal", "--skip-test-db")
        listen = [f"--port={port}", f"--socket={home / 's'}", f"--pid-file={home / 'pid'}"]
        command = [server, *common, "--bind-address=127.0.0.1", *listen]
        running = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        client = [_program("mariadb", ""), "--no-defaults", "-uroot", f"--socket={home / 's'}"]
        try:
            _wait(lambda: _runs(*client, "-e", "select 1"))
            _run(
                *client,
                "-e",
                "create database optuna character set utf8mb4; create user asd@'127.0.0.1' "
                f"identified by '{PASSWORD}'; grant all on optuna.* to asd@'127.0.0.1'",
            )
            yield f"mysql://asd:{PASSWORD}@127.0.0.1:{port}/optuna?charset=utf8mb4"
        finally:
            running.terminate()
            running.wait(SECONDS)


def _program(name: str, package: str) -> Path:
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), "/usr/sbin"]
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"no {name} here: apt-get install --no-install-recommends {package}")
    return Path(found)


@contextlib.contextmanager
def _home(user: str) -> Iterator[Path]:
    """A folder that the server's user owns; servers refuse to run as root."""
    home = Path(tempfile.mkdtemp(prefix="db-of-asd-"))
    if os.geteuid() == 0:
        shutil.chown(home, user)
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _user(name: str) -> list[str]:
    return [f"--user={name}"] if os.geteuid() == 0 else []


def _as(user: str, *command: object) -> None:
    _run(*(["runuser", "-u", user, "--"] if os.geteuid() == 0 else []), *command)


def _run(*command: object) -> None:
    done = subprocess.run(
        list(map(str, command)), cwd="/", capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr or done.stdout


def _runs(*command: object) -> bool:
    return subprocess.run(list(map(str, command)), cwd="/", capture_output=True).returncode == 0


def _wait(ready: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < until, "the server did not start"
        time.sleep(0.1)
