"""`autosd compare`: strategies side by side, with what they cost and how sure it is."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autosd.cli import complete, options
from autosd.cli.console import emit, near, people, side, table
from autosd.cli.log import study_log
from autosd.errors import AutosdError, WorkFailed
from autosd.results.numbers import duration, mean_and_sd

if TYPE_CHECKING:
    from autosd.results.compare import Compared
    from autosd.results.compare_table import Row

MEGA = 1e6
LEAST = "least: the smallest difference that so many seeds could have shown with this spread."


class Budget(StrEnum):
    """What all recipes have in common."""

    EPOCHS = "epochs"
    COMPUTE = "compute"


StudyFile = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY.yaml]",
        help="A study under --dir, a study file, or a name of `autosd list studies`.",
        autocompletion=complete.definition,
    ),
]
Strategies = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...",
        help="Strategies, families of a space, or recipe files; default: every strategy.",
        autocompletion=complete.strategies,
    ),
]
Equal = Annotated[
    Budget | None,
    typer.Option(help="Equal epochs, or equal image passes: what costs twice trains half."),
]
Test = Annotated[
    bool, typer.Option("--test", help="Score on the test part too, once, and compare there.")
]


def compare(
    study: StudyFile = None,
    strategies: Strategies = None,
    seeds: options.Seeds = 3,
    epochs: options.OtherEpochs = None,
    budget: Equal = None,
    test: Test = False,
    name: options.Name = None,
    data: options.Data = None,
    model: options.Model = None,
    slots: options.RunSlots = None,
    ray_address: options.RayAddress = None,
    checkpoints: options.Checkpoints = None,
    directory: options.Directory = options.RUNS,
    settings: options.Settings = None,
    as_json: options.AsJson = False,
    inline: options.Inline = False,
) -> None:
    """Train strategies at their papers' defaults on paired seeds and compare them with plain CE.

    The recipe is otherwise the study's; no search is needed. The same command goes on where it was
    interrupted. Writes table and page to the study's compare/.

    Examples:

    [bold]autosd compare digits[/bold]

    [bold]autosd compare digits --strategies masd,cutmix,best.yaml --seeds 5 --test[/bold]

    [bold]autosd compare digits --strategies bake,dlb,cutmix --budget compute[/bold]
    """
    from autosd.cli.definition import assignments, refuse_drawn, resolve
    from autosd.search.definition import base_values
    from autosd.search.study import refuse_if_run, study_path

    if study is not None and (Path(study) / "study.yaml").is_file():
        directory, study = Path(study).resolve().parent, Path(study).resolve().name
    values, where = _started(study, data, directory) or base_values(study, data, directory)
    given = {"name": name, "recipe.data.name": data, "recipe.model": model}
    definition, of_space = resolve(values, where, given, assignments(settings or ()))
    refuse_drawn(of_space)
    folder = study_path(directory, definition.name)
    refuse_if_run(folder)
    from autosd.cli.progress import View
    from autosd.results.compare import compare as run

    with study_log(folder), View(side(), definition.objective) as view:
        compared = run(
            definition,
            directory,
            strategies=_names(strategies),
            seeds=seeds,
            epochs=epochs,
            budget=None if budget is None else budget.value,
            test=test,
            slots=slots,
            engine=options.engine(inline, ray_address, checkpoints),
            watch=view,
        )
    if as_json:
        emit(compared.mapping())
    else:
        show(compared, people())
    if compared.failed:
        raise WorkFailed(f"no result from runs of: {', '.join(compared.failed)}; see error.txt")


def _names(text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise AutosdError("--strategies: at least one name is needed, such as masd,cutmix")
    return names


def _started(
    study: str | None, data: str | None, directory: Path
) -> tuple[dict[str, Any], str] | None:
    """The definition of a study that has begun; a comparison belongs to it, not to its file."""
    from autosd.search.definition import DEFAULT_STUDY, begun_values

    if study is None and data is not None:
        return None
    path = directory / (study or DEFAULT_STUDY) / "study.yaml"
    return (begun_values(path), str(path)) if path.is_file() else None


def show(compared: "Compared", console: Console) -> None:
    """Print scores, differences, costs, and what has to be said beside them."""
    for part in compared.images:
        console.print(f"[bold]Scores on {part}[/bold], mean ± sd over seeds")
        console.print(_scores(compared, part))
        console.print()
    console.print(f"[bold]Against cross-entropy[/bold], {compared.metric} on {compared.part}")
    console.print(_differences(compared))
    console.print("\n[bold]Cost[/bold] of a step (plain training: 1), and what a run took")
    console.print(_efforts(compared))
    console.print()
    for line in (LEAST, *compared.remarks):
        console.print(line, markup=False)
    console.print(
        f"page: {near(compared.files['html'])}  ({duration(compared.seconds)})",
        markup=False,
        soft_wrap=True,
    )


def _scores(compared: "Compared", part: str) -> Table:
    made = table("recipe", "n", "top-1", "NLL", "ECE", numbers=("n", "top-1", "NLL", "ECE"))
    for row in compared.rows:
        of = row.scores[part]
        shown = ((of.get("top1"), "top1"), (of.get("nll"), "nll"), (of.get("ece"), "nll"))
        cells = ("-" if one is None else mean_and_sd(one.mean, one.sd, kind) for one, kind in shown)
        made.add_row(escape(row.recipe), _count(row, len(compared.seeds)), *cells)
    return made


def _differences(compared: "Compared") -> Table:
    heads = ("recipe", "to CE (95 % interval)", "p", "verdict", "Holm's", "least")
    made = table(*heads, numbers=("p", "least"))
    for row in compared.rows[1:]:
        made.add_row(escape(row.recipe), *_difference_cells(row, compared.metric))
    return made


def _difference_cells(row: "Row", metric: str) -> list[str]:
    from autosd.results.wording import against, amount

    apart = row.difference
    if apart is None:
        return ["-", "-", row.verdict, row.verdict_holm, "-"]
    least = "-" if apart.smallest is None else amount(apart.smallest, metric).split()[0][1:]
    p = "-" if apart.p is None else f"{apart.p:.3f}"
    return [against(apart, metric), p, _short(row.verdict), _short(row.verdict_holm), least]


def _count(row: "Row", planned: int) -> str:
    return str(row.n) if row.n == planned else f"{row.n} of {planned}"


def _short(verdict: str) -> str:
    return "none shown" if verdict == "no difference shown" else verdict


def _efforts(compared: "Compared") -> Table:
    numbers = ("epochs", "declared", "measured", "images", "forwards", "seconds", "state MB")
    made = table("recipe", *numbers, numbers=numbers)
    for row in compared.rows:
        effort = row.effort
        if effort.declared is None or effort.memory is None or effort.seconds is None:
            made.add_row(escape(row.recipe), *["-"] * len(numbers))
            continue
        made.add_row(
            escape(row.recipe),
            str(effort.epochs),
            f"{effort.declared['step']:.2f}",
            "-" if effort.measured is None else f"{effort.measured:.2f}",
            f"{effort.images:,}",
            f"{effort.forwards:,}",
            f"{effort.seconds:.1f}",
            f"{sum(effort.memory.values()) / MEGA:.2f}",
        )
    return made
