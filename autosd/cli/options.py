"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a study under --dir, or its folder.")
]
Directory = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Folder that holds the studies.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on stderr.")
]
RUNS = Path("runs")
