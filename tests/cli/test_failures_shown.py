"""How `autosd status` shows what failed."""

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console

from autosd.cli.studies import MOST_RETRIED, _show_failure, _show_retried


def failure(trial: int, kind: str, reason: str) -> dict[str, Any]:
    return {"trial": trial, "kind": kind, "reason": reason, "file": None}


def shown(show: Callable[..., None], *what: Any) -> list[str]:
    written = io.StringIO()
    show(*what, Console(file=written, width=300))
    return written.getvalue().splitlines()


def test_of_hundreds_of_attempts_the_last_are_listed_and_the_others_counted():
    kinds = ["node"] * 200 + ["worker"] * 3 + ["hung"] * MOST_RETRIED
    retried = [failure(number, kind, f"because of {kind}") for number, kind in enumerate(kinds)]
    lines = shown(_show_retried, retried)
    assert lines[0] == "trial 203 failed and was tried again: because of hung"
    assert lines[MOST_RETRIED:] == ["before them, failed and tried again: 200 node, 3 worker"]
    assert len(shown(_show_retried, retried[:MOST_RETRIED])) == MOST_RETRIED


def test_a_trial_that_diverged_says_so_once():
    diverged = failure(0, "diverged", "diverged at epoch 1: supervised")
    assert shown(_show_failure, diverged, "diverged") == [
        "trial 0 diverged: at epoch 1: supervised"
    ]
