"""Cross-entropy: plain training, the baseline every strategy is measured against."""

from typing import ClassVar

from autosd.strategies.strategy import Strategy


class CrossEntropy(Strategy):
    """Nothing beside the student: the trainer's supervised term is all there is."""

    reference: ClassVar[str] = "baseline: cross-entropy with the hard labels"

    @classmethod
    def neutral(cls) -> Strategy.Knobs:
        return cls.Knobs()
