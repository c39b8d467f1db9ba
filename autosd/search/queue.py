"""Recipes that a user wants tried, left in the study's folder for the process that drives it.

Only the driver writes to the storage (rule R1). So a request is a file of `queue/`, whole or
absent; the driver turns it into a waiting trial when the plan has room and removes the file
afterwards. The trial carries the request's name: after a kill in between, the next look sees it and
removes the file alone, so that a request is neither lost nor tried twice.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autosd import yamlfile
from autosd.errors import AutosdError
from autosd.files import write_text
from autosd.search.space import Space

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

MARK = "request"
"""User attribute of a trial that was asked for: the name of the request."""


@dataclass(frozen=True)
class Request:
    """A recipe that waits to become a trial.

    Attributes:
        path: its file; the name without ending is the request's name.
        params: parameters of the trial.
    """

    path: Path
    params: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Which request it is."""
        return self.path.stem


def leave(folder: Path, params: Mapping[str, Any], source: str) -> Request:
    """Write a request into a study folder; `source` says where the recipe came from."""
    name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
    path = folder / "queue" / f"{name}.yaml"
    write_text(path, yamlfile.dumps({"params": dict(params), "source": source}))
    return Request(path, params)


def requests(folder: Path) -> list[Path]:
    """Files of the requests that were not taken up yet, the oldest first."""
    return sorted(path for path in (folder / "queue").glob("*.yaml") if not path.is_dir())


def take_up(
    study: "optuna.Study",
    space: Space,
    folder: Path,
    planned: int,
    say: Callable[[str], object] = logger.info,
) -> int:
    """Turn requests into waiting trials while the plan has room; by the driver alone.

    Returns:
        How many became trials.
    """
    from autosd.search import ledger

    taken = 0
    for path in requests(folder):
        if path.stem not in _marks(study):
            now = ledger.counts(study)
            if now.counted + now.running + now.waiting >= planned:
                break
            taken += _enqueued(study, space, path, say)
        path.unlink(missing_ok=True)
    return taken


def _marks(study: "optuna.Study") -> set[str]:
    return {trial.user_attrs.get(MARK, "") for trial in study.get_trials(deepcopy=False)}


def _enqueued(
    study: "optuna.Study", space: Space, path: Path, say: Callable[[str], object]
) -> bool:
    """Enqueue a request; one that is no request of this study is told and dropped."""
    from autosd.search import ledger

    try:
        params = _read(path)
        ledger.enqueue(study, space, params, "user", marks={MARK: path.stem})
    except AutosdError as error:
        say(f"{path.parent.name}/{path.name} cannot be a trial: {error}")
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    """Its parameters; `source` stands last, so that a file that was cut has none."""
    values = yamlfile.read(path)
    params = values.get("params") if isinstance(values, dict) else None
    named = isinstance(params, dict) and all(isinstance(name, str) for name in params)
    if not isinstance(params, dict) or not named or "source" not in values:
        raise AutosdError(f"{path}: no request, or a part of one; use `autosd enqueue`")
    return params
