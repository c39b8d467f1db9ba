"""The card of an ensemble: what it is made of, what it is worth, what it costs."""

from collections.abc import Iterator

from autosd.results.ensembled import DistilledRow, Ensembled, Kind
from autosd.results.numbers import mean_and_sd, metric, percent
from autosd.results.wording import against

KINDS = {
    "single": "best student alone",
    "soup": "mean of weights of last epochs",
    "uniform": "best few, equal weights",
    "greedy": "greedy forward selection",
}
PARTS = {"val": "val (guided the search)", "select": "select (chosen on it)", "test": "test"}


def text(made: Ensembled, study: str) -> str:
    """The card as Markdown."""
    parts = [
        f"# Ensemble of the study {study}",
        "\n".join(made.remarks),
        "## Use",
        '```python\nimport autosd\n\nmodel = autosd.load("FOLDER")  # this folder\n'
        "log_probabilities = model(model.preprocess(image)[None])\n```",
        f"Each image passes {made.forwards} network{'' if made.forwards == 1 else 's'}, "
        f"{made.relative_cost:.2g} times the arithmetic of the best member. The output is the "
        "logarithm of the weighted mean of the members' probabilities and serves as logits.",
        "## Members",
        "\n".join(_members(made)),
        "## Scores",
        "\n".join(_scores(made)),
        f"## How it was chosen (by {made.metric}, {made.folds} folds of select)",
        "\n".join(_kinds(made)),
        *_distilled(made),
    ]
    return "\n\n".join(parts) + "\n"


def best_of_each(made: Ensembled) -> list[Kind]:
    """One row of each kind: the chosen one, or the best on held-out folds."""
    found: dict[str, Kind] = {}
    for kind in made.kinds:
        known = found.get(kind.kind)
        if known is None or kind.chosen or (not known.chosen and _better(kind, known, made.metric)):
            found[kind.kind] = kind
    return list(found.values())


def _better(one: Kind, other: Kind, name: str) -> bool:
    if one.held_out is None or other.held_out is None:
        return False
    gap = one.held_out[name] - other.held_out[name]
    return gap < 0 if name == "nll" else gap > 0


def _members(made: Ensembled) -> Iterator[str]:
    yield "| student | strategies | from | weight |"
    yield "|---|---|---|---|"
    for one in made.members:
        yield f"| {one.name} | {', '.join(one.strategies)} | {one.origin} | {one.weight:.3f} |"


def _scores(made: Ensembled) -> Iterator[str]:
    yield "| part | images | ensemble top-1 | best member | ensemble NLL | best member |"
    yield "|---|---|---|---|---|---|"
    own, other = made.scores["ensemble"], made.scores["best_member"]
    for part, images in made.images.items():
        top1 = " | ".join(percent(each[part]["top1"], images) for each in (own, other))
        nll = " | ".join(metric(each[part]["nll"], "nll") for each in (own, other))
        yield f"| {PARTS[part]} | {images:,} | {top1} | {nll} |"


def _kinds(made: Ensembled) -> Iterator[str]:
    yield "| kind | members | held-out top-1 | held-out NLL | fitted NLL | |"
    yield "|---|---|---|---|---|---|"
    for kind in best_of_each(made):
        if kind.held_out is None or kind.fitted is None:
            yield f"| {KINDS[kind.kind]} | | | | | {kind.note} |"
            continue
        yield (
            f"| {KINDS[kind.kind]} | {kind.members} | "
            f"{percent(kind.held_out['top1'], made.images['select'])} | "
            f"{metric(kind.held_out['nll'], 'nll')} | {metric(kind.fitted['nll'], 'nll')} | "
            f"{'chosen' if kind.chosen else ''} |"
        )


def _distilled(made: Ensembled) -> Iterator[str]:
    if made.distilled is None:
        return
    yield "## Distilled into one student"
    lines = [
        "| recipe | role | seeds | test top-1 | NLL | to the winner (95 % interval) | verdict |",
        "|---|---|---|---|---|---|---|",
        *(_row(row, made.distilled.images) for row in made.distilled.rows),
    ]
    yield "\n".join(lines)
    yield "\n".join(made.distilled.remarks)


def _row(row: DistilledRow, images: int) -> str:
    top1 = mean_and_sd(row.top1.mean, row.top1.sd, "top1", images)
    nll = mean_and_sd(row.nll.mean, row.nll.sd, "nll")
    shown = "" if row.to_winner is None else against(row.to_winner, "top1")
    return (
        f"| {row.recipe} | {row.role} | {row.top1.n} | {top1} | {nll} | {shown} | {row.verdict} |"
    )
