"""A study's trials in memory beside its database, for the one process that writes to it.

Optuna reads every unfinished trial from the database again for each question, in case somebody
else has changed it. The holder of the study's lock is the only writer, so what it wrote is what
there is: reading costs nothing, and every write still is committed before it is seen here.
"""

import copy
import json
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study, StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial, TrialState

from autosd.search.store import storage_of


def mirrored(study: Study, sampler: BaseSampler, pruner: BasePruner) -> Study:
    """The same study, read from memory; for the holder of its lock only."""
    return optuna.load_study(
        study_name=study.study_name,
        storage=Mirror(storage_of(study), study.study_name),
        sampler=sampler,
        pruner=pruner,
    )


class Fold(Protocol):
    """Something gathered from the trials of a study: told of each once, and of every change."""

    def update(self, trial: FrozenTrial) -> None: ...


F = TypeVar("F", bound=Fold)


def folded(study: Study, kind: Callable[..., F], *settings: Hashable) -> F:
    """What `kind(minimise, *settings)` has gathered from all trials of a study.

    Of a mirrored study it is kept and goes on, so that a question costs the same however many
    trials there are; of any other it is gathered anew.
    """
    storage = study._storage
    if isinstance(storage, Mirror):
        return storage.folded(kind, *settings)
    minimise = study.direction is StudyDirection.MINIMIZE
    return _fill(kind(minimise, *settings), study.get_trials(deepcopy=False))


def _fill(fold: F, trials: Sequence[FrozenTrial]) -> F:
    for trial in trials:
        fold.update(trial)
    return fold


_TRIALS = sqlalchemy.table(
    "trials",
    sqlalchemy.column("trial_id"),
    sqlalchemy.column("datetime_start", sqlalchemy.DateTime),
    sqlalchemy.column("datetime_complete", sqlalchemy.DateTime),
)
_TIMES = sqlalchemy.select(_TRIALS.c.datetime_start, _TRIALS.c.datetime_complete).where(
    _TRIALS.c.trial_id == sqlalchemy.bindparam("of_trial")
)
_ATTRIBUTES = sqlalchemy.table(
    "trial_user_attributes", *map(sqlalchemy.column, ("trial_id", "key", "value_json"))
)
_ADD = sqlalchemy.insert(_ATTRIBUTES).values(
    trial_id=sqlalchemy.bindparam("of_trial"), key=sqlalchemy.bindparam("of_key")
)
_CHANGE = (
    sqlalchemy.update(_ATTRIBUTES)
    .where(_ATTRIBUTES.c.trial_id == sqlalchemy.bindparam("of_trial"))
    .where(_ATTRIBUTES.c.key == sqlalchemy.bindparam("of_key"))
    .values(value_json=sqlalchemy.bindparam("value_json"))
)


def set_attributes(study: Study, trial: Trial, values: Mapping[str, Any]) -> None:
    """Set user attributes of a running trial, of a mirrored study all at once."""
    storage = study._storage
    if not isinstance(storage, Mirror):
        for key, value in values.items():
            trial.set_user_attr(key, value)
        return
    storage.set_trial_user_attrs(trial._trial_id, values)
    _add_attributes(trial._cached_frozen_trial, values)


def _add_attributes(trial: FrozenTrial, values: Mapping[str, Any]) -> None:
    trial.user_attrs = {**trial.user_attrs, **values}


