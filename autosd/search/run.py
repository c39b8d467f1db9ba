"""A whole search: lock, study, engine, finalists. The same call begins it and goes on with it."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from autosd.data.dataset import Data
from autosd.search import census, code, curve, ending, finalists, ledger, queue
from autosd.search.blame import resumable
from autosd.search.bridge import Search, StudyBridge
from autosd.search.chain import ChainBridge
from autosd.search.engines import Engine, EngineChoice
from autosd.search.finalists import Candidate, Finalist
from autosd.search.floor import Floor
from autosd.search.fork import planned
from autosd.search.forked import announce, copy, told
from autosd.search.interrupts import held, raised
from autosd.search.jobs import Job
from autosd.search.lists import ListBridge, Plan, Run, read_records
from autosd.search.lock import StudyLock
from autosd.search.meter import Meter, Use
from autosd.search.mirror import mirrored
from autosd.search.priors import break_repeats, enqueue_prior
from autosd.search.progress import Quiet, Watch
from autosd.search.pruners import make_pruner
from autosd.search.ready import Ready
from autosd.search.samplers import make_sampler
from autosd.search.study import StudyFolder, close, lock_path, study_path

logger = logging.getLogger(__name__)

TORN = "a run that goes on writes it again, of an ended one the database still has its value"
LEARNING = ("tpe", "gp")
"""Samplers that prior trials are mixed with; the others are there to be compared with."""


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        folder: the study.
        counts: of its trials.
        finalists: the confirmed ones, best first; empty where none were asked for.
        use: how the slots were used, over all sessions.
        seconds: wall time of this call.
        resumed: whether the study was there before.
        worked: whether anything was left to do.
        ended: why the search ended before its plan was full, empty where it did not.
    """

    folder: StudyFolder
    counts: census.Counts
    finalists: tuple[Finalist, ...]
    use: Use
    seconds: float
    resumed: bool
    worked: bool
    ended: str = ""


def run_search(
    ready: Ready,
    root: Path,
    *,
    storage: str | None = None,
    engine: EngineChoice = "ray",
    cache: Path | None = None,
    command: Sequence[str] = (),
    watch: Watch | None = None,
    accept_code: bool = False,
    fork: str | None = None,
    opened: Callable[[StudyFolder], object] = lambda folder: None,
    begun: Callable[[StudyFolder], object] = lambda folder: None,
    ended: Callable[[Outcome], object] = lambda outcome: None,
) -> Outcome:
    """Begin the study of a definition under `root`, or go on with it, up to its finalists.

    Args:
        ready: from `check`.
        root: the folder of studies.
        storage: URL of a database server, None for the study's own file.
        engine: `ray`, a `Cluster` to join, or `inline` for one trial at a time in this process.
        cache: folder of decoded images, None for the default.
        command: the command line, for the record.
        watch: hears of every event.
        accept_code: go on although the code is another one than when the study began.
        fork: a study whose finished trials are taken over where they fit; None for none.
        opened: called once with the study's folder before anything of it is changed, the lock
            held; may refuse it.
        begun: called once when all is checked and recorded, before the first trial.
        ended: called once with what is returned, the study closed and the lock still held.

    Raises:
        AutosdError: another process runs the study, or it exists with another definition or was
            begun with other code.
        EngineLost: Ray ended, a disk is full, or everything fails there; the same call goes on.
        KeyboardInterrupt: with the signal's number; the same call goes on.
    """
    begin, watch = time.monotonic(), watch or Quiet()
    definition = ready.definition
    resumed = os.path.lexists(study_path(root, definition.name) / "study.yaml")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    forking = planned(ready, root, fork, storage)
    with (
        raised(),
        StudyLock(lock_path(root, definition.name)) as lock,
        Engine(engine, definition.slots, definition.per_trial) as machine,
    ):
        if not resumed:  # a study that is resumed may be complete
            machine.start()
        if forking is not None:
            announce(study_path(root, definition.name), forking.source.name)
        folder = StudyFolder.prepare(
            root, definition, ready.space, storage=storage, command=command
        )
        folder.split.check(ready.data.counts, ready.data.fingerprint)
        if forking is not None:
            copy(forking, folder, lock.check)
            watch.say(told(forking.mapping()))
        opened(folder)
        with resumable():
            session = _Session(folder, ready.data, lock, cache, watch, machine.slots, accept_code)
            with contextlib.closing(session):
                begun(folder)
                worked = session.run(machine)
                outcome = session.outcome(begin, resumed, worked)
            lock.check()
            ended(outcome)
        return outcome


