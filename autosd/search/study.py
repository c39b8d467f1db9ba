"""The folder of a study: its definition, its space, its storage and where everything lies.

For writers (`search`) and readers (`status`, `best`, `dashboard`) alike; neither torch nor Ray.
A folder may be copied or moved: it holds relative paths only.
"""

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from autosd import files, stored, yamlfile
from autosd.errors import AutosdError
from autosd.recipe import STUDY_NAME, StudyDefinition, nearest
from autosd.search import address, code, environment, origin
from autosd.search.changed import MAY_CHANGE, differences
from autosd.search.definition import has_begun
from autosd.search.lock import StudyLock, holding
from autosd.search.records import TrialRecord, records
from autosd.search.requests import refuse_if_driven
from autosd.search.space import Space
from autosd.search.split import SplitRecord
from autosd.stored import WAY_OUT

if TYPE_CHECKING:  # imported where the database is opened: who only looks needs no Optuna
    import optuna


@dataclass(frozen=True)
class StudyFolder:
    """A study on disk.

    Attributes:
        path: absolute path of the folder.
        definition: the resolved definition.
        space: the resolved space.
        url: the storage, with an absolute path; may hold a password: show `address.shown(url)`.
    """

    path: Path
    definition: StudyDefinition
    space: Space
    url: str

    # Making and opening.

    @classmethod
    def prepare(
        cls,
        root: Path,
        definition: StudyDefinition,
        space: Space,
        *,
        storage: str | None = None,
        command: Sequence[str] = (),
    ) -> Self:
        """Create the study, or open it again with the same definition.

        To be called with `StudyLock(lock_path(root, name))` taken. What may change on resuming is
        `trials`, `slots`, `time_budget`, `patience` and `epoch_seconds`; these are taken from
        `definition`, and recorded by `write_definition`.

        Args:
            root: the folder of studies.
            definition: resolved; its name is the folder's name.
            space: resolved.
            storage: a URL, or None for `study.db` in the folder.
            command: the command line, for the record.

        Raises:
            AutosdError: it exists with another definition; one line per difference. Or the folder
                is no study, or the storage has a study of this name from elsewhere.
        """
        path = study_path(root, definition.name)
        if os.path.lexists(path / "study.yaml"):
            folder = cls.open(path, storage=storage)
            folder._check_database()
            held = holding(folder.lock_path)
            if held is not None:
                from autosd.search import lease

                lease.own(held, folder.url, folder.name)
            return folder._resumed(definition, space)
        origin.check_free(path)
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, definition, space, origin.claim(path, storage))
        files.write_text(path / "space.yaml", yamlfile.dumps(space.mapping()))
        shown = [address.shown_word(word) for word in command]
        written = asdict(code.here(definition.recipe.model.name))
        files.write_json(path / code.FILE, {**environment.describe(shown), "code": written})
        folder._create_study()
        folder.write_definition()
        return folder

    @classmethod
    def open(cls, path: Path, *, storage: str | None = None) -> Self:
        """Open an existing study folder; `storage` replaces the recorded URL.

        Raises:
            AutosdError: no study, or a file of it is broken; names the file and the way out.
        """
        path = path.resolve()
        if not (path / "study.yaml").is_file():
            if has_begun(path):
                raise AutosdError(f"{path / 'study.yaml'}: is missing or no file; {WAY_OUT}")
            raise AutosdError(f"{path}: no study here (study.yaml is missing)")
        try:
            stored.check_end(path / "study.yaml")
            stored.check_end(path / "space.yaml")
            definition = StudyDefinition.read(path / "study.yaml")
            space = Space.load(path / "space.yaml")
        except AutosdError as error:
            raise AutosdError(f"{error}\nstudy {path.name}: {WAY_OUT}") from None
        url = address.storage_url(path, storage or origin.recorded(path).get("url"))
        return cls(path, definition, space, url)

    @classmethod
    def find(cls, name: str, root: Path, *, storage: str | None = None) -> Self:
        """Open a study by its name under `root`, or by the path of its folder.

        Raises:
            AutosdError: no such study; names the ones there are.
        """
        for path in (root / name, Path(name)):
            if has_begun(path):
                return cls.open(path, storage=storage)
        known = study_names(root)
        there = f"there are: {', '.join(known)}." if known else "there is none yet."
        raise AutosdError(f"no study '{name}' in {root}; {there}{nearest(name, known)}")

    # Places.

    @property
    def name(self) -> str:
        """The study's name, which it also has in the storage."""
        return self.definition.name

    @property
    def lock_path(self) -> Path:
        """The lock file."""
        return self.path / ".lock"

    @property
    def best(self) -> Path:
        """The folder of the best model."""
        return self.path / "best"

    @property
    def finalists(self) -> Path:
        """The folder of confirmation runs."""
        return self.path / "finalists"

    @property
    def retrain(self) -> Path:
        """The folder of retraining runs."""
        return self.path / "retrain"

    @property
    def split(self) -> SplitRecord:
        """How its data were split, and who read test."""
        return SplitRecord(self.path, self.name, self.definition.recipe.data.name)

    def trial(self, lineage: int) -> Path:
        """The folder of a trial, named after its first attempt."""
        return self.path / "trials" / f"{lineage:04d}"

    def lock(self) -> StudyLock:
        """The right to write to this study, also against other machines that reach its server."""

        def taken(lock: StudyLock) -> None:
            if self.url and address.sqlite_path(self.url) is None:
                from autosd.search import lease

                lease.own(lock, self.url, self.name)

        return StudyLock(self.lock_path, taken=taken)

    # The storage.

    def load(
        self,
        sampler: "optuna.samplers.BaseSampler | None" = None,
        pruner: "optuna.pruners.BasePruner | None" = None,
        *,
        read_only: bool = True,
    ) -> "optuna.Study":
        """The Optuna study; close it with `close`.

        Raises:
            AutosdError: the storage is missing, broken or has no such study.
        """
        import optuna

        from autosd.search import store

        self.check_storage()
        storage = store.open_storage(self.url, read_only=read_only)
        try:
            with store.readable(self.url):
                study = optuna.load_study(
                    study_name=self.name, storage=storage, sampler=sampler, pruner=pruner
                )
                origin.check_origin(study.user_attrs, self.name, self.path, self.url)
                if not read_only:
                    storage.get_study_system_attrs(study._study_id)  # what the dashboard is told
                    self._guard(storage)
                return study
        except BaseException as error:
            store.close(storage)
            if isinstance(error, KeyError):
                raise self.unknown() from None
            raise

    def check_storage(self) -> None:
        """Refuse a study whose database file is missing."""
        file = address.sqlite_path(self.url)
        if file is not None and not file.is_file():
            raise AutosdError(f"{file}: no such database; {WAY_OUT}")

    def _check_database(self) -> None:
        """Refuse what is no database of this study before whatever opens it makes one of it.

        By SQLite itself: who opens and closes the file otherwise takes away the locks that other
        connections of this process hold.
        """
        from autosd.search import sqlitefile, store

        self.check_storage()
        file = address.sqlite_path(self.url)
        if file is None:
            return
        try:
            with contextlib.closing(sqlitefile.reader(file)) as connection:
                question = "SELECT 1 FROM studies WHERE study_name = ?"
                known = connection.execute(question, (self.name,)).fetchone()
        except sqlite3.Error as error:
            raise store.broken(file, error) from None
        if known is None:
            raise self.unknown()

    def unknown(self) -> AutosdError:
        """What to say of a storage that has no study of this name."""
        return AutosdError(
            f"{address.shown(self.url)}: has no study named '{self.name}'; {WAY_OUT}"
        )

    def records(
        self, study: "optuna.Study | None" = None, *, hidden: bool = False
    ) -> list[TrialRecord]:
        """Trials in order of number, without superseded attempts and duplicates unless `hidden`."""
        from autosd.search.look import all_records

        if study is None:
            return all_records(self, hidden=hidden)
        from autosd.search import store

        with store.readable(self.url):
            return records(study, self.space, hidden=hidden)

    @property
    def minimise(self) -> bool:
        """Whether a smaller value is better."""
        return self.definition.objective == "nll"

    def _create_study(self) -> None:
        import optuna

        from autosd.search import store

        storage = store.open_storage(self.url)
        try:
            study = optuna.create_study(
                study_name=self.name,
                storage=storage,
                direction="minimize" if self.minimise else "maximize",
                load_if_exists=True,
            )
            fresh = not study.user_attrs and not study.get_trials(deepcopy=False)
            if not fresh:
                origin.check_origin(study.user_attrs, self.name, self.path, self.url)
            self._guard(storage)
            if fresh:
                study.set_user_attr("id", origin.recorded(self.path)["id"])
            with store.quiet():
                study.set_metric_names([f"val_{self.definition.objective}"])
            for key, value in self._facts().items():
                study.set_user_attr(key, value)
        finally:
            store.close(storage)

    def _guard(self, storage: "optuna.storages.RDBStorage") -> None:
        """Under the study's lock: be its owner in the database too, and write only as such."""
        from autosd.search import lease

        held = holding(self.lock_path)
        if held is not None:
            lease.fence(storage, lease.own(held, self.url, self.name))

    def _facts(self) -> dict[str, Any]:
        """What the dashboard shows of the study, short: it cuts off long attributes."""
        recipe = self.definition.recipe
        return {
            "data": recipe.data.name,
            "model": recipe.model.name,
            "epochs": recipe.epochs,
            "families": len(self.space.families),
            "space": self.space.fingerprint,
            "recipe": recipe.fingerprint(),
        }

    # The definition.

    def _resumed(self, definition: StudyDefinition, space: Space) -> Self:
        changed = differences((self.definition, self.space), (definition, space))
        if changed:
            raise AutosdError(
                "\n".join(
                    [f"study {self.name} exists with another definition:"]
                    + [f"  {line}" for line in changed]
                    + [
                        "repeat the old definition, take over what fits into a new study "
                        "(--fork NEW), or begin one without it (--name NEW)"
                    ]
                )
            )
        update = {key: getattr(definition, key) for key in MAY_CHANGE}
        updated = self.definition.model_copy(update=update)
        return type(self)(self.path, updated, self.space, self.url)

    def write_definition(self) -> None:
        """Record the definition, where `prepare` took up another than is recorded."""
        path = self.path / "study.yaml"
        if not path.exists() or StudyDefinition.read(path) != self.definition:
            files.write_text(path, yamlfile.dumps(self.definition.mapping()))


