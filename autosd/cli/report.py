"""`autosd report`: a study, or two of them side by side, as one HTML file to show to others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autosd.cli import options
from autosd.cli.console import emit, near, people, side
from autosd.errors import AutosdError, WorkFailed
from autosd.results.report.pictures import Format

if TYPE_CHECKING:
    from autosd.results.report.write import Written

MEGA = 1e6
MOST = 2


def report(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY [OTHER]", help="A study by name or folder; with another: a comparison."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write; default: STUDY/report.html."),
    ] = None,
    figures: Annotated[
        Format | None,
        typer.Option("--figures", help="Write each figure as a picture too; needs kaleido."),
    ] = None,
    figures_dir: Annotated[
        Path | None,
        typer.Option(
            "--figures-dir", metavar="DIR", help="Folder of the pictures; default: STUDY/figures."
        ),
    ] = None,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
) -> None:
    """Write what a study did and found as one HTML file that needs no network.

    It is made from the study's folder alone, at any time: while the study runs it says so. With
    two studies: what differs between them, and what that did.

    Examples:

    [bold]autosd report digits[/bold]

    [bold]autosd report digits --figures svg --figures-dir paper/figures[/bold]

    [bold]autosd report digits digits-wider --out comparison.html[/bold]
    """
    if len(studies) > MOST:
        raise AutosdError(f"report: one study or two are told, not {len(studies)}")
    if figures_dir is not None and figures is None:
        raise AutosdError("--figures-dir needs --figures png or --figures svg")
    from autosd.results.report.write import write

    written = write(studies, directory, out=out, form=figures, into=figures_dir)
    if as_json:
        emit(_mapping(written))
    else:
        _show(written)
    if written.fault:
        raise WorkFailed(written.fault)


def _mapping(written: "Written") -> dict[str, object]:
    from autosd.results.state import short

    told = [
        {
            "study": story.name,
            "folder": str(story.folder.path),
            "best": None if story.winner is None else short(story.winner),
            "missing": list(story.missing),
        }
        for story in written.stories
    ]
    return {
        "studies": told,
        "sentence": written.sentence,
        "report": str(written.path),
        "bytes": written.bytes,
        "figures": list(written.figures),
        "pictures": [str(path) for path in written.pictures],
    }


def _show(written: "Written") -> None:
    console, notes = people(), side()
    console.print(written.sentence, markup=False, soft_wrap=True)
    for story in written.stories:
        for line in story.missing:
            notes.print(f"{story.name}: {line}", markup=False, soft_wrap=True)
    size = f"{written.bytes / MEGA:.1f} MB"
    console.print(f"report: {near(written.path)}  ({size})", markup=False, soft_wrap=True)
    if written.pictures:
        folder = near(written.pictures[0].parent)
        console.print(
            f"pictures: {len(written.pictures)} in {folder}", markup=False, soft_wrap=True
        )
