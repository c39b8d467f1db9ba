from autosd.results.statistics import paired_difference
from autosd.results.wording import against, sentence

BASE = [0.80, 0.81, 0.82]


def test_cross_entropy_may_win_and_it_is_said():
    text = sentence("cross_entropy", paired_difference(BASE, BASE), "top1")
    assert text.startswith("Plain cross-entropy won")


def test_a_shown_difference_comes_with_interval_and_seeds():
    text = sentence("masd-0003", paired_difference([0.90, 0.92, 0.92], BASE), "top1")
    assert text.startswith("masd-0003 is better than cross-entropy: +10.3 points, 95 % interval")
    assert "3 paired seeds" in text


def test_an_unshown_difference_is_not_called_a_gain():
    text = sentence("masd-0003", paired_difference([0.80, 0.83, 0.81], BASE), "top1")
    assert text.startswith("No difference to cross-entropy shown")
    assert "better" not in text
    assert "3.8 points cannot be told from chance" in text


def test_one_seed_shows_nothing():
    text = sentence("masd-0003", paired_difference([0.9], [0.8]), "top1")
    assert "No difference to cross-entropy shown" in text
    assert "one seed gives no interval" in text


def test_a_smaller_loss_is_better():
    text = sentence("masd", paired_difference([0.50, 0.51, 0.49], [0.70, 0.72, 0.71]), "nll")
    assert "masd is better" in text
    assert "nats" in text


def test_short_form():
    assert against(paired_difference([0.80, 0.83, 0.81], BASE), "top1") == "+0.3 (-3.5 to +4.1)"
    assert against(paired_difference([0.9], [0.8]), "top1") == "+10.0"
