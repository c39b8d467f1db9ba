"""Trainer speed, as ratios measured in one run: `python tests/benchmarks/throughput.py`.

Our trainer against the loop a user would write (a torch data set of PIL images, torchvision
transforms v2 for each image, a data loader without workers, float32, SGD, `.item()` in each
step): same network, batch and augmentation, one thread, each loop in a process of its own, epochs
interleaved, medians over rounds of process CPU time, which other load on the machine disturbs
least. The ratio is printed last.

On a GPU the clock on the wall is read when the GPU has finished; our loops keep images there, in
channels_last, and bf16 by autocast. The plain loop stays as it is, with its batches copied over.

    --model resnet8 resnet20 resnet18   networks at 32x32x3
    --device cuda                       all of it on a GPU
    --compile default reduce-overhead   our bf16 loop with a compiled student besides; the second
                                        replays CUDA graphs
    --strategy all                      cost of each strategy against cross-entropy instead,
                                        beside the cost it declares; among them
                                        `linear_heads` of `strategies/` beside this file

Pixels are real: scikit-learn's digits enlarged, or the images of `--data FILE.npz`.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

import autosd.strategies
from autosd.data.dataset import Data
from autosd.data.loader import Loader
from autosd.data.loading import load_data
from autosd.models.build import build_student
from autosd.recipe import ModelSpec, Recipe
from autosd.strategies.strategy import discover
from autosd.streams import Clock
from autosd.training.trainer import Trainer

SIDE = 32
CLASSES = 10
Loop = tuple[Callable[[], object], float]
"""One more epoch, and its declared cost for an image with plain training's as 1."""

autosd.strategies.__path__.append(str(Path(__file__).parent / "strategies"))


def main() -> None:
    """Measure what the command line asks for and print it."""
    options = parse_options()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for model in options.model:
            steps = steps_for(model, options)
            path = pixels(options.data, steps * options.batch_size, Path(folder) / f"{model}.npz")
            recipe = base_recipe(model, options, path)
            data = load_data(recipe.data, cache=Path(folder))
            if options.strategy:
                compare_strategies(recipe, data, options)
            else:
                compare_loops(recipe, data, options)


def parse_options() -> argparse.Namespace:
    """The options of the module docstring, with their defaults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["resnet8"])
    parser.add_argument("--strategy", nargs="+", default=[], help="names, or all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=1.5, help="about, of one fast epoch")
    parser.add_argument("--precision", default="auto", help="with --strategy: auto, fp32, bf16")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--compile", nargs="+", default=[], help="modes of torch.compile")
    parser.add_argument("--data", type=Path, help="npz file with train_images and train_labels")
    return parser.parse_args()


def steps_for(model: str, options: argparse.Namespace) -> int:
    """Steps of a float32 epoch of about `--seconds`, from the time of one step without data."""
    spec = ModelSpec(name=model)
    student = build_student(spec, CLASSES, (3, SIDE, SIDE), seed=0).to(options.device)
    images = torch.rand(options.batch_size, 3, SIDE, SIDE, device=options.device)
    step = partial(timed, lambda: student(images).sum().backward(), options.device)
    return max(3, round(options.seconds / min(step() for _ in range(3))))


def timed(act: Callable[[], object], device: str) -> float:
    """CPU seconds of this process; of a GPU, seconds on the wall until it has done everything."""
    if device == "cpu":
        begin = time.process_time()
        act()
        return time.process_time() - begin
    torch.cuda.synchronize()
    begin = time.perf_counter()
    act()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def pixels(source: Path | None, count: int, path: Path) -> Path:
    """An npz file of `count` training images and a few more for the other parts."""
    if source:
        with np.load(source) as arrays:
            images, labels = arrays["train_images"], arrays["train_labels"].reshape(-1)
        keep = labels < CLASSES
        images, labels = images[keep], labels[keep]
    else:
        images, labels = enlarged_digits()
    rows = np.arange(count + 20 * CLASSES) % len(images)
    few = rows[: 10 * CLASSES]
    np.savez(
        path,
        train_images=images[rows],
        train_labels=labels[rows],
        test_images=images[few],
        test_labels=labels[few],
    )
    return path


def enlarged_digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as uint8 `[N, 32, 32, 3]`."""
    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE))) for image in grey]
    return np.repeat(np.stack(large)[..., None], 3, axis=3), digits.target