def study_path(root: Path, name: str) -> Path:
    """The folder of a study of this name; a name never leaves `root`."""
    if not STUDY_NAME.fullmatch(name):
        raise AutosdError(
            f"study name '{name}': lower-case letters, digits, dots, dashes and underscores, at "
            "most 64, starting with a letter or digit"
        )
    return root.resolve() / name


def lock_path(root: Path, name: str) -> Path:
    """The lock file of a study, whether it exists yet or not."""
    return study_path(root, name) / ".lock"


def refuse_if_run(path: Path, storage: str | None = None) -> None:
    """Say at once that somebody runs a study, before anything heavy is imported; writes nothing.

    Only the lock and the owner in the database decide; this spares the second one the seconds
    until it gets there.

    Args:
        path: the study's folder, whether it exists yet or not.
        storage: as for `StudyFolder.open`.

    Raises:
        StudyLocked: names host, process and start.
    """
    refuse_if_driven(path / ".lock")
    if (path / "study.yaml").is_file():
        from autosd.search import lease

        folder = StudyFolder.open(path, storage=storage)
        folder.check_storage()
        lease.refuse_elsewhere(folder.url, folder.name, folder.lock_path)


def study_names(root: Path) -> list[str]:
    """Names of the studies under a folder."""
    return sorted(path.parent.name for path in root.glob("*/study.yaml"))


def close(study: "optuna.Study") -> None:
    """Close a study's storage; what it holds is then whole in one file."""
    from autosd.search import store

    store.close(store.storage_of(study))
