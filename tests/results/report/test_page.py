"""The report as one HTML file: what it says, that it is whole, and that names cannot break it."""

import base64
import datetime
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from autosd.files import write_json
from autosd.recipe import StudyDefinition
from autosd.results import numbers
from autosd.results.ensembled import Distilled, DistilledRow, Ensembled, Gain, Kind, Member
from autosd.results.found import Found
from autosd.results.report.closing import OUR_READINGS
from autosd.results.report.embed import html, tied
from autosd.results.report.figures import FIGURES
from autosd.results.report.opening import again, result, short_data
from autosd.results.report.page import PLACES, drawn, page
from autosd.results.report.story import Story
from autosd.results.report.write import write
from autosd.results.retrained import FILE, Retrained, Row
from autosd.results.state import read
from autosd.results.statistics import Difference, Summary, paired_difference
from autosd.search import ledger
from autosd.search.space import Space
from autosd.search.study import StudyFolder, close
from autosd.strategies.strategy import discover

from .browse import CHROMIUM, Seen, opened, parsed
from .studies import SPACE
from .told import IMAGES, confirm, told

NOW = datetime.datetime(2026, 11, 21, 14, 5)
EVIL = "</script><img src=x onerror=\"document.title='owned'\">"
LIMIT = 6_000_000


