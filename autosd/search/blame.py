"""From an exception to the kind of fault that it is.

Libraries wrap what the system told them, so the whole chain of causes is looked at. The classes of
torch and Ray are known by their names: neither is imported here.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from autosd.errors import HELD, AutosdError, DataUnreadable, EngineLost, NotAllowed, TrialDiverged
from autosd.search.faults import Kind

DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG, errno.ESTALE, errno.ENXIO}
)
"""Numbers of system errors that speak of the disk, not of who used it."""
DATABASE = (
    "database or disk is full",
    "disk I/O error",
    "readonly database",
    "unable to open database file",
)
"""The same in the words of SQLite."""
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "ALLOC_FAILED",
)
"""What torch and its libraries say in a plain `RuntimeError`."""


def kind_of(error: BaseException) -> Kind:
    """Which kind of fault an exception of a training run is."""
    chain = list(causes(error))
    if isinstance(error, TrialDiverged):
        return "diverged"
    if any(map(_is_memory, chain)):
        return "memory"
    if any(map(is_disk, chain)):
        return "disk"
    if any(isinstance(one, DataUnreadable) for one in chain):
        return "data"
    return "worker" if any(map(_is_device, chain)) else "error"


def reason_of(error: BaseException) -> str:
    """An exception in one line; our own say what they are, others need their class for that."""
    named = type(error).__module__.startswith("autosd.")
    return str(error) if named and str(error) else f"{type(error).__name__}: {error}"


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception, what caused it, what caused that, and so on."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def is_disk(error: BaseException) -> bool:
    """Whether the disk is full, read-only or faulty; in the words of the system or of SQLite."""
    if isinstance(error, OSError):
        return error.errno in DISK
    return "OperationalError" in _names(error) and any(word in str(error) for word in DATABASE)


def halted(error: BaseException) -> EngineLost | None:
    """What to raise in the place of an exception of the driver that is no fault of its own.

    A disk is to blame, another process that holds the database, or the server was lost.
    """
    if isinstance(error, EngineLost | NotAllowed):
        return None
    disk = [one for one in causes(error) if is_disk(one)]
    if disk:
        root = error if isinstance(error, AutosdError) else disk[-1]
        return EngineLost(
            f"{reason_of(root)}; what was finished is kept: make room on the disk, or mend it, "
            "and run the same command again"
        )
    if isinstance(error, AutosdError):
        return None
    held = [one for one in causes(error) if _is_held(one)]
    if held:
        return EngineLost(f"{str(held[-1]).splitlines()[0]}; {HELD}")
    server = [one for one in causes(error) if _is_server(one)]
    if not server:
        return None
    return EngineLost(
        f"the database server was lost ({str(server[-1]).splitlines()[0]}); what was finished is "
        "kept: run the same command again when it answers"
    )


@contextmanager
def resumable() -> Iterator[None]:
    """End the block in a way that its run can go on from where its record cannot be written.

    Raises:
        EngineLost: in the place of an exception that a disk or a lost server has caused.
    """
    try:
        yield
    except Exception as error:
        lost = halted(error)
        if lost is None:
            raise
        raise lost from error


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or "OutOfMemoryError" in _names(error):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(word in str(error) for word in NO_MEMORY)


def _is_device(error: BaseException) -> bool:
    """An error of the GPU, after which its process is of no further use."""
    return "AcceleratorError" in _names(error) or (
        isinstance(error, RuntimeError) and str(error).startswith(("CUDA error", "cuDNN error"))
    )


def _is_held(error: BaseException) -> bool:
    """A database in a file that another process has not let go of, in the words of SQLite."""
    return "OperationalError" in _names(error) and "is locked" in str(error)


def _is_server(error: BaseException) -> bool:
    """A server that does not answer, or has ended the session, in the words of its driver."""
    driver = type(error).__module__.partition(".")[0]
    return driver in ("psycopg", "pymysql") and "OperationalError" in _names(error)


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}
