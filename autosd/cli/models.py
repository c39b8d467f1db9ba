"""What the commands that use a trained model share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autosd.cli import complete, options

if TYPE_CHECKING:
    from autosd.results.model import Model

Folder = Annotated[
    str,
    typer.Argument(
        metavar="MODEL_DIR",
        help="Folder of a student or an ensemble; for a study its best/ is taken.",
        autocompletion=complete.study,
    ),
]
TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", help="Run a network's own Python file; only if you trust it."),
]
Directory = options.Directory


def opened(given: str, root: Path, trust_code: bool) -> "Model":
    """The model that was named.

    Raises:
        AutosdError: none, or files that are not what they say.
    """
    from autosd.errors import AutosdError
    from autosd.results.model import open_model

    try:
        return open_model(given, root, trust_code=trust_code)
    except AutosdError as error:
        raise AutosdError(str(error).replace("trust_code=True", "--trust-code")) from None
