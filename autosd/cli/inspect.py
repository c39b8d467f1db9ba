"""`autosd inspect`: what a data set holds, before anything is trained on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd.cli import complete, options
from autosd.cli.console import begun, emit, people, side, table
from autosd.results.numbers import percent
from autosd.results.plain_text import one_line

if TYPE_CHECKING:
    from autosd.results.inspect import Inspected

MOST_CLASSES = 30
MOST_LINES = 10


def inspect(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A known name, npz:PATH, folder:PATH, or the file of a study or recipe.",
            autocompletion=complete.data_or_file,
        ),
    ],
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw some training images of each class."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.KEY=VALUE", help="Such as data.image_size=32."),
    ] = None,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Say what a data set holds: classes, sizes, splits, duplicates, files that cannot be read.

    Looks at every image once and writes nothing but the picture. Of the test part only counts,
    sizes and duplicates are looked at.

    Examples:

    [bold]autosd inspect digits --picture digits.png[/bold]

    [bold]autosd inspect folder:leaves --set data.image_size=48[/bold]
    """
    from autosd.cli.definition import assignments
    from autosd.results import inspect_picture
    from autosd.results.inspect import data_spec
    from autosd.results.inspect import inspect as look

    spec = data_spec(data, directory, assignments(settings or ()))
    if picture is not None:
        inspect_picture.check_name(picture)
    notes = side()
    found = look(spec, progress=begun(notes))
    if picture is not None:
        inspect_picture.save(inspect_picture.draw(found.class_names, found.samples), picture)
        notes.print(f"wrote {picture} (images of train)", markup=False, soft_wrap=True)
    if as_json:
        emit({**found.mapping(), "picture": None if picture is None else str(picture)})
    else:
        show(found, people())


def show(found: "Inspected", console: Console) -> None:
    """Print what was found."""
    console.print(_facts(found))
    console.print()
    console.print(_classes(found))
    if len(found.class_names) > MOST_CLASSES:
        console.print(f"... and {len(found.class_names) - MOST_CLASSES} more; --json has all")
    console.print()
    _duplicates(found, console)
    _lines(console, "cannot be read", found.unreadable)
    if found.fault:
        console.print("[yellow]No study can be made of it as it is:[/yellow]")
        console.print(found.fault, markup=False, soft_wrap=True)
    console.print("Of test only counts, sizes and duplicates were looked at.")


def _facts(found: "Inspected") -> Table:
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    height, width, channels = found.shape
    parts = ", ".join(f"{part} {sum(sizes):,}" for part, sizes in found.counts.items())
    mean = ", ".join(f"{value:.3f}" for value in found.mean)
    std = ", ".join(f"{value:.3f}" for value in found.std)
    uneven = "-" if found.imbalance is None else f"{found.imbalance:.1f} to 1"
    made.add_row("data", f"[bold]{escape(one_line(found.name))}[/bold]")
    made.add_row("images", f"{sum(map(sum, found.counts.values())):,}: {parts}")
    made.add_row("split", found.split_hash or "none")
    made.add_row("sizes", _sizes(found))
    made.add_row("trained at", f"{width} x {height}, {channels} channel{'s' * (channels > 1)}")
    made.add_row("grey", f"{percent(found.grey)} of the images outside test")
    made.add_row("mean, sd", f"{mean}; {std} (train, 0 to 1)")
    made.add_row("classes", f"{len(found.class_names)}; largest to smallest in train: {uneven}")
    return made


def _sizes(found: "Inspected") -> str:
    width, height = found.width, found.height
    if width.least == width.most and height.least == height.most:
        return f"all {width.least} x {height.least}"
    return (
        f"width {width.least} to {width.most}, median {width.median}; "
        f"height {height.least} to {height.most}, median {height.median}"
    )


def _classes(found: "Inspected") -> Table:
    made = table("class", *found.counts, numbers=tuple(found.counts))
    for k, name in enumerate(found.class_names[:MOST_CLASSES]):
        made.add_row(escape(one_line(name)), *(f"{sizes[k]:,}" for sizes in found.counts.values()))
    return made


def _duplicates(found: "Inspected", console: Console) -> None:
    twins = found.twins
    if not twins.groups:
        console.print("No two images have the same pixels.")
        return
    within = ", ".join(f"{part} {count:,}" for part, count in twins.within.items() if count)
    console.print(f"Groups of images with the same pixels: {twins.groups:,}")
    if within:
        console.print(f"  repeated within a part: {within}")
    for (first, second), count in twins.between.items():
        if count:
            console.print(f"  of {second} also in {first}: {count:,}")
    if twins.conflicts:
        console.print(f"  [yellow]groups with different labels: {twins.conflicts:,}[/yellow]")
    for twin in twins.examples[:MOST_LINES]:
        said = [
            one_line(f"{one['image']} ({one['part']}, {one['class']})")
            for one in twin.mapping(found.class_names)
        ]
        console.print("    " + " = ".join(said), markup=False, soft_wrap=True)


def _lines(console: Console, what: str, lines: tuple[str, ...]) -> None:
    if not lines:
        return
    console.print(f"[yellow]{len(lines):,} {what}:[/yellow]")
    for line in lines[:MOST_LINES]:
        console.print(f"  {one_line(line)}", markup=False, soft_wrap=True)
    if len(lines) > MOST_LINES:
        console.print(f"  ... and {len(lines) - MOST_LINES:,} more; --json has all")
