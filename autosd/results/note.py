"""The study's note on the dashboard: what it is about and what it found."""

from collections.abc import Sequence

from autosd.results.card import table
from autosd.results.outcome import Comparison, images
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
        shown = table(compared, definition.objective, images(folder, "select"))
        lines += ["## Finalists on `select` (fresh seeds)", "\n".join(shown), verdict]
    return "\n\n".join(line for line in lines if line)
