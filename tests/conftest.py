from collections.abc import Callable
from typing import Any

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def assert_documented() -> Callable[[str, Any], None]:
    """Hold what a command gives with `--json` against `docs/json.md`."""
    from .cli import documented

    return documented.assert_documented
