"""The study's note on the dashboard: what it is about and what it found."""

from collections.abc import Sequence

from autosd.results.outcome import Comparison
from autosd.search.study import StudyFolder, close


def write_note(folder: StudyFolder, verdict: str, compared: Sequence[Comparison]) -> None:
    """Write the note; to be called with the study's lock held, as it writes to the storage."""
    import optuna_dashboard

    study = folder.load(read_only=False)
    try:
        optuna_dashboard.save_note(study, note(folder, verdict, compared))
    finally:
        close(study)


def note(folder: StudyFolder, verdict: str, compared: Sequence[Comparison]) -> str:
    """The note as Markdown."""
    definition = folder.definition
    recipe = definition.recipe
    lines = [
        f"# {folder.name}",
        f"{recipe.model.name} on {recipe.data.name}, {recipe.epochs} epochs a trial; objective "
        f"{definition.objective} on `val`. Families: {', '.join(folder.space.families)}.",
    ]
    if compared:
        lines += ["## Finalists on `select` (fresh seeds)", _table(compared), verdict]
    return "\n\n".join(line for line in lines if line)


def _table(compared: Sequence[Comparison]) -> str:
    rows = ["| recipe | mean | sd | seeds |", "|---|---|---|---|"]
    for row in compared:
        one = row.finalist
        sd = "-" if one.sd is None else f"{one.sd:.4f}"
        rows.append(f"| {one.label} | {one.mean:.4f} | {sd} | {one.n} |")
    return "\n".join(rows)
