"""What Ray says of a trial that ended badly, as a failure of the job or of the place."""

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayTaskError

from autosd.search.blame import kind_of, reason_of
from autosd.search.faults import Kind
from autosd.search.jobs import Failure, failure
from autosd.search.place import PlaceUnusable
from autosd.search.raytune.fitness import Unfit
from autosd.search.raytune.slot import Spoilt

LOW_MEMORY = "running low on memory"
"""Words of Ray's memory monitor on a worker that it has killed."""


def fault_of(trial: Any, error: BaseException | None) -> Failure:
    """Of a trial that Tune has just found in error, by what `error_of` gives."""
    return classify(error, str(error) if error is not None else _text_of(trial))


def classify(error: BaseException | None, text: str) -> Failure:
    """Whether the job is at fault, or the place where it ran.

    Args:
        error: None where Tune did not keep it, as it does with errors of no task and no actor.
        text: its words.
    """
    if LOW_MEMORY in text:
        why = "the worker process was killed: its machine ran low on memory"
        return failure("memory", why, text)
    if isinstance(error, RayTaskError):
        return _of_task(error, text)
    if isinstance(error, ActorUnavailableError | NodeDiedError) or "node has died" in text:
        return failure("node", "the node was lost", text)
    if isinstance(error, ActorDiedError):
        why = "the worker process died (killed, crashed or out of memory)"
        return failure("worker", why, text)
    return failure("worker", f"Ray ended the trial: {text}", text)


def _of_task(error: RayTaskError, text: str) -> Failure:
    """An exception that left the worker: a failure of its own, or something outside of the job."""
    cause = error.cause
    if isinstance(cause, Spoilt):
        return cause.fault
    if isinstance(cause, Unfit):
        return failure("interrupted", str(cause), text)
    if isinstance(cause, PlaceUnusable):
        return failure("disk", str(cause), text)
    kind: Kind = kind_of(cause)
    return failure("worker" if kind == "error" else kind, reason_of(cause), text)


def error_of(trial: Any) -> BaseException | None:
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    with Path(path).open("rb") as file:
        error: BaseException = cloudpickle.load(file)
    return error


def unfit_node(error: BaseException | None) -> str:
    """What to say of a node that cannot do this driver's work; empty where it can."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Unfit):
        return str(error.cause)
    text = "" if error is None else str(error)
    if "No module named 'autosd'" in text:
        return "a node that joined has no autosd; install the same version there, or take it away"
    return ""


def _text_of(trial: Any) -> str:
    path = trial.error_file
    known = path is not None and Path(path).exists()
    return Path(path).read_text(encoding="utf-8", errors="replace") if known else ""
