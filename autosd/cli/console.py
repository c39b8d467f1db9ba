"""Where words for people go and how machines get theirs. Only the command line prints."""

import json
import math
import sys
from typing import Any

from rich.console import Console


def people(as_json: bool = False) -> Console:
    """The console for results: standard output, or standard error when a machine reads along."""
    return Console(stderr=as_json, highlight=False, soft_wrap=False)


def side() -> Console:
    """The console for progress and notes: always standard error."""
    return Console(stderr=True, highlight=False)


def emit(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output; NaN and infinity become null."""
    sys.stdout.write(json.dumps(finite(value), ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def finite(value: Any) -> Any:
    """Plain values with every number that JSON cannot hold replaced by None."""
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