def base_recipe(model: str, options: argparse.Namespace, path: Path) -> Recipe:
    """Plain training with crop and flip at a constant rate."""
    split = {"val": 10 * CLASSES, "select": 10 * CLASSES}
    return Recipe.parse(
        {
            "data": {"name": f"npz:{path}", "split": split},
            "model": model,
            "epochs": 1000,
            "batch_size": options.batch_size,
            "optimizer": {"lr": 0.01},
            "schedule": "constant",
            "augment": {"crop": 4, "flip": True},
            "precision": options.precision,
        }
    )


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """What a tutorial would write: PIL images, transformed one by one."""

    def __init__(self, data: Data) -> None:
        part = data.part("train")
        self.pictures = [Image.fromarray(part.images[row]) for row in part.rows]
        self.labels = part.labels.tolist()
        self.transform = v2.Compose(
            [
                v2.RandomCrop(SIDE, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(data.mean, data.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pictures[index]), self.labels[index]


def plain_loop(recipe: Recipe, data: Data, device: str) -> Loop:
    """An epoch of the loop a user would write, around the same network."""
    student = build_student(recipe.model, CLASSES, data.image_shape, seed=0).train().to(device)
    loader = DataLoader(Pictures(data), recipe.batch_size, shuffle=True, num_workers=0)
    optimizer = torch.optim.SGD(
        student.parameters(), recipe.optimizer.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def epoch() -> float:
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(student(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        return total

    return epoch, 1.0


def our_loop(recipe: Recipe, data: Data, device: str, mode: str = "", **changes: object) -> Loop:
    """An epoch of the trainer, without evaluation, of the recipe with some keys changed."""
    changed = Recipe.parse({**recipe.mapping(), **changes})
    trainer = Trainer(changed, data, evaluate_on=(), device=device)
    if mode:
        activations = torch.compile(trainer.student.activations, mode=mode)
        trainer.student.activations = activations  # type: ignore[method-assign]
    reports = trainer.epochs()
    return lambda: next(reports), trainer.cost.step


def data_path(recipe: Recipe, data: Data, device: str) -> Loop:
    """An epoch of the loader alone."""
    loader = Loader(
        data.part("train"),
        data,
        batch_size=recipe.batch_size,
        augment=recipe.augment,
        device=device,
        drop_single=True,
    )
    clock = Clock(0, 1, loader.steps_per_epoch, device=torch.device(device))
    return lambda: [batch.fresh for batch in loader.epoch(clock)], 0.0


def compare_loops(recipe: Recipe, data: Data, options: argparse.Namespace) -> None:
    """Print images per second of each loop and the ratios to the plain one."""
    device, rounds = options.device, options.rounds
    ours = {"fp32": {"precision": "fp32"}, "bf16": {"precision": "bf16"}}
    ours |= {mode: {"precision": "bf16", "mode": mode} for mode in options.compile}
    loops = {
        "plain": partial(plain_loop, recipe, data, device),
        **{name: partial(our_loop, recipe, data, device, **how) for name, how in ours.items()},
        "data": partial(data_path, recipe, data, device),
    }
    with ExitStack() as stack:
        runners = {name: stack.enter_context(Runner(make, device)) for name, make in loops.items()}
        times = interleaved(runners, rounds)
    images = data.counts["train"]
    print(f"{recipe.model.name}, batch {recipe.batch_size}, {images} images, {rounds} rounds")
    for name in ("plain", *ours):
        print(f"  {name:15s} {images / statistics.median(times[name]):9.0f} images/s")
    print(f"  data path: {100 * ratio(times, 'data', 'bf16')[1]:.2f} % of a bf16 step")
    for name in ours:
        low, middle, high = ratio(times, "plain", name)
        print(f"  ratio {name} / plain  {middle:.2f}  [{low:.2f} to {high:.2f}]", flush=True)


def compare_strategies(recipe: Recipe, data: Data, options: argparse.Namespace) -> None:
    """Print what a step of each strategy costs, cross-entropy's as 1, beside what it declares."""
    device, rounds = options.device, options.rounds
    chosen = sorted(discover()) if options.strategy == ["all"] else options.strategy
    print(f"{recipe.model.name}, batch {recipe.batch_size}: cost of a step, cross-entropy = 1")
    print(f"  {'strategy':20s} measured  [quartiles]       declared  measured / declared")
    with Runner(partial(our_loop, recipe, data, device), device) as base:
        for name in chosen:
            make = partial(our_loop, recipe, data, device, strategies=[name])
            with Runner(make, device) as own:
                times = interleaved({"base": base, name: own}, rounds)
            low, middle, high = ratio(times, name, "base")
            quartiles = f"[{low:.2f} to {high:.2f}]"
            print(
                f"  {name:20s} {middle:8.2f}  {quartiles:16s}  {own.declared:8.2f}  "
                f"{middle / own.declared:8.2f}",
                flush=True,
            )


class Runner:
    """A loop in a process of its own, so that no loop sees what another does to its process."""

    def __init__(self, make: Callable[[], Loop], device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, make, device), daemon=True)
        self._process.start()
        self.declared: float = self._pipe.recv()

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(False)
        self._process.join()

    def seconds(self) -> float:
        """Seconds of one more epoch, as `timed` takes them."""
        self._pipe.send(True)
        taken: float = self._pipe.recv()
        return taken


def serve(pipe: Connection, make: Callable[[], Loop], device: str) -> None:
    """Run an epoch whenever asked to, and say how long it took."""
    torch.set_num_threads(1)
    epoch, declared = make()
    pipe.send(declared)
    while pipe.recv():
        pipe.send(timed(epoch, device))


def interleaved(runners: dict[str, Runner], rounds: int) -> dict[str, list[float]]:
    """Seconds of an epoch of each loop, taken in turns; the first turn warms up."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(rounds + 1):
        for name, runner in runners.items():
            taken = runner.seconds()
            if turn:
                times[name].append(taken)
    return times


def ratio(times: dict[str, list[float]], over: str, under: str) -> tuple[float, float, float]:
    """Quartiles of the ratio of two loops, each pair measured in the same round."""
    pairs = [a / b for a, b in zip(times[over], times[under], strict=True)]
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return low, middle, high


if __name__ == "__main__":
    main()
