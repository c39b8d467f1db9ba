"""Cross-entropy: plain training, the baseline every strategy is measured against.

The loss of practically every classifier since the nineties; no paper of its own.

The student learns from the labels and from nothing else. It takes part in every space and every
comparison, and may win. A recipe needs at least one strategy, and this one does nothing.

    L = CE(z, y)
"""

from typing import ClassVar

from autosd.strategies.strategy import Strategy


class CrossEntropy(Strategy):
    """Nothing beside the student: the trainer's supervised term is all there is."""

    reference: ClassVar[str] = "baseline: cross-entropy with the hard labels"

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs()
