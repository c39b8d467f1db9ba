"""What a comparison shows, in one honest sentence."""

from autosd.results.leaderboard import BASELINE
from autosd.results.statistics import Difference, verdict


def amount(value: float, objective: str) -> str:
    """A difference with its sign: percentage points for accuracies, nats for a loss."""
    return f"{value:+.3f} nats" if objective == "nll" else f"{100 * value:+.1f} points"


def interval(difference: Difference, objective: str) -> str:
    """`-0.8 to +1.6`, in the unit of `amount`."""
    if difference.low is None or difference.high is None:
        return "none"
    scale, digits = (1.0, 3) if objective == "nll" else (100.0, 1)
    return f"{scale * difference.low:+.{digits}f} to {scale * difference.high:+.{digits}f}"


def against(difference: Difference, objective: str) -> str:
    """A difference and its interval without a unit: `+0.9 (-2.3 to +4.1)`."""
    mean = amount(difference.mean, objective).split()[0]
    return f"{mean} ({interval(difference, objective)})" if difference.smallest else mean


def sentence(
    label: str, difference: Difference | None, objective: str, than: str = "cross-entropy"
) -> str:
    """What is known of a recipe against another one."""
    if label == BASELINE:
        return (
            "Plain cross-entropy won: no strategy that was tried did better on images that "
            "the search had not seen."
        )
    if difference is None:
        return f"{label} could not be compared with {than}."
    shown = verdict(difference, higher_is_better=objective != "nll")
    mean = amount(difference.mean, objective)
    if difference.smallest is None:
        return f"No difference to {than} shown: {label} {mean}, but {difference.why}."
    facts = f"{mean}, 95 % interval {interval(difference, objective)}, {difference.n} paired seeds"
    if shown != "no difference shown":
        return f"{label} is {shown} than {than}: {facts}."
    least = amount(difference.smallest, objective).removeprefix("+")
    return (
        f"No difference to {than} shown: {label} {facts}; "
        f"with this spread a difference below {least} cannot be told from chance."
    )
