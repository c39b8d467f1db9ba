"""`autosd predict`: the classes of image files."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosd.cli import models, options
from autosd.cli.console import finite, printable, side
from autosd.errors import AutosdError, WorkFailed
from autosd.results.numbers import percent

if TYPE_CHECKING:
    from autosd.results.predict import Prediction, Unreadable

DECIMALS = 6
MOST_LETTERS = 40
Results = Iterable["Prediction | Unreadable"]
Write = Callable[[str], object]


class Format(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def predict(
    model_dir: models.Folder,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS",
            help="Files, folders, quoted patterns; - takes one path per line of standard input.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, metavar="K", help="Classes of each image.")] = 1,
    format: Annotated[
        Format | None, typer.Option("--format", help="Default: by --out, else table.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write there, not on standard output.")
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option("--calibrated", help="Scale probabilities by the model's temperature."),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    trust_code: models.TrustCode = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Say which class each image shows and how probable that is.

    Files are read like those of a training set. A file that cannot be read is named on standard
    error; the exit code is 1 only where all of them are.

    Examples:

    [bold]autosd predict runs/leaves/best photos --top 3[/bold]

    [bold]find . -name '*.jpg' | autosd predict runs/leaves/best - --out classes.csv[/bold]
    """
    from autosd.results.image_paths import image_paths
    from autosd.results.predict import predict as run

    chosen = _format(format, out, as_json)
    model = models.opened(model_dir, directory, trust_code)
    temperature = model.temperature() if calibrated else None
    if temperature is not None:
        side().print(f"probabilities scaled by the temperature {temperature:.3f}", soft_wrap=True)
    named = image_paths(paths, sys.stdin)
    results = run(model, named, top=top, batch_size=batch_size, temperature=temperature or 1.0)
    counted = _Counted(results)
    facts = {"model_dir": str(model.folder), "temperature": temperature}
    write = {Format.JSON: _json, Format.CSV: _csv, Format.TABLE: _table}[chosen]
    widest = max(len(_safe(name)) for name in model.class_names)
    _deliver(lambda text: write(counted, text, top, facts, widest), out)
    _conclude(counted, out)


class _Counted:
    """Results as they come, counted; the unreadable ones are said at once."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self.read = self.unreadable = 0

    def __iter__(self) -> Iterator["Prediction | Unreadable"]:
        from autosd.results.predict import Unreadable

        for result in self._results:
            if isinstance(result, Unreadable):
                self.unreadable += 1
                line = f"unreadable: {_safe(result.path)}: {_safe(result.reason)}"
                print(line, file=sys.stderr, flush=True)
            else:
                self.read += 1
            yield result


def _format(asked: Format | None, out: Path | None, as_json: bool) -> Format:
    if as_json and asked not in (None, Format.JSON):
        raise AutosdError(f"--json and --format {asked} exclude each other")
    if as_json:
        return Format.JSON
    suffix = "" if out is None else out.suffix.lower().removeprefix(".")
    return asked or (Format(suffix) if suffix in ("csv", "json") else Format.TABLE)


def _deliver(write: Callable[[Write], None], out: Path | None) -> None:
    """Let `write` write to standard output as it goes, or to a file that is whole or absent."""
    from autosd.files import write_atomically

    if out is None:
        write(lambda text: print(text, end="", flush=True))
        return
    if out.is_dir():
        raise AutosdError(f"{out}: is a folder, not a file to write")
    try:
        write_atomically(out, lambda file: write(lambda text: file.write(text.encode())))
    except OSError as error:
        raise AutosdError(f"{out}: cannot be written ({error.strerror or error})") from None


def _conclude(counted: _Counted, out: Path | None) -> None:
    if counted.read == counted.unreadable == 0:
        raise AutosdError("no paths were given: standard input was empty")
    if not counted.read:
        many = counted.unreadable > 1
        raise WorkFailed(
            f"none of {counted.unreadable} paths could be read"
            if many
            else "the only path could not be read"
        )
    if out is not None or counted.unreadable:
        plural = "" if counted.read == 1 else "s"
        where = "" if out is None else f" in {out}"
        failed = f", {counted.unreadable:,} unreadable" if counted.unreadable else ""
        side().print(f"{counted.read:,} image{plural}{where}{failed}", markup=False, soft_wrap=True)


def _table(results: Results, write: Write, top: int, facts: dict[str, Any], widest: int) -> None:
    """Aligned lines as they come; the path stands last, so that none is cut or wrapped."""
    from autosd.results.predict import Prediction

    indent = "  " if top > 1 else ""
    width = min(MOST_LETTERS, max(len("class"), widest + len(indent)))
    write(f"{'class':<{width}}  probability  image\n")
    for result in results:
        if not isinstance(result, Prediction):
            continue
        for rank, (name, probability) in enumerate(result.classes):
            label = (indent if rank else "") + _safe(name)
            path = "" if rank else f"  {_safe(result.path)}"
            write(f"{label:<{width}}  {percent(probability):>11}{path}\n")


def _csv(results: Results, write: Write, top: int, facts: dict[str, Any], widest: int) -> None:
    """One row per image; further classes in further columns."""
    from autosd.results.plain_text import harmless
    from autosd.results.predict import Prediction

    def row(cells: list[str]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(map(harmless, cells))
        return text.getvalue()

    more = [f"{name}_{rank}" for rank in range(2, top + 1) for name in ("class", "probability")]
    write(row(["image", "class", "probability", *more]))
    for result in results:
        if isinstance(result, Prediction):
            pairs = [(name, f"{value:.{DECIMALS}f}") for name, value in result.classes]
            write(row([_text(result.path), *(cell for pair in pairs for cell in pair)]))


def _json(results: Results, write: Write, top: int, facts: dict[str, Any], widest: int) -> None:
    """One object, when all is done."""
    from autosd.results.predict import Prediction

    images: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    for result in results:
        if isinstance(result, Prediction):
            classes = [
                {"class": name, "probability": round(value, DECIMALS)}
                for name, value in result.classes
            ]
            images.append({"image": _text(result.path), "classes": classes})
        else:
            unreadable.append({"image": _text(result.path), "reason": _text(result.reason)})
    value = finite({**facts, "images": images, "unreadable": unreadable})
    write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def _text(path: str) -> str:
    """A path as text that UTF-8 can carry."""
    from autosd.data.sources import files

    return files.printable(path)


def _safe(text: str) -> str:
    """Text for a terminal: line ends, control codes and the like are escaped."""
    return printable(_text(text)).replace("\n", "\\n").replace("\t", "\\t")
