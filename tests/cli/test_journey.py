"""The way of a user through the real command line, once, on real data with Ray."""

import http.client
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import autosd as package

FINALISTS = ["--set", "finalists.count=2", "--set", "finalists.seeds=2"]
SEARCH = ["search", "--epochs", "2", "--trials", "8", "--space", "label_smoothing", *FINALISTS]


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder, with files of the user's that have names of modules in use."""
    folder = tmp_path_factory.mktemp("journey")
    for name in ("random.py", "torch.py", "autosd.py"):
        (folder / name).write_text("raise RuntimeError('a file of the user was imported')\n")
    return folder


def run(command: list[str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*command, *words], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


def answer(address: tuple[str, int], method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.fixture(autouse=True)
def searched(journey: Path, command: list[str]) -> None:
    if not (journey / "runs").exists():
        done = run(command, journey, *SEARCH)
        (journey / "shown.txt").write_text(done.stdout)
        (journey / "progress.txt").write_text(done.stderr)


@pytest.mark.ray
def test_search_ends_with_tables_and_the_next_commands(journey):
    shown = (journey / "shown.txt").read_text()
    for part in ("Families", "cross_entropy", "Finalists", "±", "8 trials", "runs/digits/best"):
        assert part in shown
    assert "autosd retrain digits" in shown
    assert "autosd dashboard digits" in shown


@pytest.mark.ray
def test_without_a_terminal_progress_is_plain_lines(journey):
    lines = (journey / "progress.txt").read_text().splitlines()
    assert lines
    assert all(line.startswith(("search ", "finalists ", "note: ")) for line in lines)


@pytest.mark.ray
def test_the_same_command_again_says_complete_without_starting_ray(
    journey, command, assert_documented
):
    done = run(command, journey, *SEARCH, "--json")
    said = json.loads(done.stdout)
    assert_documented("search", said)
    assert "search " not in done.stderr


@pytest.mark.ray
def test_another_definition_is_refused_with_the_difference(journey, command):
    done = subprocess.run(
        [*command, *SEARCH, "--epochs", "3"], capture_output=True, text=True, cwd=journey
    )
    assert done.returncode == 2
    assert "recipe.epochs: 2 there, 3 asked for" in done.stderr


@pytest.mark.ray
def test_status_and_best_as_json(journey, command, assert_documented):
    status = json.loads(run(command, journey, "status", "digits", "--json").stdout)
    assert_documented("status", status)
    assert (status["planned"], status["running"], status["waiting"]) == (8, 0, 0)
    assert 0 < status["utilisation"] <= 1
    best = json.loads(run(command, journey, "best", "digits", "--json").stdout)
    assert_documented("best", best)
    assert best["confirmed"]
    assert best["value"] == status["best"]["value"]


@pytest.mark.ray
def test_the_recipe_of_best_trains_and_reads_test_once(journey, command, assert_documented):
    run(command, journey, "best", "digits", "--yaml", "best.yaml")
    words = ["train", "best.yaml", "--test", "--out", "again", "--cpus", "1", "--json"]
    said = json.loads(run(command, journey, *words).stdout)
    assert_documented("train", said)
    assert "test" in said
    assert said["epochs"] == 2
    readings = json.loads((journey / "again/split.json").read_text())["test_readings"]
    assert len(readings) == 1
    again = json.loads(run(command, journey, *words).stdout)
    assert again == said
    assert json.loads((journey / "again/split.json").read_text())["test_readings"] == readings


@pytest.mark.ray
def test_retrain_writes_best_and_load_predicts_the_same(journey, command, assert_documented):
    said = json.loads(run(command, journey, "retrain", "digits", "--seeds", "2", "--json").stdout)
    assert_documented("retrain", said)
    for row in said["rows"]:
        assert row["verdict"] in ("better", "worse", "no difference shown", "reference")
    student = package.load(said["model_dir"])
    assert len(student.class_names) == 10
    part = package.load_data(package.Recipe.parse({"data": "digits"}).data, with_test=True)
    test = part.part("test")
    images = torch.stack([student.preprocess(test.images[row]) for row in test.rows])
    with torch.no_grad():
        predicted = student(images).argmax(1).numpy()
    kept = np.load(journey / "runs/digits/retrain" / f"{said['rows'][0]['recipe']}-2000/logits.npz")
    assert np.array_equal(predicted, kept["test"].argmax(1))


@pytest.mark.ray
def test_a_copied_study_goes_all_the_way_to_predictions(journey, command, tmp_path):
    """Resumes, retrains without training again, averages, distils, reports, exports, predicts."""
    shutil.copytree(journey / "runs", tmp_path / "runs")
    again = json.loads(run(command, tmp_path, *SEARCH, "--json").stdout)
    assert sum(again["trials"].values()) == 8
    run(command, tmp_path, "retrain", "digits", "--seeds", "2")
    distil = ["ensemble", "digits", "--distill", "--seeds", "2", "--epochs", "2", "--json"]
    said = json.loads(run(command, tmp_path, *distil).stdout)
    assert said["distilled"]["rows"]
    run(command, tmp_path, "report", "digits")
    page = (tmp_path / "runs/digits/report.html").read_text()
    assert str(tmp_path) not in page
    assert "retrained" in page
    run(command, tmp_path, "export", "digits", "--to", "pt2", "--out", "student.pt2")
    Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "grey.png")
    for model in ("digits", "runs/digits/ensemble"):
        told = json.loads(run(command, tmp_path, "predict", model, "grey.png", "--json").stdout)
        assert [image["image"] for image in told["images"]] == ["grey.png"]
    run(command, tmp_path, "verify", "digits")


@pytest.mark.ray
def test_dashboard_shows_the_study_and_lets_nobody_delete_it(journey, command):
    words = [*command, "dashboard", "digits", "--port", "0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=journey)
    assert process.stderr is not None
    port = int(process.stderr.readline().split("/dashboard")[0].rsplit(":", 1)[1])
    address = ("127.0.0.1", port)
    try:
        study = json.loads(answer(address, "GET", "/api/studies")[1])["study_summaries"][0]
        identity = study["study_id"]
        assert answer(address, "DELETE", f"/api/studies/{identity}")[0] == 403
        detail = json.loads(answer(address, "GET", f"/api/studies/{identity}")[1])
        assert {trial["state"] for trial in detail["trials"]} <= {"Complete", "Pruned"}
        names = {parameter["name"] for parameter in detail["union_search_space"]}
        assert names == {"strategy", "label_smoothing.smoothing"}
        assert "Finalists" in detail["note"]["body"]
        assert all(trial["intermediate_values"] for trial in detail["trials"])
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 143
