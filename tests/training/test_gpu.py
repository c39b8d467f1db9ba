"""What only a GPU shows: `pytest -m gpu`. Skipped where torch finds none."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from autosd.data.dataset import Data
from autosd.data.pixels import free_memory
from autosd.recipe import Recipe
from autosd.search.jobs import Job
from autosd.search.needs import CONTEXT_BYTES
from autosd.search.worker import Worker
from autosd.strategies.strategy import discover
from autosd.training import gpu
from autosd.training.report import Tally
from autosd.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here"),
]
MakeRecipe = Callable[..., Recipe]
GIB = 2**30


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    """Every test leaves the process without a limit."""
    yield
    torch.cuda.set_sync_debug_mode("default")
    gpu.begin(1.0, 0)


@pytest.mark.parametrize("policy", ["none", "trivial"])
@pytest.mark.parametrize("name", [name for name in discover() if name != "soft_labels"])
def test_host_never_waits_for_the_gpu_inside_an_epoch(
    recipe: MakeRecipe, digits: Data, name: str, policy: str
) -> None:
    augment = {"crop": 1, "flip": True, "policy": policy, "erase": 0.5}
    trainer = Trainer(
        recipe(strategies=[name], augment=augment), digits, evaluate_on=(), device="cuda"
    )
    next(trainer.epochs())
    torch.cuda.set_sync_debug_mode("error")
    trainer._train(1, Tally(1))


def test_process_gets_no_more_than_its_share() -> None:
    gpu.begin(0.25, CONTEXT_BYTES)
    room = int(gpu.total() * 0.25) - CONTEXT_BYTES
    torch.empty(room - GIB // 4, dtype=torch.uint8, device="cuda")
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(room + GIB // 4, dtype=torch.uint8, device="cuda")


def test_free_memory_is_what_the_share_leaves() -> None:
    gpu.begin(0.25, 0)
    assert 0 < free_memory(torch.device("cuda")) <= gpu.total() * 0.25


def test_peak_is_that_of_the_job_alone() -> None:
    torch.empty(GIB, dtype=torch.uint8, device="cuda")
    assert gpu.peak() >= GIB
    gpu.begin(1.0, 0)
    assert gpu.peak() < GIB


def test_worker_says_what_it_has_reserved(tmp_path: Path) -> None:
    values = {"data": "digits", "model": "resnet8", "epochs": 1, "strategies": ["masd"]}
    worker = Worker()
    worker.begin(Job("trials/0000", Recipe.parse(values).mapping(), str(tmp_path), gpus=0.5))
    result = worker.step()
    assert result["failure"] is None
    assert result["worker"]["device"] == "cuda"
    assert 2**20 < result["gpu"]["bytes"] < result["gpu"]["total_bytes"] == gpu.total()


def test_share_of_a_gpu_gives_the_same_curve_as_all_of_it(tmp_path: Path) -> None:
    values = {"data": "digits", "model": "resnet8", "epochs": 2, "precision": "fp32"}
    curves = []
    for share in (0.25, 1.0):
        worker = Worker()
        folder = str(tmp_path / str(share))
        worker.begin(Job("trials/0000", Recipe.parse(values).mapping(), folder, gpus=share))
        results = [worker.step(), worker.step()]
        curves.append([one["history"][0]["evaluated"] for one in results])
    assert curves[0] == curves[1]