class _Session:
    """One run of a study, with its lock held."""

    def __init__(
        self,
        folder: StudyFolder,
        data: Data,
        lock: StudyLock,
        cache: Path | None,
        watch: Watch,
        slots: int,
        accept_code: bool,
    ) -> None:
        self.folder, self.lock, self.watch = folder, lock, watch
        definition = self.definition = folder.definition
        self.base = definition.recipe.with_seed(definition.seed)
        self.job = Job(
            key="",
            recipe={},
            folder="",
            token=lock.token,
            lock=str(lock.path.resolve()),
            cache=str(cache.resolve()) if cache else None,
            cpus=definition.per_trial.cpus,
            gpus=definition.per_trial.share,
            epoch_seconds=definition.epoch_seconds,
        )
        self.study = folder.load(read_only=False)
        try:
            self.meter = Meter(slots, Use.of(self.study.user_attrs))
            floor = Floor(self.meter)
            self.confirm = ListBridge(self._plan(data), self._early(), self.meter, watch, floor)
            self._check(accept_code)
            folder.write_definition()
            self.study = self._ready(self.study)
            self.search = StudyBridge(self._search(), self.meter, watch, floor)
        except BaseException:
            close(self.study)
            raise

    def close(self) -> None:
        """Leave the record true and whole in one file."""
        with held():
            try:
                ledger.sweep(self.study)
            finally:
                close(self.study)

    def run(self, engine: Engine) -> bool:
        """Do what is left; whether there was anything."""
        if self.search.over and self._confirmed():
            if not finalists.are_confirmed(self.folder.finalists):
                self._settle()  # a run ended right after the last result
            return False
        chain = ChainBridge(self.search, self.confirm, self._choose)
        engine.drive(chain, self.watch, self.meter.resize)
        for run, why in self.confirm.failures.items():
            self.watch.say(f"finalists/{run} gave no result: {why}")
        self._settle()
        return True

    def _check(self, accept_code: bool) -> None:
        """Read what the session goes by: what is wrong is told before anything is changed."""
        definition, found = self.definition, ledger.census(self.study)
        now = found.counts
        room = definition.trials - now.counted - now.running - now.waiting
        begins = (
            ending.goes_on(found, definition.trials, definition.patience)
            or now.running
            or (room > 0 and queue.requests(self.folder.path))
        )
        for path in curve.torn(self.folder.path):
            self.watch.say(f"{path}: its last epoch was cut short; {TORN}")
        for record in self.folder.records(self.study):
            if record.state in ("running", "waiting"):
                curve.read(self.folder.trial(record.lineage) / "history.jsonl")
        finalists.read_chosen(self.folder.finalists)
        read_records(self.folder.finalists)
        missing = self.confirm.missing(self._runs(self._candidates()))
        if missing or (begins and not self.meter.spent(definition.time_budget)):
            self._check_code(accept_code)

    def _check_code(self, accept: bool) -> None:
        """Refuse to add trials of other code to those that are there, unless it is accepted."""
        path, model = self.folder.path, self.definition.recipe.model.name
        changed = code.changed(path, model)
        if changed and not accept:
            raise code.refuse(path, changed)
        if changed:
            self.watch.say(code.accept(path, model))

    def outcome(self, begin: float, resumed: bool, worked: bool) -> Outcome:
        """What there is now."""
        return Outcome(
            folder=self.folder,
            counts=ledger.counts(self.study),
            finalists=tuple(finalists.read_finalists(self.folder.finalists, self.folder.minimise)),
            use=Use.of(self.study.user_attrs),
            seconds=time.monotonic() - begin,
            resumed=resumed,
            worked=worked,
            ended=ending.reason(
                ledger.census(self.study), self.definition.trials, self.definition.patience
            ),
        )

    def _ready(self, study: optuna.Study) -> optuna.Study:
        """The study with a sampler that does not repeat itself, nothing running, defaults first."""
        definition, space = self.definition, self.folder.space
        pruner = make_pruner(definition.pruner, self.base.epochs)
        study = mirrored(study, study.sampler, pruner)
        ledger.sweep(study)
        ledger.enqueue_defaults(study, space)
        self._take_up(study)
        study.sampler = make_sampler(
            definition.sampler,
            definition.seed,
            families=len(space.families),
            trials=definition.trials,
            counted=ledger.counts(study).counted,
        )
        return study

    def _search(self) -> Search:
        definition, space = self.definition, self.folder.space
        return Search(
            study=self.study,
            space=space,
            base=self.base,
            folder=self.folder.path,
            planned=definition.trials,
            objective=definition.objective,
            job=self._with(keep_logits=("val", finalists.PART)),
            time_budget=definition.time_budget,
            propose=self._propose,
            take_up=lambda: self._take_up(self.study),
            patience=definition.patience,
        )

    def _take_up(self, study: optuna.Study) -> None:
        """Put what users left in the folder into the queue, while the plan has room."""
        about = self.folder.space, self.folder.path, self.definition.trials
        queue.take_up(study, *about, self.watch.say)

    def _propose(self) -> None:
        """A random trial against repeats; where the sampler learns, a prior trial now and then."""
        about = self.study, self.folder.space, self.definition.seed
        if not break_repeats(*about) and self.definition.sampler in LEARNING:
            enqueue_prior(*about)

    def _with(self, **fields: Any) -> Job:
        return replace(self.job, **fields)

    # Finalists

    def _plan(self, data: Data) -> Plan:
        job = self._with(
            evaluate_on=(),
            final=("val", finalists.PART),
            keep_logits=(finalists.PART,),
            export=True,
        )
        return Plan(self.folder.finalists, data.fingerprint, job)

    def _early(self) -> list[Run]:
        """Cross-entropy is a finalist whatever the search finds."""
        wanted = self.definition.finalists
        if not wanted.count:
            return []
        baseline = finalists.default(self.folder.space, self.base, finalists.BASELINE)
        return finalists.runs([baseline], wanted.seeds)

    def _runs(self, candidates: Sequence[Candidate]) -> list[Run]:
        return finalists.runs(candidates, self.definition.finalists.seeds)

    def _candidates(self) -> list[Candidate]:
        return finalists.choose(
            self.folder.records(self.study),
            self.folder.space,
            self.base,
            self.definition.finalists.count,
            self.folder.minimise,
        )

    def _choose(self) -> list[Run]:
        """The finalists, recorded as chosen but not yet confirmed."""
        candidates = self._candidates()
        self._write(candidates, confirmed=False)
        return self._runs(candidates)

    def _confirmed(self) -> bool:
        """Whether every run of the present finalists has its result."""
        self.confirm.extend(self._runs(self._candidates()))
        return not self.confirm.left

    def _settle(self) -> None:
        """All runs of the finalists have ended, with a result or for good; none may be missed."""
        candidates = self._candidates()
        self._write(candidates, confirmed=not self.confirm.left)
        found = finalists.read_finalists(self.folder.finalists, self.folder.minimise)
        ranked = {finalist.label for finalist in found}
        for missing in [one.label for one in candidates if one.label not in ranked]:
            self.watch.say(f"{missing} is not ranked: none of its runs gave a result")

    def _write(self, candidates: Sequence[Candidate], *, confirmed: bool) -> None:
        self.lock.check()
        if candidates:
            finalists.write_chosen(
                self.folder.finalists,
                candidates,
                self.definition.finalists.seeds,
                self.definition.objective,
                confirmed,
            )
