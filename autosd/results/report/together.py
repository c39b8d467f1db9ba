"""The ensemble and the student that learnt from it, as tables."""

from autosd.results.ensembled import Distilled, Ensembled, Kind, Scores
from autosd.results.numbers import mean_and_sd, metric, percent
from autosd.results.report.blocks import Block, Items, Row, Section, Table, Text, row
from autosd.results.report.story import Story
from autosd.results.report.tables import difference, verdict
from autosd.results.statistics import Summary
from autosd.results.wording import against

KINDS = {
    "single": "best single student",
    "soup": "soup (mean of weights)",
    "uniform": "uniform mean of predictions",
    "greedy": "greedy selection with replacement",
}
PARTS = ("val", "select", "test")


def section(story: Story, found: Ensembled | None) -> Section:
    """What an ensemble of the study's students is worth, and what of it comes home."""
    title = "Ensemble"
    if found is None:
        ask = "No ensemble was made yet. One that learns from several students:"
        return Section("ensemble", title, [Text(ask, "note", f"autosd ensemble {story.handle}")])
    blocks: list[Block] = [Text(_about(found)), _scores(found)]
    blocks += [Text("How the kind and the size were chosen, on select:"), _kinds(found)]
    blocks += [Text("The members:"), _members(found), Items(found.remarks)]
    blocks += _distilled(story, found.distilled)
    return Section("ensemble", title, blocks)


def _about(found: Ensembled) -> str:
    if found.kind == "single":
        return (
            "On held-out folds of select no ensemble did better than the best single student, so "
            "that one stands here."
        )
    return (
        f"A {KINDS.get(found.kind, found.kind)} of {len(found.members)} of {found.candidates} "
        f"students, chosen by {found.metric} on select. Predicting with it costs "
        f"{found.relative_cost:.1f} times the best single student ({found.forwards} "
        f"network{'' if found.forwards == 1 else 's'} see each image)."
    )


def _scores(found: Ensembled) -> Table:
    names = (("ensemble", "ensemble"), ("best member", "best_member"))
    parts = [part for part in PARTS if part in found.scores.get("ensemble", {})]
    heads = ["", *(f"{part} {of}" for part in parts for of in ("top-1", "NLL"))]
    lines = []
    for shown, key in names:
        cells = [shown]
        for part in parts:
            scores = found.scores[key].get(part, {})
            cells += [
                percent(scores.get("top1"), found.images.get(part)),
                metric(scores.get("nll"), "nll"),
            ]
        lines.append(row(*cells, strong=key == "ensemble"))
    return Table(heads, lines)


def _kinds(found: Ensembled) -> Table:
    heads = ["kind", "at most", "members", "top-1 held out", "NLL held out"]
    heads += ["NLL where fitted", "remark"]
    return Table(heads, [_kind(one) for one in found.kinds], ["remark"])


def _kind(one: Kind) -> Row:
    held, fitted = one.held_out or {}, one.fitted or {}
    return row(
        KINDS.get(one.kind, one.kind),
        str(one.size),
        str(one.members) if one.members else "-",
        _value(held, "top1"),
        _value(held, "nll"),
        _value(fitted, "nll"),
        "chosen" if one.chosen and not one.note else one.note,
        strong=one.chosen,
    )


def _value(scores: Scores, name: str) -> str:
    return metric(scores.get(name), name)


def _members(found: Ensembled) -> Table:
    lines = [
        row(one.label, str(one.seed), percent(one.weight), one.origin) for one in found.members
    ]
    return Table(["recipe", "seed", "weight", "comes from"], lines)


def _distilled(story: Story, found: Distilled | None) -> list[Block]:
    if found is None:
        ask = "Its gain was not brought home to one network yet:"
        return [Text(ask, "note", f"autosd ensemble {story.handle} --distill")]
    about = (
        f"One network that learnt from the ensemble's soft labels (temperature "
        f"{found.temperature:g}, weight {found.weight:g}), beside the plain winner: {found.epochs} "
        f"epochs on all training data, paired seeds, {found.images:,} test images."
    )
    heads = ["recipe", "role", "top-1", "NLL", "to the winner", "95 % interval", "verdict"]
    heads.append("NLL to the winner (95 % interval)")
    lines = [
        row(
            one.recipe,
            one.role,
            _spread(one.top1, "top1", found.images),
            _spread(one.nll, "nll", found.images),
            *difference(one.to_winner, "top1"),
            verdict(one.verdict),
            "-" if one.nll_to_winner is None else against(one.nll_to_winner, "nll"),
            strong=place == 0,
        )
        for place, one in enumerate(found.rows)
    ]
    remarks = [*([found.left_out] if found.left_out else []), *found.remarks]
    return [Text(about), Table(heads, lines), Items(remarks)]


def _spread(one: Summary, name: str, images: int) -> str:
    return mean_and_sd(one.mean, one.sd, name, images)
