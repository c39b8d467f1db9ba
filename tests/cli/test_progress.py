import io

import pytest
from rich.console import Console

from autosd.cli.progress import View, picture
from autosd.results.lines import line
from autosd.search.progress import Best, Progress, Running

NOW = Progress(
    stage="search",
    planned=48,
    complete=10,
    pruned=5,
    failed=1,
    waiting=2,
    running=(
        Running("trials/0016", "label_smoothing", 3, 20),
        Running("trials/0017", "masd", 12, 20),
    ),
    best=Best(7, 0.9876, "rskd"),
    seconds=65.0,
    seconds_left=120.0,
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_live_view_shows_everything_at_any_width(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(picture(NOW, "top1"))
    text = console.file.getvalue()
    for part in ("16/48", "10 complete", "5 pruned", "1 failed", "2 waiting", "label_smoothing"):
        assert part in text
    for part in ("epoch 3/20", "epoch 12/20", "98.8 %", "rskd", "trial 7", "about 2 min 0 s left"):
        assert part in text
    assert max(len(row) for row in text.splitlines()) <= width


def test_many_running_trials_are_not_all_shown():
    many = Progress("search", 100, running=tuple(Running(str(k), "masd", 1, 9) for k in range(30)))
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(picture(many, "top1"))
    assert "and 22 more" in console.file.getvalue()


def test_one_line_says_it_all():
    assert line(NOW, "top1") == (
        "search 16/48: 10 complete, 5 pruned, 1 failed; best 98.8 % (rskd); about 2 min 0 s left"
    )


def test_without_a_terminal_there_is_a_line_now_and_then():
    console = Console(file=io.StringIO(), width=200)
    with View(console) as view:
        for _ in range(50):
            view.progress(NOW)
        view.say("the time budget is spent")
    assert len(console.file.getvalue().splitlines()) == 2
