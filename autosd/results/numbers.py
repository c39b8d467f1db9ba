"""Numbers as people read them: percent with no more digits than the data can carry."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autosd.results.outcome import Score

FINE = 10_000
NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "nll": "NLL",
    "ece": "ECE",
    "balanced_accuracy": "balanced accuracy",
}
"""What people call the metrics."""


def percent(value: float | None, images: int | None = None) -> str:
    """`0.87654` as `87.7 %`; a second decimal only where one image weighs 0.01 points or less."""
    if value is None:
        return "-"
    return f"{100 * value:.{2 if images is not None and images >= FINE else 1}f} %"


def metric(value: float | None, objective: str, images: int | None = None) -> str:
    """A value of the objective: percent for accuracies, three decimals for a loss."""
    if value is None:
        return "-"
    return f"{value:.3f}" if objective == "nll" else percent(value, images)


def mean_and_sd(mean: float, sd: float | None, objective: str, images: int | None = None) -> str:
    """A mean and its spread in one unit: `87.2 ± 0.4 %`, or `0.421 ± 0.013`."""
    if sd is None:
        return metric(mean, objective, images)
    if objective == "nll":
        return f"{mean:.3f} ± {sd:.3f}"
    value, spread = percent(mean, images), percent(sd, images)
    return f"{value.removesuffix(' %')} ± {spread}"


def score(shown: "Score") -> str:
    """A mean with its spread: `87.2 ± 0.4 % (3 seeds)`; other metrics than top-1 are named."""
    text = mean_and_sd(shown.value, shown.sd, shown.objective, shown.images)
    return f"{text}{unless_top1(shown.objective)} ({shown.n} seed{'' if shown.n == 1 else 's'})"


def unless_top1(objective: str) -> str:
    """` balanced accuracy` or ` NLL` behind a number; nothing for top-1, which goes unsaid."""
    return "" if objective == "top1" else f" {NAMES[objective]}"


def duration(seconds: float | None) -> str:
    """`75` as `1 min 15 s`."""
    if seconds is None:
        return "-"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
