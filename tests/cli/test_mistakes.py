"""Every mistake of a user: exit code 2, one clear message, nothing written."""

from pathlib import Path

import numpy as np
import pytest

from autosd.recipe import StudyDefinition
from autosd.search.ready import check
from autosd.search.run import run_search


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A finished study without finalists."""
    values = {
        "name": "tiny",
        "recipe": {"data": "digits", "model": "resnet8", "epochs": 1, "batch_size": 64},
        "space": "label_smoothing",
        "trials": 2,
        "finalists": {"count": 0, "seeds": 1},
    }
    ready = check(StudyDefinition.parse(values))
    return run_search(ready, tmp_path / "runs", engine="inline").folder.path


MISTAKES = {
    "strategy": (["search", "--space", "SPACE", "masdd:"], "masdd", "masd"),
    "knob": (["search", "--space", "SPACE", "masd: {mask_ratoi: 0.1}"], "mask_ratoi", "mask_ratio"),
    "knob in --set": (["search", "--set", "masd.mask_ratoi=0.1"], "mask_ratoi", "mask_ratio"),
    "range turned round": (
        ["search", "--space", "SPACE", "masd: {mask_ratio: {uniform: [0.7, 0.1]}}"],
        "masd.mask_ratio",
        "0.7",
    ),
    "range beyond what is valid": (
        ["search", "--space", "SPACE", "masd: {mask_ratio: {uniform: [0.1, 3]}}"],
        "masd.mask_ratio",
        "3.0",
    ),
    "kind of range": (
        ["search", "--space", "SPACE", "masd: {mask_ratio: {unifrom: [0.1, 0.3]}}"],
        "masd.mask_ratio",
        "uniform",
    ),
    "value out of range": (["search", "--set", "masd.mask_ratio=7"], "masd.mask_ratio", "7"),
    "data set": (["search", "--data", "digitz"], "digitz", "digits"),
    "model": (["search", "--model", "resnett8"], "resnett8", "resnet8"),
    "path of a study": (["search", "nothing.yaml"], "nothing.yaml", "no such"),
    "path of a space": (["search", "--space", "nothing.yaml"], "nothing.yaml", "no such"),
    "path of arrays": (["search", "--data", "npz:nothing.npz"], "nothing.npz", "no such"),
    "path of a folder": (["search", "--data", "folder:nothing"], "nothing", "no such"),
    "path of a recipe": (["train", "nothing.yaml"], "nothing.yaml", "no such"),
    "name of a study": (["search", "digitss"], "digitss", "digits"),
    "study that is not there": (["status", "nothing"], "nothing", "runs"),
    "best of no study": (["best", "nothing"], "nothing", "runs"),
    "retrain of no study": (["retrain", "nothing"], "nothing", "runs"),
    "dashboard of no study": (["dashboard", "nothing"], "nothing", "runs"),
    "whole number": (["search", "--trials", "many"], "--trials", "integer"),
    "number too small": (["search", "--trials", "0"], "--trials", "1"),
    "epochs too small": (["search", "--epochs", "0"], "epochs", "1"),
    "negative slots": (["search", "--slots", "-1"], "--slots", "1"),
    "too many GPUs": (["search", "--gpus-per-trial", "999"], "999", "GPUs"),
    "GPUs without Ray": (["search", "--inline", "--gpus-per-trial", "999"], "999", "GPUs"),
    "GPUs of a comparison": (
        ["compare", "digits", "--set", "per_trial.gpus=999", "--strategies", "dlb"],
        "999",
        "GPUs",
    ),
    "sampler": (["search", "--sampler", "tpee"], "tpee", "tpe"),
    "pruner": (["search", "--pruner", "famly"], "famly", "family"),
    "time": (["search", "--time-budget", "soon"], "--time-budget", "30m"),
    "name with a blank": (["search", "--name", "My Study"], "--name", "lower-case"),
    "name out of the folder": (["search", "--name", "../up"], "--name", "lower-case"),
    "storage": (["search", "--storage", "oracle://host/db"], "oracle", "postgresql"),
    "setting without a value": (["search", "--set", "batch_size"], "--set", "key=value"),
    "setting that is not there": (["search", "--set", "optimizer.lrr=1"], "lrr", "lr"),
    "setting of a wrong kind": (["search", "--set", "batch_size=big"], "batch_size", "integer"),
    "key of a study": (["search", "STUDY", "trails: 3"], "trails", "trials"),
    "key of a recipe": (["search", "STUDY", "recipe: {epoch: 3}"], "epoch", "epochs"),
    "exclusive strategies in a space": (
        ["search", "--space", "SPACE", "both: {members: [masd, rskd]}"],
        "masd",
        "exclude",
    ),
    "exclusive strategies in a recipe": (["train", "RECIPE", "[masd, drg]"], "masd", "exclude"),
    "strategy of a recipe": (["train", "RECIPE", "[masdd]"], "masdd", "masd"),
    "knob of a recipe": (["train", "RECIPE", "[{masd: {mask_ratoi: 1}}]"], "ratoi", "mask_ratio"),
    "command": (["serch"], "serch", "search"),
    "option": (["search", "--trails", "3"], "--trails", "--trials"),
    "kind of list": (["list", "strategy"], "strategy", "strategies"),
}


def written(words: list[str], folder: Path) -> list[str]:
    """The words with the file that they speak of, made from the text that follows it."""
    texts = {
        "SPACE": "strategies:\n  cross_entropy:\n  {}\n",
        "STUDY": "name: mine\nspace: seeds\n{}\nrecipe: {{data: digits}}\n",
        "RECIPE": "data: digits\nstrategies: {}\n",
    }
    for kind, text in texts.items():
        if kind in words:
            at = words.index(kind)
            if "recipe:" in words[at + 1]:
                text = "name: mine\n{}\n"
            path = folder / f"{kind.lower()}.yaml"
            path.write_text(text.format(words[at + 1]))
            return [*words[:at], str(path), *words[at + 2 :]]
    return words


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_and_nothing_is_written(invoke, here, tmp_path, mistake):
    words, given, allowed = MISTAKES[mistake]
    result = invoke(*written(words, tmp_path))
    assert result.exit_code == 2, result.output
    assert given in result.stderr
    assert allowed in result.stderr
    assert all(line.startswith("error: ") for line in result.stderr.splitlines()), result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert files(here) == []


def test_a_file_is_no_folder_of_studies(invoke, here):
    (here / "runs").write_text("")
    result = invoke("search")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert "--dir" in result.stderr
    assert "is a file" in result.stderr


def test_a_folder_of_studies_below_a_file_is_named(invoke, here):
    (here / "file").write_text("")
    result = invoke("search", "--inline", "--dir", "file/runs")
    assert result.exit_code == 2, result.output
    assert "file/runs" in result.stderr.splitlines()[-1]
    assert files(here) == ["file"]


@pytest.mark.parametrize("place", ["folder", "file/best.yaml"])
def test_a_recipe_that_cannot_be_written_is_named(invoke, here, study, place):
    (here / "folder").mkdir()
    (here / "file").write_text("")
    result = invoke("best", study, "--yaml", place)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"error: {place}: cannot be written (")
    assert len(result.stderr.splitlines()) == 1
    assert files(here / "folder") == []


def test_status_of_a_study_whose_lock_cannot_be_written_says_so(invoke, study):
    (study / ".lock").unlink(missing_ok=True)
    (study / ".lock").mkdir()
    result = invoke("status", study)
    assert result.exit_code == 0, result.output
    assert "2 of 2: 2 complete" in result.stdout
    assert "not known who runs it" in " ".join(result.stdout.split())


def test_all_faults_of_a_file_come_together(invoke, here, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        "strategies:\n  masd: {mask_ratoi: 1, temperature: {uniform: [5, 1]}}\n  toasd:\n"
    )
    result = invoke("search", "--space", path)
    assert result.exit_code == 2
    assert all(fault in result.stderr for fault in ("mask_ratoi", "masd.temperature", "toasd"))
    assert files(here) == []


LABELS = {
    "one class": ([0] * 60, None),
    "an empty class": ([0, 2] * 40, None),
    "an empty named class": ([0, 1] * 40, ["a", "b", "c"]),
    "labels beyond the names": ([0, 1, 2] * 30, ["a", "b"]),
    "negative labels": ([0, 1, -1] * 30, None),
    "too few of a class": ([0, 1, 0, 1], None),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_cannot_be_learnt_are_refused(invoke, here, tmp_path, case):
    labels, names = LABELS[case]
    arrays = {
        "train_images": np.zeros((len(labels), 8, 8), np.uint8),
        "train_labels": np.array(labels),
    }
    if names:
        arrays["label_names"] = np.array(names)
    np.savez(tmp_path / "bad.npz", **arrays)
    result = invoke("search", "--data", f"npz:{tmp_path / 'bad.npz'}", "--model", "resnet8")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1
    assert files(here) == []


def test_fewer_images_than_a_batch_work(invoke, here, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "few.npz", train_images=images, train_labels=np.arange(40) % 2)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: npz:{tmp_path / 'few.npz'}\nmodel: resnet8\nepochs: 1\n")
    result = invoke("train", recipe, "--out", here / "out", "--cpus", "1")
    assert result.exit_code == 0, result.output
    assert (here / "out" / "model.safetensors").is_file()


def test_what_a_sampler_cannot_do_is_said_where_it_is_chosen(invoke, here):
    few = ["search", "--sampler", "random", "--trials", "1", "--epochs", "1", "--inline"]
    result = invoke(*few, "--space", "label_smoothing", "--set", "finalists.count=0")
    assert result.exit_code == 0, result.output
    assert "note: random learns nothing from finished trials" in result.stderr
