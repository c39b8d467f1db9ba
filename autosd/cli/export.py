"""`autosd export`: a model as one file for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autosd.cli import models, options
from autosd.cli.console import begun, emit, near, people, side
from autosd.results.numbers import percent

if TYPE_CHECKING:
    from autosd.results.check_images import CheckImages
    from autosd.results.exporting import Exported
    from autosd.results.model import Model


class Format(StrEnum):
    """What a model can be written as."""

    ONNX = "onnx"
    PT2 = "pt2"


def export(
    model_dir: models.Folder,
    to: Annotated[Format, typer.Option("--to", help="ONNX, or a program of torch.export.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: model.onnx or model.pt2 in MODEL_DIR."),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="Take uint8 pixels (batch, height, width, channels), normalise them inside.",
        ),
    ] = False,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Images to check the file on, may be repeated; default: of the model's own data.",
        ),
    ] = None,
    trust_code: models.TrustCode = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Write a model as ONNX or pt2, for batches of any size, and check the file.

    The file's logits are compared with the model's on real images; where one differs by more than
    0.001 no file is left behind. Images have the model's size; without --with-preprocessing they
    are normalised before: (value / 255 - mean) / std.

    Example: [bold]autosd export runs/leaves/best --to onnx --with-preprocessing[/bold]
    """
    from autosd.results import exporting

    exporting.check_installed(to.value)
    model = models.opened(model_dir, directory, trust_code)
    path = out or model.folder / f"model.{to}"
    checked = _images(model, images)
    done = exporting.export(model, to.value, path, checked.pixels, preprocessing=with_preprocessing)
    if as_json:
        emit(_mapping(done, checked))
    else:
        _show(done, checked)


def _images(model: "Model", given: list[str] | None) -> "CheckImages":
    from autosd.results.check_images import given_images, own_images
    from autosd.results.image_paths import image_paths

    if given:
        return given_images(model, image_paths(given))
    return own_images(model, progress=begun(side()))


def _mapping(done: "Exported", checked: "CheckImages") -> dict[str, object]:
    return {
        "file": str(done.path),
        "format": done.kind,
        "bytes": done.size,
        "input": done.input,
        "output": done.output,
        "checked_on": checked.source,
        "images": done.images,
        "real_images": checked.real,
        "largest_difference": done.difference,
        "same_class": done.agreement,
    }


def _show(done: "Exported", checked: "CheckImages") -> None:
    console = people()
    console.print(
        f"wrote {near(done.path)} ({done.size / 1e6:.1f} MB)", markup=False, soft_wrap=True
    )
    console.print(f"  takes {done.input}", markup=False, soft_wrap=True)
    console.print(f"  gives {done.output}", markup=False, soft_wrap=True)
    runtime = "onnxruntime" if done.kind == "onnx" else "torch"
    console.print(
        f"checked with {runtime} on {checked.source}: largest difference of a logit "
        f"{done.difference:.1e}, same class for {percent(done.agreement)}",
        markup=False,
        soft_wrap=True,
    )
    if not checked.real:
        side().print(
            f"note: no real images were at hand ({checked.why}); name some with --images",
            markup=False,
            soft_wrap=True,
        )
