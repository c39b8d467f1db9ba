"""What Ray says of a trial that ended badly, as a failure of the job or of the place."""

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayTaskError

from autosd.search.jobs import Failure, failure
from autosd.search.place import PlaceUnusable
from autosd.search.raytune.fitness import Unfit
from autosd.search.raytune.slot import Spoilt


def error_of(trial: Any) -> BaseException | None:
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    with Path(path).open("rb") as file:
        error: BaseException = cloudpickle.load(file)
    return error


def classify(error: BaseException | None) -> Failure:
    """Whether the job is at fault, or the place where it ran."""
    text = "" if error is None else str(error)
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, Unfit | PlaceUnusable):
            return failure("interrupted", str(cause), text)
        kind = "" if isinstance(cause, Spoilt) else f"{type(cause).__name__}: "
        return failure("error", f"{kind}{cause}", text)
    if isinstance(error, ActorUnavailableError | NodeDiedError):
        return failure("interrupted", "the node was lost", text)
    if isinstance(error, ActorDiedError) and "node has died" in text:
        return failure("interrupted", "the node was lost", text)
    if isinstance(error, ActorDiedError):
        return failure("error", "the worker process died (killed, crashed or out of memory)", text)
    return failure("error", f"{type(error).__name__}: {text}", text)


def unfit_node(error: BaseException | None) -> str:
    """What to say of a node that cannot do this driver's work; empty where it can."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Unfit):
        return str(error.cause)
    text = "" if error is None else str(error)
    if "No module named 'autosd'" in text:
        return "a node that joined has no autosd; install the same version there, or take it away"
    return ""
