"""The live dashboard of a study: optuna-dashboard behind a filter that lets nobody change it.

optuna-dashboard has no read-only mode: a DELETE from any local page removes a study. So only GET
and HEAD pass unless edits are asked for.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from autosd.errors import AutosdError
from autosd.results.state import sweep_if_free
from autosd.search import store
from autosd.search.study import StudyFolder

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
READS = ("GET", "HEAD")
SWEEP_SECONDS = 10.0


def read_only(application: "WSGIApplication") -> "WSGIApplication":
    """A WSGI application that answers 403 to everything that could change a study."""

    def filtered(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READS:
            return application(environ, start)
        body = b"read-only: start the dashboard with --allow-edits to change a study\n"
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start("403 Forbidden", headers)
        return [body]

    return filtered


class _Server(ThreadingMixIn, WSGIServer):
    """One thread per request; a request that hangs does not hold up the end."""

    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    """No line per request on the terminal."""

    def log_message(self, format: str, *args: Any) -> None:
        return


def server(storage: Any, host: str, port: int, allow_edits: bool = False) -> WSGIServer:
    """A bound server of the dashboard; `serve_forever()` runs it, port 0 takes a free one.

    Args:
        storage: the Optuna storage of the study.
        host: address to bind; anything but loopback shows the study to the network.
        port: TCP port.
        allow_edits: let notes and tags be changed, and studies deleted.

    Raises:
        AutosdError: the address cannot be bound.
    """
    import optuna_dashboard

    application = optuna_dashboard.wsgi(storage)
    if not allow_edits:
        application = read_only(application)
    kind = _Server6 if ":" in host else _Server
    make: Callable[..., WSGIServer] = make_server
    try:
        return make(host, port, application, server_class=kind, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise AutosdError(f"the dashboard cannot listen on {host}:{port} ({error})") from None


def serve(
    name: str,
    root: Path,
    *,
    host: str,
    port: int,
    allow_edits: bool,
    say: Callable[[str], None],
) -> None:
    """Serve the dashboard of a study until an interruption.

    Every ten seconds trials that a dead driver left running are handed back, so that the page
    shows the truth.

    Args:
        name, root: which study.
        host, port, allow_edits: as in `server`.
        say: told the address.
    """
    folder = StudyFolder.find(name, root)
    sweep_if_free(folder)
    storage = store.open_storage(folder.url, read_only=not allow_edits)
    running = server(storage, host, port, allow_edits)
    over = threading.Event()
    watch = threading.Thread(target=_keep_true, args=(folder, over), daemon=True)
    watch.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        say(f"http://{shown}:{running.server_address[1]}/dashboard  (Ctrl-C ends it)")
        running.serve_forever()
    finally:
        over.set()
        running.server_close()
        store.close(storage)


def _keep_true(folder: StudyFolder, over: threading.Event, every: float = SWEEP_SECONDS) -> None:
    """Sweep until `over`; a database that cannot be written to now may be free the next time."""
    while not over.wait(every):
        try:
            sweep_if_free(folder)
        except (AutosdError, OSError, *store.DATABASE_ERRORS) as error:
            logger.warning("study %s: its trials could not be looked at: %s", folder.name, error)