def seen(folder: StudyFolder, figures: bool = False) -> Seen:
    story = Story.read(StudyFolder.open(folder.path))
    return parsed(html(page(story, drawn(story) if figures else {}, NOW)))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A confirmed study with pruned trials; not to be changed."""
    return told(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def shown(first: StudyFolder) -> Seen:
    """Its page."""
    return seen(first, figures=True)


@pytest.fixture
def folder(first: StudyFolder, tmp_path: Path) -> StudyFolder:
    """A copy of it."""
    shutil.copytree(first.path, tmp_path / "hand")
    return StudyFolder.open(tmp_path / "hand")


def confirmed(folder: StudyFolder, scores: Mapping[str, Sequence[float]]) -> StudyFolder:
    """The study with these scores in its confirmation, or with none."""
    shutil.rmtree(folder.finalists)
    if scores:
        confirm(folder, scores)
    return folder


def test_the_first_sentence_is_the_result_with_its_interval(shown: Seen) -> None:
    pairs = ([0.85, 0.87, 0.84], [0.80, 0.81, 0.79])
    apart = paired_difference(*pairs)
    assert "masd-default is better than cross-entropy: +5.3 points" in shown.words
    assert f"{100 * apart.low:+.1f} to {100 * apart.high:+.1f}, 3 paired seeds" in shown.words


def test_the_winners_number_is_that_of_status_and_best(found: Found) -> None:
    folder = found.outcome.folder
    won = read("tiny", folder.path.parent).need_winner()
    words = seen(folder).words
    assert numbers.score(won.score) in words
    assert found.verdict in words
    assert result(Story.read(folder)) == found.verdict


def test_the_parts_come_in_the_order_in_which_a_stranger_asks(shown: Seen) -> None:
    ids = [str(one["id"]) for one in shown.named("section")]
    order = "searched families confirmed test progress mattered knobs cost calibration ensemble"
    order += " failures use limits reproduce"
    assert [one for one in ids if one in order.split()] == order.split()
    anchors = [one["href"] for one in shown.named("a")]
    assert anchors == [f"#{one}" for one in ids]


def test_what_was_not_done_yet_is_said_with_its_command(shown: Seen) -> None:
    assert "Not retrained yet: autosd retrain hand --seeds 5" in shown.words
    assert "The test part was never read." in shown.words
    assert "No ensemble was made yet" in shown.words
    assert "autosd ensemble hand" in shown.words


def test_trials_that_were_stopped_are_counted_by_what_stopped_them(shown: Seen) -> None:
    assert "No trial failed or diverged." in shown.words
    assert "stopped by trials hand 4" in shown.words


def test_versions_seeds_commands_and_fingerprints_are_there(shown: Seen) -> None:
    for part in (
        "autosd search hand",
        "1000 to 1002",
        "0123456789abcdef",
        "torch 2.15.0",
        "abc123",
    ):
        assert part in shown.words
    assert "/somewhere/bin" not in shown.words


def test_controls_are_marked(shown: Seen) -> None:
    assert "cutmix control" in shown.words
    assert "cross_entropy control" in shown.words
    assert "masd control" not in shown.words


def test_the_file_is_whole_small_and_reaches_for_nothing(shown: Seen, folder: StudyFolder) -> None:
    written = write(["hand"], folder.path.parent)
    assert written.path == folder.path / "report.html"
    assert written.bytes == written.path.stat().st_size < LIMIT
    assert [one for _, one in shown.tags if "src" in one] == []
    assert [one for one in shown.tags if one[0] in ("link", "iframe", "object", "img")] == []
    assert sum("plotly.js v" in script for script in shown.scripts) == 1


def test_only_the_two_scripts_of_ours_may_run(shown: Seen) -> None:
    (policy,) = [
        one["content"]
        for one in shown.named("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        for script in shown.scripts
    ]
    assert len(hashes) == 2
    assert re.findall(r"'sha256-([^']+)'", str(policy)) == hashes
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")


def test_every_figure_has_its_place_and_says_what_it_shows(shown: Seen) -> None:
    assert set(FIGURES) == set(PLACES)
    figures = [str(one["data-figure"]) for one in shown.named("figure")]
    assert len(figures) >= 6
    assert set(shown.data) == {*figures, "looks"}
    for name in figures:
        said = shown.data[name]["layout"]["meta"]
        assert said["title"] in shown.words
        assert " ".join(said["note"].split()) in shown.words


@pytest.fixture
def evil(folder: StudyFolder) -> StudyFolder:
    """A study whose data set, classes and errors have names that would break a careless page."""
    text = (folder.path / "study.yaml").read_text(encoding="utf-8")
    name = json.dumps(f"npz:{EVIL}.npz")
    (folder.path / "study.yaml").write_text(text.replace("name: digits", f"name: {name}"))
    write_json(folder.path / "best/model.json", {"class_names": [EVIL, "cat & dog"]})
    study = folder.load(read_only=False)
    one, _ = ledger.ask(study, folder.space, folder.definition.recipe)
    ledger.report(study, one, [(1, 0.5)])
    ledger.tell_diverged(study, one, 2, f"RuntimeError: {EVIL}", epochs_run=2)
    close(study)
    return StudyFolder.open(folder.path)


def test_names_and_error_texts_are_shown_and_do_nothing(evil: StudyFolder) -> None:
    page_seen = seen(evil, figures=True)
    assert page_seen.named("img") == []
    assert len(page_seen.scripts) == 2
    assert f"2: {EVIL}, cat & dog" in page_seen.words
    assert f"RuntimeError: {EVIL}" in page_seen.words
    assert f"npz:{EVIL}.npz" in page_seen.words
    drawn_text = json.dumps(page_seen.data)
    assert "&lt;/script&gt;&lt;img" in drawn_text
    assert "<img" not in drawn_text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_chromium_draws_the_figures_and_runs_nothing_else(
    evil: StudyFolder, tmp_path: Path
) -> None:
    written = write(["hand"], evil.path.parent)
    document = opened(written.path, tmp_path / "profile")
    after = parsed(document.partition("<script>")[0])
    assert "<title>owned" not in document
    assert [one for one in after.named("img") if one.get("onerror")] == []
    assert document.count('class="plot js-plotly-plot"') == len(written.figures)


def test_a_password_is_never_shown(folder: StudyFolder) -> None:
    words = ["autosd", "search", "--storage", "postgresql://me:sesame@host/optuna"]
    write_json(folder.path / "environment.json", {"command": words})
    assert "sesame" not in str(seen(folder).text)
    assert "--storage 'postgresql://me:***@host/optuna'" in again(Story.read(folder))


def test_one_seed_has_no_interval_and_says_so(folder: StudyFolder) -> None:
    confirmed(folder, {"cross_entropy": (0.8,), "masd-default": (0.9,)})
    assert "No difference to cross-entropy shown: masd-default +10.0 points, but one seed" in (
        seen(folder).words
    )


def test_a_winning_control_is_called_one(folder: StudyFolder) -> None:
    words = seen(confirmed(folder, {**SWAPPED, "cross_entropy": (0.8, 0.81, 0.79)})).words
    assert "cutmix is a control, not self-distillation." in words
    assert "Of the confirmed recipes that are: No difference to cross-entropy shown" in words


SWAPPED = {"cutmix-default": (0.9, 0.91, 0.9), "masd-default": (0.8, 0.82, 0.79)}


def test_a_winner_of_the_search_alone_claims_nothing(folder: StudyFolder) -> None:
    words = seen(confirmed(folder, {})).words
    assert "Best so far, which claims no difference: masd-" in words
    assert "one run of the search, not confirmed" in words
    assert "is better than" not in words


def test_commands_find_a_copy_under_its_own_name(folder: StudyFolder) -> None:
    shutil.copytree(folder.path, folder.path.parent / "copy")
    words = seen(StudyFolder.open(folder.path.parent / "copy")).words
    assert "autosd retrain copy --seeds 5" in words
    assert "autosd ensemble copy" in words
    assert "autosd retrain hand" not in words


def test_a_search_that_stops_nothing_early_says_so(folder: StudyFolder) -> None:
    assert "stopped early by the pruner family" in seen(folder).words
    file = folder.path / "study.yaml"
    file.write_text(file.read_text().replace("pruner: family", "pruner: none"))
    assert "none stopped early" in seen(folder).words


def test_a_search_from_python_goes_on_by_its_name(tmp_path: Path) -> None:
    words = seen(told(tmp_path, {}, command=["autosd.search"])).words
    assert "autosd search hand" in words
    assert "autosd.search" not in words


def test_a_search_that_goes_on_is_not_told_to(folder: StudyFolder) -> None:
    alone = confirmed(folder, {})
    told_to = "To go on and confirm the best:"
    with alone.lock():
        assert told_to not in seen(alone).words
    alone.lock_path.write_text('{"host": "there", "pid": 1, "since": 0.0, "token": "left"}')
    assert told_to in seen(alone).words


def test_a_study_without_a_trial_says_so(tmp_path: Path) -> None:
    recipe = {"data": "digits", "epochs": 1}
    definition = StudyDefinition.parse({"name": "new", "recipe": recipe, "trials": 5})
    words = seen(StudyFolder.prepare(tmp_path, definition, Space.parse(SPACE)), figures=True).words
    assert "No trial is complete yet, so there is no result." in words
    assert "study new, 0 of 5 trials, none running" in words


def table() -> Retrained:
    """What a retraining of the hand-made study might have found."""

    def entry(recipe: str, roles: tuple[str, ...], top1: list[float], plain: list[float]) -> Row:
        apart = None if recipe == "cross_entropy" else paired_difference(top1, plain)
        spread = Summary(sum(top1) / len(top1), 0.01, len(top1))
        return Row(
            recipe, roles, recipe.removesuffix("-default"), (recipe.removesuffix("-default"),),
            3, 3, 0, 0, {"top1": spread, "ece": Summary(0.04, 0.002, 3)}, apart,
            "reference" if apart is None else "better", None, "no difference shown",
            {"forwards": 1.0, "backwards": 1.0, "step": 1.5}, 4.0, Summary(1.7, 0.1, 3),
            {"ece": Summary(0.02, 0.001, 3)}, 0.8, Summary(0.853, 0.015, 3),
        )  # fmt: skip

    plain = [0.82, 0.83, 0.81]
    rows = (
        entry("masd-default", ("winner", "default"), [0.88, 0.90, 0.88], plain),
        entry("cross_entropy", ("baseline",), plain, plain),
    )
    trained_on = ("train", "val", "select")
    return Retrained("hand", "resnet8", "digits", "top1", 4, (2000, 2001, 2002), trained_on, 400,
                     rows, ("A claim.", "Another claim."), ("A remark on the table.",))  # fmt: skip


def test_a_retraining_is_told_beside_the_confirmation(folder: StudyFolder) -> None:
    write_json(folder.retrain / FILE, table().mapping())
    split = json.loads((folder.path / "split.json").read_text())
    readings = [{"who": "retrain", "when": f"2026-11-2{day}T10:00:00"} for day in (0, 1)]
    write_json(folder.path / "split.json", {**split, "test_readings": readings})
    words = seen(folder).words
    assert (
        "On test: masd-default scores 88.7 ± 1.0 % (3 seeds), trained on everything but test."
        in words
    )
    assert words.index("Another claim.") < words.index("What was searched")
    assert "A claim. Another claim. A remark on the table." in words
    assert "The test part was read 2 times, between 2026-11-20 and 2026-11-21" in words
    assert "0.040 ± 0.002 0.020 ± 0.001" in words
    assert "masd-default scores 85.3 ± 1.5 % (3 seeds) on select" in words


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("environment.json", "environment.json is missing"),
        ("split.json", "split.json is missing"),
        ("finalists/chosen.json", "finalists/chosen.json is missing"),
        ("study.db", "no such database"),
    ],
)
def test_an_old_study_says_what_is_missing_and_tells_the_rest(
    folder: StudyFolder, lost: str, said: str
) -> None:
    (folder.path / lost).unlink()
    shown = seen(folder, figures=True)
    assert said in shown.words
    assert "missing" in [one["id"] for one in shown.named("section")]
    assert "masd" in shown.words


def test_a_lost_run_of_the_confirmation_is_counted(folder: StudyFolder) -> None:
    (folder.finalists / "masd-default-1001/result.json").unlink()
    assert "masd-default: only 2 of 3 runs gave a score." in seen(folder).words


def test_a_running_study_is_told_read_only(folder: StudyFolder, tmp_path: Path) -> None:
    study = folder.load(read_only=False)
    ledger.ask(study, folder.space, folder.definition.recipe)
    close(study)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    written = write(["hand"], tmp_path, out=tmp_path / "elsewhere.html")
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert after == before
    words = parsed(written.path.read_text(encoding="utf-8")).words
    assert "study hand, 24 of 24 trials, 1 running" in words
    assert "left behind" in words


def test_neither_torch_nor_ray_is_needed(folder: StudyFolder) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from autosd.results.report.write import write\n"
        f"write(['hand'], Path({str(folder.path.parent)!r}))\n"
        "sys.exit(','.join({'torch', 'ray'} & set(sys.modules)) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_called_our_reading_is_so_in_the_strategies() -> None:
    ours = {name for name, one in discover().items() if "our reading" in one.reference.lower()}
    assert set(OUR_READINGS) == ours


def test_words_of_the_page() -> None:
    assert short_data("npz:../data/fashion_mnist.npz") == "fashion_mnist"
    assert short_data("folder:/some/where/plants/") == "plants"
    assert short_data("cifar10") == "cifar10"
    assert tied("87.2 ± 0.4 % (3 seeds)") == "87.2\u00a0±\u00a00.4\u00a0% (3 seeds)"


def ensemble() -> Ensembled:
    """What an ensemble of the hand-made study might be worth."""
    member = Member("masd-1", "masd-default", 1000, "masd", ("masd",), None, "finalist", 0.5)
    apart = Difference(0.01, -0.002, 0.022, 400, 0.012)
    row = DistilledRow(
        recipe="distilled", role="distilled", top1=Summary(0.89, 0.01, 3),
        nll=Summary(0.4, 0.02, 3), to_winner=apart, nll_to_winner=apart, to_cross_entropy=apart,
        verdict="no difference shown", models={2000: "ensemble/distilled"},
    )  # fmt: skip
    brought_home = Distilled((row,), "ensemble/distilled", 2.0, 0.7, 400, 4,
                             "The winner already has a teacher.", ())  # fmt: skip
    scores = {part: {"top1": 0.9, "nll": 0.3} for part in ("val", "select", "test")}
    kind = Kind("greedy", 4, 2, {"top1": 0.9, "nll": 0.3}, {"top1": 0.91, "nll": 0.28}, True)
    return Ensembled(
        "nll", 4, 5, "greedy", (member, replace(member, seed=1001)), "masd-1", 2, 2.0,
        {"ensemble": scores, "best_member": scores}, (kind,),
        (Gain("test", "top1", apart, "no difference shown"),), 9, 9, 0, IMAGES,
        ("A remark on the ensemble.",), brought_home,
    )  # fmt: skip


def test_an_ensemble_and_its_student_are_told(first: StudyFolder) -> None:
    story = replace(Story.read(first), ensembled=ensemble())
    words = parsed(html(page(story, {}, NOW))).words
    assert "A greedy selection with replacement of 2 of 9 students, chosen by nll" in words
    assert "costs 2.0 times the best single student (2 networks see each image)" in words
    assert "A remark on the ensemble. One network that learnt from the ensemble" in words
    assert (
        "distilled distilled 89.0 ± 1.0 % 0.400 ± 0.020 +1.0 -0.2 to +2.2 none shown +0.010 ("
        in words
    )
    assert "The winner already has a teacher." in words
