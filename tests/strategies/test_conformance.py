"""Every strategy that is found keeps the promises of `conformance.py`."""

import pytest

from autosd.strategies.strategy import discover

from .conformance import Conformance


@pytest.mark.parametrize("name", list(discover()))
class TestEveryStrategy(Conformance):
    """Inherits everything; nothing is said about any single strategy."""
