"""The trials of a study read from its tables, without Optuna: what `status` shows at once.

Optuna takes a second to be imported and builds each trial from many objects. Who only wants to
know where a study stands needs a few columns. Only tables of a version known here are read so; see
`opened`. All questions of one opening are answered from the same moment.
"""

import contextlib
import datetime
import enum
import json
import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autosd.search.address import sqlite_path
from autosd.search.census import MARKS
from autosd.search.sqlitefile import reader

VERSION = "v3.2.0.a"
"""The revision of Optuna's tables that is understood here."""
NUMBERS = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
Ask = Callable[[str, Mapping[str, Any]], Sequence[Any]]


class NoStudy(KeyError):
    """No study of this name is in the storage."""


class State(enum.Enum):
    """A state of a trial, as Optuna names it."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "failed"
    WAITING = "waiting"

    def is_finished(self) -> bool:
        """Whether the trial has ended."""
        return self not in (State.RUNNING, State.WAITING)


@dataclass
class Row:
    """A trial; each field as in Optuna's `FrozenTrial`, as far as it was asked for."""

    number: int
    state: State
    datetime_start: datetime.datetime | None
    datetime_complete: datetime.datetime | None
    value: float | None = None
    params: dict[str, Any] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    intermediate_values: dict[int, float] = field(default_factory=dict)


class Tables:
    """A study's rows at one moment."""

    def __init__(self, ask: Ask, study: str) -> None:
        found = ask("SELECT study_id FROM studies WHERE study_name = :name", {"name": study})
        if not found:
            raise NoStudy(study)
        self._ask, self._study = ask, int(found[0][0])

    @property
    def attributes(self) -> dict[str, Any]:
        """User attributes of the study."""
        rows = self._of("SELECT a.key, a.value_json FROM study_user_attributes a WHERE a.study_id")
        return {key: json.loads(value) for key, value in rows}

    def running(self) -> int:
        """Trials that are RUNNING."""
        rows = self._of("SELECT count(*) FROM trials t WHERE t.state = 'RUNNING' AND t.study_id")
        return int(rows[0][0])

    def brief(self, attributes: Collection[str] = ()) -> list[Row]:
        """All trials in order of number: state, ends, value, and attributes that decide counts.

        `attributes` are read besides.
        """
        keys = ", ".join(f"'{key}'" for key in (*MARKS, *attributes))
        return self._rows("", f"a.key IN ({keys}) AND", whole=False)

    def whole(self, numbers: Collection[int]) -> list[Row]:
        """These trials in order of number, with all that is known of them."""
        if not numbers:
            return []
        wanted = ", ".join(str(int(number)) for number in numbers)
        return self._rows(f"t.number IN ({wanted}) AND", "", whole=True)

    def _rows(self, which: str, attributes: str, whole: bool) -> list[Row]:
        found = {
            trial: Row(number, State[state], _local(start), _local(end))
            for trial, number, state, start, end in self._of(
                "SELECT t.trial_id, t.number, t.state, t.datetime_start, t.datetime_complete "
                f"FROM trials t WHERE {which} t.study_id"
            )
        }
        for trial, value, kind in self._parts(
            "v.value, v.value_type", "trial_values v", f"{which} v.objective = 0 AND"
        ):
            found[trial].value = NUMBERS.get(kind, value)
        for trial, key, value in self._parts(
            "a.key, a.value_json", "trial_user_attributes a", which + attributes
        ):
            found[trial].user_attrs[key] = json.loads(value)
        if whole:
            self._add_parts(found, which)
        return sorted(found.values(), key=lambda row: row.number)

    def _add_parts(self, found: Mapping[int, Row], which: str) -> None:
        for trial, key, value in self._parts(
            "s.key, s.value_json", "trial_system_attributes s", which
        ):
            found[trial].system_attrs[key] = json.loads(value)
        columns = "p.param_name, p.param_value, p.distribution_json"
        for trial, name, value, kind in self._parts(
            columns, "trial_params p", which, "ORDER BY p.param_id"
        ):
            found[trial].params[name] = _external(value, json.loads(kind))
        columns = "i.step, i.intermediate_value, i.intermediate_value_type"
        for trial, step, value, kind in self._parts(columns, "trial_intermediate_values i", which):
            found[trial].intermediate_values[step] = NUMBERS.get(kind, value)

    def _parts(self, columns: str, table: str, which: str, order: str = "") -> Sequence[Any]:
        """Rows of a table that belongs to the trials, each behind the id of its trial."""
        alias = table.split()[1]
        return self._of(
            f"SELECT t.trial_id, {columns} FROM trials t "
            f"JOIN {table} ON {alias}.trial_id = t.trial_id WHERE {which} t.study_id",
            order,
        )

    def _of(self, question: str, order: str = "") -> Sequence[Any]:
        return self._ask(f"{question} = :study {order}", {"study": self._study})


@contextlib.contextmanager
def opened(url: str, study: str) -> Iterator[Tables | None]:
    """A study's tables for the length of a block; None where they are of another version.

    Args:
        url: from `storage_url`.
        study: its name.

    Raises:
        AutosdError: the storage is missing or broken.
        NoStudy: it has no such study.
    """
    with _asking(url) as ask:
        known = ask("SELECT version_num FROM alembic_version", {})
        yield Tables(ask, study) if [tuple(row) for row in known] == [(VERSION,)] else None


@contextlib.contextmanager
def _asking(url: str) -> Iterator[Ask]:
    path = sqlite_path(url)
    if path is None:
        with _asking_server(url) as ask:
            yield ask
        return
    try:
        with contextlib.closing(reader(path)) as connection:
            connection.execute("BEGIN")
            yield lambda question, values: connection.execute(question, values).fetchall()
    except (sqlite3.Error, ValueError) as error:
        from autosd.search.store import broken

        raise broken(path, error) from error


@contextlib.contextmanager
def _asking_server(url: str) -> Iterator[Ask]:
    import sqlalchemy

    from autosd.search.store import plain_engine, readable

    with readable(url), plain_engine(url).connect() as connection:
        same = connection.execution_options(isolation_level="REPEATABLE READ")
        yield lambda question, values: same.execute(sqlalchemy.text(question), values).fetchall()


def _local(moment: datetime.datetime | str | None) -> datetime.datetime | None:
    """A moment as Optuna gives it: stored in UTC, told in local time."""
    if moment is None:
        return None
    stored = datetime.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return stored.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)


def _external(value: float, distribution: Mapping[str, Any]) -> Any:
    """A parameter as the recipe takes it."""
    settings = distribution["attributes"]
    if "choices" in settings:
        return settings["choices"][int(value)]
    return int(value) if distribution["name"] == "IntDistribution" else value
