"""The one training loop, the same for every strategy."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autosd.data.batches import Batch
from autosd.data.dataset import Data, Dataset
from autosd.data.loader import Loader
from autosd.errors import TrialDiverged
from autosd.models.build import build_student
from autosd.models.student import Activations, Student
from autosd.recipe import Recipe
from autosd.strategies.check import build_strategies, hooks, run_spec
from autosd.strategies.costs import combined, planned_epochs
from autosd.strategies.strategy import Targets
from autosd.streams import Clock, seed_for
from autosd.training.average import make_average
from autosd.training.checkpoint import load_checkpoint, save_checkpoint, unreadable
from autosd.training.depthwise import exempt_from_autocast
from autosd.training.evaluation import Evaluation, evaluate
from autosd.training.export import export_student, initialise_from
from autosd.training.memory import keep_freed_memory
from autosd.training.optim import FORM, Schedule, make_optimizer
from autosd.training.precision import forward_context, resolve
from autosd.training.report import EpochReport, Tally, Work

logger = logging.getLogger(__name__)
LAYOUT = "channels_last"


class Trainer:
    """Trains the student of one recipe; the caller decides when to go on, stop and save.

    Args:
        recipe: everything that decides the run.
        data: the split data set of the recipe.
        train_on: parts of the data that give gradients.
        evaluate_on: parts evaluated after each epoch.
        device: where everything lives, such as `cpu` or `cuda`.
        threads: processor threads of this run.
        checkpoint: file of the training state; a run that is there goes on where it ended.
        root: folder from which relative paths in knobs are taken.

    Attributes:
        student: the network that is trained.
        strategies: what trains beside it, by name.
        cost: declared by its strategies together.
        planned: epochs of the run: the recipe's, or what its compute buys.
        history: plain values of all reports so far, those before a resume included.
        record: threads, device, layout, precision and optimiser form: each changes the bits.

    Raises:
        AutosdError: the recipe does not fit the data, or the checkpoint is of another run.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        *,
        train_on: tuple[str, ...] = ("train",),
        evaluate_on: tuple[str, ...] = ("val",),
        device: str | torch.device = "cpu",
        threads: int = 1,
        checkpoint: Path | None = None,
        root: Path = Path(),
    ) -> None:
        torch.set_num_threads(threads)
        keep_freed_memory()
        self.recipe, self.data, self.checkpoint, self.root = recipe, data, checkpoint, root
        self.evaluate_on, self.device, self.threads = evaluate_on, torch.device(device), threads
        self._generators = [self.device] if self.device.type == "cuda" else []
        self.precision = resolve(recipe.precision, self.device)
        self._forward_context = forward_context(self.precision, self.device)
        self.history: list[dict[str, Any]] = []
        self._diverged: TrialDiverged | None = None
        self._between_epochs = True
        self._evaluations: dict[str, Evaluation] = {}
        self._loaders: dict[str, Loader] = {}
        dataset = data.part(*train_on)
        resuming = checkpoint is not None and checkpoint.exists()
        self._build_student(fresh=not resuming)
        self._loader = Loader(
            dataset,
            data,
            batch_size=recipe.batch_size,
            augment=recipe.augment,
            device=self.device,
            drop_single=self.student.spec.batch_norm,
        )
        self._build_strategies(dataset)
        self._build_optimisation()
        self._identity = {
            "recipe": recipe.fingerprint(),
            "data": data.fingerprint,
            "train_on": list(train_on),
        }
        if checkpoint is not None and resuming:
            self._resume(checkpoint)

    @property
    def record(self) -> dict[str, Any]:
        """What changes the bits of a run beside its recipe and data."""
        return {
            "threads": self.threads,
            "device": self.device.type,
            "layout": LAYOUT,
            "precision": self.precision,
            "optimizer": FORM,
        }

    @property
    def result(self) -> Student:
        """The network that is evaluated, kept and exported: the student or its average."""
        return self._average.result(self.student)

    def epochs(self) -> Iterator[EpochReport]:
        """Train the epochs that are left, one report each.

        Raises:
            TrialDiverged: a loss term or a metric is not finite; the epoch is not kept.
        """
        while len(self.history) < self.planned:
            report = self._epoch(len(self.history))
            self.history.append(report.mapping())
            yield report

    def evaluate(self, *parts: str, keep: bool = False) -> Evaluation:
        """Scores of `result` on the joined parts; asked again, they are not computed again.

        Args:
            parts: of the data.
            keep: whether the logits are wanted.
        """
        key = "+".join(parts)
        known = self._evaluations.get(key)
        if known is None or (keep and known.kept is None):
            if key not in self._loaders:
                self._loaders[key] = Loader(self.data.part(*parts), self.data, device=self.device)
            known = evaluate(self.result, self._loaders[key].plain(), keep=keep)
            self._evaluations[key] = known
        return known

    def save(self) -> None:
        """Write the state after the last finished epoch to `checkpoint`.

        Raises:
            TrialDiverged: the run diverged; the checkpoint of the epoch before stays.
            RuntimeError: an epoch was interrupted; likewise.
        """
        if self.checkpoint is None:
            raise RuntimeError("a trainer without a checkpoint file cannot be saved")
        self._require_whole()
        save_checkpoint(self.checkpoint, self._identity, self._state())

    def export(self, folder: Path, details: Mapping[str, Any]) -> None:
        """Write `result` to `folder` for `autosd.load`; `details` go into `model.json`."""
        self._require_whole()
        export_student(
            folder,
            self.result,
            model=self.recipe.model.name,
            class_names=self.data.class_names,
            mean=self.data.mean,
            std=self.data.std,
            details={**details, "record": self.record},
        )

    def _build_student(self, fresh: bool) -> None:
        recipe, data = self.recipe, self.data
        classes = len(data.class_names)
        student = build_student(recipe.model, classes, data.image_shape, recipe.seed)
        if fresh and recipe.init is not None:
            initialise_from(student, recipe.init)
        self.student = _placed(student, self.device).train()

    def _build_strategies(self, dataset: Dataset) -> None:
        recipe = self.recipe
        labels = torch.from_numpy(dataset.labels).to(self.device)
        run = run_spec(recipe, self.student, labels, self.root)
        modules = build_strategies(recipe, self.student, run, recipe.seed)
        self.cost = combined(hooks(modules))
        self.planned = planned_epochs(recipe, self.cost)
        if self.planned != recipe.epochs:
            del modules  # their state would stand beside that of the second ones
            run = replace(run, epochs=self.planned)
            modules = build_strategies(recipe, self.student, run, recipe.seed)
        self.strategies = _placed(modules, self.device)
        if self.precision == "bf16" and self.device.type == "cpu":
            exempt_from_autocast((self.student, self.strategies))
        self._hooks = hooks(modules)
        balanced = recipe.class_weights == "balanced"
        self._class_weights = balanced_weights(labels, run.classes) if balanced else None

    def _build_optimisation(self) -> None:
        recipe, steps = self.recipe, self._loader.steps_per_epoch
        self._optimizer = make_optimizer(recipe.optimizer, (self.student, self.strategies))
        self._schedule = Schedule(recipe.schedule, recipe.optimizer.lr, steps, self.planned)
        self._average = make_average(recipe.average, self.student)
        self._clock = Clock(recipe.seed, self.planned, steps, device=self.device)

    def _epoch(self, epoch: int) -> EpochReport:
        """Train one 0-based epoch and evaluate it."""
        begin = time.perf_counter()
        torch.set_num_threads(self.threads)
        self._between_epochs = False
        self._evaluations.clear()
        tally = Tally(epoch)
        try:
            self._train(epoch, tally)
            train, terms = tally.read()
            trained = time.perf_counter() - begin
            self._average.end_epoch(epoch, self.planned, self._loader.plain)
            evaluated = {part: self.evaluate(part).metrics for part in self.evaluate_on}
            require_finite_metrics(epoch, evaluated)
        except TrialDiverged as error:
            self._diverged = error
            raise
        self._between_epochs = True
        return EpochReport(
            epoch=epoch + 1,
            epochs=self.planned,
            train=train,
            evaluated=evaluated,
            terms=terms,
            seconds=time.perf_counter() - begin,
            images_per_second=tally.images / trained,
            dropped=self._loader.dropped,
            work=self._work(tally),
            record=self.record,
        )

    def _train(self, epoch: int, tally: Tally) -> None:
        """All steps of an epoch; what the network draws itself (dropout) follows from the epoch."""
        clock = self._clock.at(epoch, 0)
        with torch.random.fork_rng(devices=self._generators):
            torch.manual_seed(seed_for(self.recipe.seed, epoch, "network"))
            for strategy in self._hooks:
                strategy.start_epoch(self.student, clock)
            try:
                for step, batch in enumerate(self._loader.epoch(clock)):
                    self._step(batch, clock.at(epoch, step), tally)
            except (RuntimeError, ValueError, IndexError):
                tally.require_finite()
                raise
            for strategy in self._hooks:
                strategy.end_epoch(self.student, clock)

    def _step(self, batch: Batch, clock: Clock, tally: Tally) -> None:
        """One step of the optimiser. Losses are float32; the forward pass may be bf16."""
        for strategy in self._hooks:
            batch = strategy.prepare(batch, clock)
        with self._forward_context:
            activations = self.student.activations(batch.images)
        activations = activations._replace(
            logits=activations.logits.float(),
            embedding=activations.embedding.float(),
            autocast=torch.bfloat16 if self.precision == "bf16" else None,
        )
        targets = Targets(batch.labels, weights=self._class_weights)
        for strategy in self._hooks:
            targets = strategy.targets(targets, batch, clock)
        terms = {"supervised": targets.cross_entropy(activations.logits).mean()}
        for strategy in self._hooks:
            terms |= strategy.losses(activations, targets, batch, self.student, clock)
        self._update(reduce(add, terms.values()), clock)
        fresh = slice(batch.fresh)
        tally.add(activations.logits[fresh], batch.labels[fresh], terms, len(batch.images))
        detached = _detached(activations)
        for strategy in self._hooks:
            strategy.after_step(detached, batch, self.student, clock)

    def _update(self, loss: Tensor, clock: Clock) -> None:
        """Gradients of `loss`, clipped if asked for, and one step at the rate of this moment."""
        step = clock.epoch * clock.steps_per_epoch + clock.step
        self._optimizer.zero_grad()
        loss.backward()
        for group in self._optimizer.param_groups:
            group["lr"] = self._schedule.rate(step)
        if self.recipe.optimizer.clip is not None:
            parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.recipe.optimizer.clip)
        self._optimizer.step()
        self._average.after_step(step)

    def _work(self, tally: Tally) -> Work:
        return Work(
            images=tally.images,
            forwards=tally.forwards,
            declared={**asdict(self.cost), "step": self.cost.step},
            state_bytes={
                "student": state_bytes(self.student),
                "strategies": state_bytes(self.strategies),
            },
        )

    def _require_whole(self) -> None:
        """What diverged or was interrupted within an epoch is no state of a run."""
        if self._diverged is not None:
            raise self._diverged
        if not self._between_epochs:
            raise RuntimeError("the training was interrupted within an epoch")

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Everything with a state, by its name in the checkpoint."""
        return {
            "student": self.student,
            "strategies": self.strategies,
            "optimizer": self._optimizer,
            "average": self._average,
        }

    def _state(self) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        return {**state, "record": self.record, "history": self.history}

    def _resume(self, path: Path) -> None:
        """Go on from the state at `path`.

        Raises:
            CheckpointUnreadable: it is damaged or of another run.
        """
        state = load_checkpoint(path, self._identity)
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.history, record = list(state["history"]), dict(state["record"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise unreadable(path, "it does not fit the networks of this run") from error
        if record != self.record:
            logger.warning("%s: goes on with %s, was %s", path, self.record, record)


def state_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers of a module."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Class weights `[classes]`, N / (K n_k): their mean over the training images is 1.

    A class without images, which no row can have, gets the weight of a class with one.
    """
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return len(labels) / (classes * counts.float())


def require_finite_metrics(epoch: int, evaluated: Mapping[str, Mapping[str, float]]) -> None:
    """Raise `TrialDiverged` where a metric of the 0-based `epoch` is not finite."""
    values = {f"{part}/{name}": v for part, ms in evaluated.items() for name, v in ms.items()}
    if not all(math.isfinite(value) for value in values.values()):
        raise TrialDiverged(epoch + 1, -1, values)


def _placed(module: Any, device: torch.device) -> Any:
    """`module` on `device`, its convolutions in channels_last."""
    return module.to(device=device).to(memory_format=torch.channels_last)


def _detached(activations: Activations) -> Activations:
    logits, taps, embedding, autocast = activations
    taps = tuple(tap.detach() for tap in taps)
    return Activations(logits.detach(), taps, embedding.detach(), autocast)
