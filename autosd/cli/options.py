"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autosd.cli import complete

if TYPE_CHECKING:
    from autosd.search.engines import EngineChoice

Study = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="Name of a study under --dir, or its folder.",
        autocompletion=complete.study,
    ),
]
Directory = Annotated[
    Path,
    typer.Option("--dir", metavar="DIR", file_okay=False, help="Folder that holds the studies."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on stderr.")
]
RUNS = Path("runs")


def engine(inline: bool, ray_address: str | None, checkpoints: str | None) -> "EngineChoice":
    """The engine that options ask for.

    Raises:
        AutosdError: they do not go together.
    """
    from autosd.search.cluster import chosen

    cluster = chosen(ray_address, checkpoints)
    if cluster is not None:
        return cluster
    return "inline" if inline else "ray"


# Those of `search`; None means that the study file decides.

StudyFile = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY.yaml]",
        help="A study file, or a name of `autosd list studies`.",
        autocompletion=complete.definition,
    ),
]
Name = Annotated[str | None, typer.Option(help="Name of the study and its folder.")]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="A known name, npz:PATH or folder:PATH.",
        autocompletion=complete.data,
    ),
]
Model = Annotated[str | None, typer.Option(metavar="MODEL", help="A known name, or of timm.")]
Space = Annotated[
    str | None,
    typer.Option(
        metavar="SPACE", help="A space by name, or its file.", autocompletion=complete.space
    ),
]
Trials = Annotated[int | None, typer.Option(help="Trials in all, not more of them.")]
Epochs = Annotated[int | None, typer.Option(help="Epochs of a trial.")]
TimeBudget = Annotated[
    str | None, typer.Option(metavar="TIME", help="No new trial after it: 90s, 30m, 2h.")
]
Patience = Annotated[
    int | None, typer.Option(help="End after so many trials that did not improve the best.")
]
Sampler = Annotated[
    str | None,
    typer.Option(
        help="Who proposes trials; see `autosd list samplers`.", autocompletion=complete.sampler
    ),
]
Pruner = Annotated[
    str | None,
    typer.Option(
        help="Who stops trials early; see `autosd list pruners`.", autocompletion=complete.pruner
    ),
]
Slots = Annotated[int | None, typer.Option(help="Trials at the same time.")]
Cpus = Annotated[int | None, typer.Option(help="Cores of each trial.")]
Gpus = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE",
        help="GPUs of each trial: 0.5 lets two share one, auto as many as its memory holds.",
    ),
]
Storage = Annotated[
    str | None, typer.Option(metavar="URL", help="A database server; default: the folder.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of the sampler and of every trial.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; may be repeated."),
]
Fork = Annotated[
    str | None,
    typer.Option(
        metavar="NEW",
        help="Begin the study NEW with the finished trials of this one that fit what is asked for.",
    ),
]
AcceptCode = Annotated[
    bool,
    typer.Option(
        "--accept-code",
        help="Go on with other code than the study began with; it is recorded.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and how long it takes.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Join this Ray cluster; auto: the one of this machine."),
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="On a cluster: a folder that all nodes see, or s3://...; default: the study's.",
    ),
]
Inline = Annotated[bool, typer.Option("--inline", hidden=True)]

# Those of commands that train a list of recipes.

Seeds = Annotated[int, typer.Option(min=1, max=1000, help="Paired seeds of each recipe.")]
OtherEpochs = Annotated[
    int | None,
    typer.Option(min=1, max=100_000, help="Other number of epochs than the study's."),
]
RunSlots = Annotated[
    int | None, typer.Option(min=1, help="Runs at the same time; default: one per core.")
]
