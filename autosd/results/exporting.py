"""A model as one file for other programs, checked against the network it was made of."""

import contextlib
import copy
import importlib.util
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from autosd.data.dataset import Images
from autosd.errors import AutosdError, WorkFailed
from autosd.results.model import Model

Format = Literal["onnx", "pt2"]
TOLERANCE = 1e-3
"""Largest absolute difference of a logit that an exported file may have."""
OPSET = 20
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}
INPUT, OUTPUT = "images", "logits"
EXAMPLES = 2
"""Rows of the example input: with one row the exporter takes the batch for a constant."""
Run = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Exported:
    """A file that passed its check.

    Attributes:
        path: the file.
        kind: `onnx` or `pt2`.
        input: what it takes, in words.
        output: what it gives, in words.
        images: checked.
        difference: largest absolute difference of a logit to the network's.
        agreement: share of images with the same first class.
        size: bytes.
    """

    path: Path
    kind: Format
    input: str
    output: str
    images: int
    difference: float
    agreement: float
    size: int


def check_installed(kind: Format) -> None:
    """Refuse a format whose packages are missing.

    Raises:
        AutosdError: says what to install.
    """
    missing = [name for name in NEEDED[kind] if importlib.util.find_spec(name) is None]
    if missing:
        raise AutosdError(
            f"--to {kind} needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )


def export(
    model: Model, kind: Format, path: Path, pixels: Images, *, preprocessing: bool = False
) -> Exported:
    """Write the network to `path` and compare it with the original on `pixels`.

    The batch may have any size. The file appears only after its check.

    Args:
        model: to be written.
        kind: `onnx` (opset 20) or `pt2` (a program of `torch.export`).
        path: of the file; its folder is made.
        pixels: uint8 `[N, H, W, C]` of the model's shape, best with at least 5 rows: batches of
            1, of 3 and of the rest are compared.
        preprocessing: put the normalisation into the file, which then takes `pixels` themselves.

    Raises:
        AutosdError: a package is missing, or the file cannot be written.
        WorkFailed: the network cannot be exported, or a logit differs by more than `TOLERANCE`.
    """
    check_installed(kind)
    if path.is_dir():
        raise AutosdError(f"{path}: is a folder, not a file to write")
    inputs = pixels if preprocessing else model.preprocess.batch(pixels).contiguous().numpy()
    network = _plain(model, preprocessing)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            made = Path(folder, f"model.{kind}")
            run = _written(network, kind, made, _example(inputs), _facts(model, preprocessing))
            difference, agreement = _compared(run, inputs, model.logits(pixels).numpy())
            if not difference <= TOLERANCE:
                raise WorkFailed(
                    f"{path}: not written, since a logit of the {kind} file differs by "
                    f"{difference:.2g} from the model's ({TOLERANCE:g} is allowed)"
                )
            os.replace(made, path)
    except OSError as error:
        raise AutosdError(f"{path}: cannot be written ({error.strerror or error})") from None
    return Exported(
        path=path,
        kind=kind,
        input=_input(model, preprocessing),
        output=f"float32 [batch, {len(model.class_names)}] named '{OUTPUT}'",
        images=len(pixels),
        difference=difference,
        agreement=agreement,
        size=path.stat().st_size,
    )


class Preprocessed(nn.Module):
    """A network with its normalisation before it: uint8 `[B, H, W, C]` to logits `[B, K]`."""

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        scale = [1 / (255 * deviation) for deviation in std]
        offset = [-m / deviation for m, deviation in zip(mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1))
        self.register_buffer("offset", torch.tensor(offset).view(1, -1, 1, 1))
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float() * self.scale + self.offset
        logits: Tensor = self.network(images)
        return logits


def _plain(model: Model, preprocessing: bool) -> nn.Module:
    """A copy in the layout that exporters know, without gradients."""
    network = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format)
    network.requires_grad_(False)
    if not preprocessing:
        return network.eval()
    return Preprocessed(network, model.preprocess.mean, model.preprocess.std)


def _example(inputs: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(np.resize(inputs, (EXAMPLES, *inputs.shape[1:])))


def _input(model: Model, preprocessing: bool) -> str:
    channels, height, width = model.image_shape
    order = {1: "grey", 3: "RGB"}.get(channels, f"{channels} channels")
    if preprocessing:
        return f"uint8 [batch, {height}, {width}, {channels}] named '{INPUT}', {order}, 0 to 255"
    return (
        f"float32 [batch, {channels}, {height}, {width}] named '{INPUT}', {order}, "
        "(value / 255 - mean) / std"
    )


def _facts(model: Model, preprocessing: bool) -> dict[str, str]:
    """What the file says about itself; JSON where it is no plain text."""
    return {
        "class_names": json.dumps(model.class_names, ensure_ascii=False),
        "input": _input(model, preprocessing),
        "mean": json.dumps(model.preprocess.mean),
        "std": json.dumps(model.preprocess.std),
    }


def _written(
    network: nn.Module, kind: Format, path: Path, example: Tensor, facts: dict[str, str]
) -> Run:
    """Write a file and load it again; what runs it."""
    write = {"onnx": _write_onnx, "pt2": _write_pt2}[kind]
    with _quiet():
        try:
            return write(network, path, example, facts)
        except OSError:
            raise
        except Exception as error:  # exporters raise almost anything
            why = " ".join(str(error).split())[:300]
            raise WorkFailed(
                f"the network cannot be written as {kind} ({type(error).__name__}: {why})"
            ) from error


def _write_pt2(network: nn.Module, path: Path, example: Tensor, facts: dict[str, str]) -> Run:
    program = torch.export.export(network, (example,), dynamic_shapes=_dynamic())
    torch.export.save(program, path, extra_files=dict(facts))
    loaded: Any = torch.export.load(path).module()

    def run(batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with torch.inference_mode():
            logits: np.ndarray[Any, Any] = loaded(torch.from_numpy(batch)).numpy()
        return logits

    return run


def _write_onnx(network: nn.Module, path: Path, example: Tensor, facts: dict[str, str]) -> Run:
    program: Any = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=_dynamic(),
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=OPSET,
        verbose=False,
    )
    program.model.metadata_props.update(facts)
    program.save(path, external_data=False)
    return _onnx_session(path)


def _onnx_session(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )

    def run(batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        logits: np.ndarray[Any, Any] = session.run([OUTPUT], {INPUT: batch})[0]
        return logits

    return run


def _dynamic() -> tuple[dict[int, Any]]:
    return ({0: torch.export.Dim("batch", min=1)},)


def _compared(
    run: Run, inputs: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> tuple[float, float]:
    """Largest difference of a logit, and share of rows with the same first class."""
    pieces = [piece for piece in np.split(inputs, [1, 4]) if len(piece)]
    with _quiet():
        logits = np.concatenate([run(np.ascontiguousarray(piece)) for piece in pieces])
    difference = float(np.abs(logits - expected).max())
    return difference, float((logits.argmax(1) == expected.argmax(1)).mean())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters print, warn and log off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
