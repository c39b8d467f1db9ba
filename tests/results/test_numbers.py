import pytest

from autosd.cli.console import finite
from autosd.results.numbers import duration, mean_and_sd, metric, percent, score
from autosd.results.outcome import Score


@pytest.mark.parametrize(
    ("value", "images", "text"),
    [
        (0.87654, 500, "87.7 %"),
        (0.87654, None, "87.7 %"),
        (0.87654, 10_000, "87.65 %"),
        (1.0, 297, "100.0 %"),
        (None, 500, "-"),
    ],
)
def test_percent_has_no_more_digits_than_the_images_carry(value, images, text):
    assert percent(value, images) == text


def test_mean_and_spread_share_one_unit():
    assert mean_and_sd(0.8721, 0.0042, "top1", 500) == "87.2 ± 0.4 %"
    assert mean_and_sd(0.4213, 0.0131, "nll") == "0.421 ± 0.013"
    assert mean_and_sd(0.8721, None, "top1") == "87.2 %"


def test_a_score_names_its_metric_unless_it_is_top1():
    assert score(Score(0.8721, 0.0042, 3, "top1")) == "87.2 ± 0.4 % (3 seeds)"
    assert score(Score(0.8721, None, 1, "balanced_accuracy")) == "87.2 % balanced accuracy (1 seed)"
    assert score(Score(0.4213, 0.0131, 2, "nll")) == "0.421 ± 0.013 NLL (2 seeds)"


def test_a_loss_is_no_percentage():
    assert metric(0.42134, "nll") == "0.421"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0 s"), (59, "59 s"), (75, "1 min 15 s"), (7290, "2 h 1 min"), (None, "-")],
)
def test_durations(value, text):
    assert duration(value) == text


def test_json_has_no_nan():
    assert finite({"a": [float("nan"), 1.0, (float("inf"),)]}) == {"a": [None, 1.0, [None]]}
