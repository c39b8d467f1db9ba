"""Resuming with knobs beside the defaults, whose state is moved in other places."""

from pathlib import Path

from .conformance import assert_same_run, recipe_for, trained, trainer_for


def test_a_teacher_that_is_a_moving_average_resumes_as_uninterrupted(tmp_path: Path):
    knobs = {"teacher": "ema", "ema_momentum": 0.9}
    recipe, file = recipe_for("rskd", knobs), tmp_path / "last.pt"
    first = trainer_for(recipe, checkpoint=file)
    next(first.epochs())
    first.save()
    resumed = trainer_for(recipe, checkpoint=file)
    list(resumed.epochs())
    assert_same_run(resumed, trained(recipe))
    assert resumed.history[1]["terms"]["rskd/kd"] > 0
