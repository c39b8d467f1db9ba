"""`autosd ensemble`: the students of a study together, and one student that learns from them."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd.cli import options
from autosd.cli.console import emit, near, people, side, table
from autosd.cli.log import study_log, study_to_drive
from autosd.results.numbers import duration, mean_and_sd, metric, percent

if TYPE_CHECKING:
    from autosd.results.ensemble import Done
    from autosd.results.ensembled import Distilled, Ensembled


TrainMissing = Annotated[
    bool,
    typer.Option(
        "--train-missing",
        help="Let all students take part; train those again that are needed and gone.",
    ),
]
Distill = Annotated[
    bool, typer.Option("--distill", help="Train one student with the ensemble's soft labels.")
]


def ensemble(
    study: options.Study,
    size: Annotated[int, typer.Option(min=1, max=100, help="Most members.")] = 8,
    metric: Annotated[
        Literal["nll", "top1"] | None,
        typer.Option(help="What decides; default: the study's objective, else top1."),
    ] = None,
    train_missing: TrainMissing = False,
    distill: Distill = False,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Of --distill: paired seeds of each recipe.")
    ] = 3,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Of --distill: other number of epochs than the study's."),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.01, max=1000, help="Of --distill: of the soft labels.")
    ] = 4.0,
    weight: Annotated[
        float, typer.Option(min=0.01, max=1, help="Of --distill: share of the soft labels.")
    ] = 0.9,
    slots: options.RunSlots = None,
    ray_address: options.RayAddress = None,
    checkpoints: options.Checkpoints = None,
    directory: options.Directory = options.RUNS,
    as_json: options.AsJson = False,
    inline: options.Inline = False,
) -> None:
    """Average the predictions of a study's best students, and say what that is worth.

    Kind, size and members are chosen on held-out folds of select; test is read once. Writes the
    study's ensemble/, which autosd.load takes as one network.

    Example: [bold]autosd ensemble digits --distill --seeds 3[/bold]
    """
    folder = study_to_drive(study, directory)
    from autosd.cli.progress import View
    from autosd.results.distill import Wish
    from autosd.results.distill import distill as teach
    from autosd.results.ensemble import ensemble as make

    engine = options.engine(inline, ray_address, checkpoints)
    with study_log(folder), View(side()) as view:
        done = make(
            study,
            directory,
            size=size,
            metric=metric,
            train_missing=train_missing,
            slots=slots,
            watch=view,
            engine=engine,
        )
        if distill:
            wish = Wish(seeds, epochs, temperature, weight)
            done = teach(done, wish, slots=slots, watch=view, engine=engine)
    if as_json:
        emit(done.mapping())
        return
    _show(done, people())


def _show(done: "Done", console: Console) -> None:
    made = done.ensemble
    if not done.fresh:
        console.print("The same ensemble is there already; test was not read again.\n")
    console.print(f"[bold]Kinds[/bold] (on select, {made.folds} folds, {made.candidates} students)")
    console.print(_kinds(made))
    console.print("\n[bold]Members[/bold]")
    console.print(_members(made))
    console.print(f"\n[bold]Scores[/bold] (beside the best member, {escape(made.best_member)})")
    console.print(_scores(made))
    console.print(
        f"\nan image passes {made.forwards} network{'' if made.forwards == 1 else 's'}, "
        f"{made.relative_cost:.2g} times the arithmetic of the best member"
    )
    for line in made.remarks:
        console.print(line, markup=False)
    if made.distilled is not None:
        _show_distilled(made.distilled, console)
    console.print(
        f"\nensemble: {near(done.folder)}  ({duration(done.seconds)})", markup=False, soft_wrap=True
    )


def _kinds(made: "Ensembled") -> Table:
    from autosd.results.ensemble_card import KINDS, best_of_each

    numbers = ("members", "held-out top-1", "held-out NLL", "fitted NLL")
    shown = table("kind", *numbers, "", numbers=numbers)
    for kind in best_of_each(made):
        if kind.held_out is None or kind.fitted is None:
            shown.add_row(KINDS[kind.kind], "", "", "", "", kind.note)
            continue
        shown.add_row(
            KINDS[kind.kind],
            str(kind.members),
            percent(kind.held_out["top1"], made.images["select"]),
            metric(kind.held_out["nll"], "nll"),
            metric(kind.fitted["nll"], "nll"),
            "chosen" if kind.chosen else "",
            style="bold" if kind.chosen else None,
        )
    return shown


def _members(made: "Ensembled") -> Table:
    shown = table("student", "strategies", "from", "weight", numbers=("weight",))
    for one in made.members:
        names = escape(", ".join(one.strategies))
        shown.add_row(escape(one.name), names, one.origin, f"{one.weight:.3f}")
    return shown


def _scores(made: "Ensembled") -> Table:
    from autosd.results.ensemble_card import PARTS

    numbers = ("images", "ensemble top-1", "best member", "ensemble NLL", "best member ")
    shown = table("part", *numbers, numbers=numbers)
    own, other = made.scores["ensemble"], made.scores["best_member"]
    for part, images in made.images.items():
        shown.add_row(
            PARTS[part],
            f"{images:,}",
            *(percent(each[part]["top1"], images) for each in (own, other)),
            *(metric(each[part]["nll"], "nll") for each in (own, other)),
        )
    return shown


def _show_distilled(distilled: "Distilled", console: Console) -> None:
    from autosd.results.wording import against

    console.print(
        f"\n[bold]Distilled[/bold] (one student; test, {distilled.images:,} images; temperature "
        f"{distilled.temperature:g}, weight {distilled.weight:g})"
    )
    shown = table("recipe", "seeds", "top-1 ± sd", "NLL ± sd", "to the winner", "verdict")
    for row in distilled.rows:
        shown.add_row(
            escape(row.recipe if row.role == row.recipe else f"{row.recipe}: {row.role}"),
            str(row.top1.n),
            mean_and_sd(row.top1.mean, row.top1.sd, "top1", distilled.images),
            mean_and_sd(row.nll.mean, row.nll.sd, "nll"),
            "" if row.to_winner is None else against(row.to_winner, "top1"),
            row.verdict,
        )
    console.print(shown)
    for line in distilled.remarks:
        console.print(line, markup=False)