class Mirror(BaseStorage):
    """One study of a database, written through and read from memory."""

    def __init__(self, backend: RDBStorage, study_name: str) -> None:
        """Read all trials of the study once."""
        self._backend = backend
        study = backend.get_study_id_from_name(study_name)
        self._directions = backend.get_study_directions(study)
        self._folds: dict[Hashable, Fold] = {}
        self._trials: dict[int, FrozenTrial] = {}
        self._open: dict[int, FrozenTrial] = {}
        self._ids: dict[int, int] = {}
        for trial in backend.get_all_trials(study, deepcopy=False):
            self._put(trial)

    def folded(self, kind: Callable[..., F], *settings: Hashable) -> F:
        """See `folded`."""
        key = (kind, *settings)
        if key not in self._folds:
            minimise = self._directions[0] is StudyDirection.MINIMIZE
            self._folds[key] = _fill(kind(minimise, *settings), list(self._trials.values()))
        return cast("F", self._folds[key])

    def _put(self, trial: FrozenTrial) -> None:
        """Take in a new trial, or a new version of one; who has the old one keeps it as it was."""
        self._trials[trial._trial_id] = trial
        self._ids[trial.number] = trial._trial_id
        if trial.state.is_finished():
            self._open.pop(trial._trial_id, None)
        else:
            self._open[trial._trial_id] = trial
        for fold in self._folds.values():
            fold.update(trial)

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial = self._backend._create_new_trial(study_id, template_trial)
        self._put(trial)
        return trial._trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)

        def change(trial: FrozenTrial) -> None:
            value = distribution.to_external_repr(param_value_internal)
            trial.params = {**trial.params, param_name: value}
            trial.distributions = {**trial.distributions, param_name: distribution}

        self._change(trial_id, change)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        if not self._backend.set_trial_state_values(trial_id, state, values):
            return False

        def change(trial: FrozenTrial) -> None:
            trial.state = state
            if values is not None:
                trial.values = list(values)
            self._stamp(trial)

        self._change(trial_id, change)
        return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._backend.set_trial_intermediate_value(trial_id, step, intermediate_value)

        def change(trial: FrozenTrial) -> None:
            trial.intermediate_values = {**trial.intermediate_values, step: intermediate_value}

        self._change(trial_id, change)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._backend.set_trial_user_attr(trial_id, key, value)
        self._change(trial_id, lambda trial: _add_attributes(trial, {key: value}))

    def set_trial_user_attrs(self, trial_id: int, values: Mapping[str, Any]) -> None:
        """Several attributes in one transaction, all of them or none: a commit costs the most.

        Raises:
            UpdateFinishedTrialError: the trial has ended.
        """
        known = self._trials[trial_id]
        self._backend.check_trial_is_updatable(trial_id, known.state)
        rows = [
            {"of_trial": trial_id, "of_key": key, "value_json": json.dumps(value)}
            for key, value in values.items()
        ]
        with self._backend.engine.begin() as connection:
            if old := [row for row in rows if row["of_key"] in known.user_attrs]:
                connection.execute(_CHANGE, old)
            if new := [row for row in rows if row["of_key"] not in known.user_attrs]:
                connection.execute(_ADD, new)
        self._change(trial_id, lambda trial: _add_attributes(trial, values))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._backend.set_trial_system_attr(trial_id, key, value)

        def change(trial: FrozenTrial) -> None:
            trial.system_attrs = {**trial.system_attrs, key: value}

        self._change(trial_id, change)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._trials[trial_id]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if states is None:
            trials = list(self._trials.values())
        else:
            ended = any(state.is_finished() and state in states for state in TrialState)
            among = self._trials if ended else self._open
            trials = [trial for trial in among.values() if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._ids[trial_number]

    def _stamp(self, trial: FrozenTrial) -> None:
        """Give a trial the times that the database gave it."""
        with self._backend.engine.connect() as connection:
            row = connection.execute(_TIMES, {"of_trial": trial._trial_id}).one()
        trial.datetime_start, trial.datetime_complete = row

    def _change(self, trial_id: int, change: Callable[[FrozenTrial], None]) -> None:
        """Change a copy: who has asked before keeps what it was given."""
        trial = copy.copy(self._trials[trial_id])
        change(trial)
        self._put(trial)

    # Studies: asked rarely, so nothing is kept of them.

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return self._backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self._backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._backend.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._backend.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._backend.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._backend.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._backend.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._backend.get_all_studies()

    def remove_session(self) -> None:
        self._backend.remove_session()
