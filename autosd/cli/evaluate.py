"""`autosd evaluate`: how good a model is, class by class."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd.cli import complete, models, options
from autosd.cli.console import begun, emit, near, people, side, table
from autosd.errors import AutosdError
from autosd.results.numbers import percent
from autosd.results.plain_text import one_line

if TYPE_CHECKING:
    from autosd.data.dataset import Integers
    from autosd.results.evaluate import Evaluated

MOST_SQUARE = 12
"""Classes up to which the confusion matrix is shown whole."""
SHORT = 4
"""Letters of class names up to which they stand above the columns of the matrix."""
MOST_CLASSES = 20
WORST = 10
MOST_PAIRS = 10


def evaluate(
    model_dir: models.Folder,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="A known name, npz:PATH, folder:PATH; default: what the model was trained on.",
            autocompletion=complete.data_or_file,
        ),
    ] = None,
    part: Annotated[
        str, typer.Option(metavar="PART", help="train, val, select, test, or all: every image.")
    ] = "test",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.KEY=VALUE", help="Such as data.split.seed=1."),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option("--confusion", metavar="FILE.csv", help="Write the confusion matrix."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 128,
    trust_code: models.TrustCode = False,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Measure a model on labelled images: accuracy, calibration, classes and confusions.

    Classes are matched by name; images get the model's size. Reading the test part of the study
    that the model lies in is put on record there.

    Examples:

    [bold]autosd evaluate runs/leaves/best --data folder:leaves[/bold]

    [bold]autosd evaluate runs/leaves/best --data folder:photos --part all[/bold]
    """
    from autosd.cli.definition import assignments
    from autosd.data.parts import check_part
    from autosd.results.evaluate import MOST_CLASSES as MOST_OF_MATRIX
    from autosd.results.evaluate import evaluate as run
    from autosd.results.evaluate_data import choose
    from autosd.results.model import origin

    check_part(part)
    if confusion is not None and confusion.is_dir():
        raise AutosdError(f"--confusion {confusion}: is a folder, not a file to write")
    sets = assignments(settings or ())
    model = models.opened(model_dir, directory, trust_code)
    if confusion is not None and len(model.class_names) > MOST_OF_MATRIX:
        raise AutosdError(
            f"--confusion: {len(model.class_names):,} classes would take "
            f"{2 * len(model.class_names) ** 2 / 1e9:.1f} GB; at most {MOST_OF_MATRIX:,} are "
            "written, and --json has the most frequent confusions of any number"
        )
    facts = origin(model)
    told = begun(side())
    chosen = choose(model, facts, part, given=data, sets=sets, root=directory, progress=told)
    done = run(model, chosen, batch_size=batch_size)
    if as_json:
        emit(done.mapping())
    else:
        show(done, people())
    if confusion is not None and done.confusion is not None:
        _write_confusion(done, done.confusion, confusion)
    _remark(done)


def _remark(done: "Evaluated") -> None:
    """Say on standard error what keeps the scores from being those of new images."""
    for warning in done.warnings:
        side().print(f"note: {warning}", markup=False, soft_wrap=True)
    if done.recorded is not None:
        side().print(_recorded(done), markup=False, soft_wrap=True)


def _recorded(done: "Evaluated") -> str:
    so_far = "" if done.readings is None else f" (number {done.readings})"
    return f"this reading of test{so_far} is on record in {near(done.recorded or Path())}"


def show(done: "Evaluated", console: Console) -> None:
    """Print the scores, the classes and what was taken for what."""
    console.print(_scores(done))
    console.print()
    console.print(_classes(done))
    pairs = done.confused(MOST_PAIRS)
    if len(done.class_names) > MOST_CLASSES:
        console.print(f"... the {WORST} least recognised of {len(done.class_names)} classes")
    console.print()
    if not pairs:
        console.print("No image was taken for one of another class.")
    elif done.confusion is not None and len(done.class_names) <= MOST_SQUARE:
        console.print("Images by class (rows) and by what they were taken for (columns)")
        console.print(_square(done, done.confusion))
    else:
        console.print("Most frequent confusions")
        console.print(_pairs(done))


def _scores(done: "Evaluated") -> Table:
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    low, high = done.interval
    values, images = done.metrics, done.images
    made.add_row("model", escape(near(done.folder)))
    made.add_row("data", f"{escape(one_line(done.data))}, {done.part}: {images:,} images")
    made.add_row("", done.split)
    made.add_row(
        "top-1",
        f"[bold]{percent(values['top1'], images)}[/bold] (95 % interval for this many images: "
        f"{percent(low, images).removesuffix(' %')} to {percent(high, images)})",
    )
    if len(done.class_names) > 5:
        made.add_row("top-5", percent(values["top5"], images))
    made.add_row("balanced", f"{percent(values['balanced_accuracy'], images)} (mean over classes)")
    made.add_row("NLL", f"{values['nll']:.3f} nats; Brier {values['brier']:.3f}")
    made.add_row(
        "ECE",
        f"{values['ece']:.3f} in 15 equal bins, {values['ece_equal_mass']:.3f} in bins of as many "
        "images each",
    )
    return made


def _classes(done: "Evaluated") -> Table:
    rows = done.classes()
    if len(rows) > MOST_CLASSES:
        present = [row for row in rows if row["images"]]
        rows = sorted(present, key=lambda row: float(row["recall"]))[:WORST]
    numbers = ("images", "right", "recall")
    made = table("class", *numbers, numbers=numbers)
    for row in rows:
        made.add_row(
            escape(one_line(row["class"])),
            f"{row['images']:,}",
            f"{row['right']:,}",
            percent(row["recall"]),
        )
    return made


def _square(done: "Evaluated", confusion: "Integers") -> Table:
    """The confusion matrix; columns of long names are numbered."""
    names = [escape(one_line(name)) for name in done.class_names]
    columns = names
    if max(map(len, names)) > SHORT:
        columns = [str(k + 1) for k in range(len(names))]
        names = [f"{k + 1} {name}" for k, name in enumerate(names)]
    made = table("class", *columns, numbers=columns)
    for k, name in enumerate(names):
        cells = [
            f"[bold]{count}[/bold]" if j == k else (str(count) if count else "·")
            for j, count in enumerate(confusion[k].tolist())
        ]
        made.add_row(name, *cells)
    return made


def _pairs(done: "Evaluated") -> Table:
    made = table("class", "taken for", "images", "share", numbers=("images", "share"))
    for pair in done.confused(MOST_PAIRS):
        made.add_row(
            escape(one_line(pair["class"])),
            escape(one_line(pair["taken_for"])),
            f"{pair['images']:,}",
            percent(pair["share"]),
        )
    return made


def _write_confusion(done: "Evaluated", confusion: "Integers", path: Path) -> None:
    """Rows are the true classes, columns what was predicted."""
    from autosd.files import write_text
    from autosd.results.plain_text import harmless

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [harmless(name) for name in done.class_names]
    writer.writerow(["class", *names])
    for name, counts in zip(names, confusion.tolist(), strict=True):
        writer.writerow([name, *counts])
    write_text(path, text.getvalue())
    side().print(f"wrote {path}", markup=False, soft_wrap=True)
