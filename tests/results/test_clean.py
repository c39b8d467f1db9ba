"""What a study no longer needs goes; what something rests on only if it is asked for."""

import sqlite3
from pathlib import Path

import pytest

from autosd.data.loading import load_data
from autosd.errors import AutosdError
from autosd.results.clean import ALSO, Cleaned, clean
from autosd.results.verify import verify
from autosd.search.study import StudyFolder

LEFT = [
    "trials/0000/.last.pt.ab_cd012",
    ".best.q1w2e3r4/model.json",
    "finalists/cross_entropy-1000/last.pt",
]


def names(study: Path) -> set[str]:
    return {p.relative_to(study).as_posix() for p in study.rglob("*") if p.is_file()}


def leave(study: Path, files: list[str]) -> None:
    for name in files:
        (study / name).parent.mkdir(exist_ok=True)
        (study / name).write_bytes(b"left")


def part(found: Cleaned, name: str) -> set[str]:
    return {path.name for one in found.parts if one.name == name for path in one.paths}


def test_only_what_nothing_needs_goes_by_itself(root):
    before = names(root / "tiny")
    leave(root / "tiny", LEFT)
    found = clean("tiny", root)
    assert found.removed
    assert found.bytes == 4 * len(LEFT)
    assert names(root / "tiny") == before
    assert verify("tiny", root, replays=False).whole
    assert not clean("tiny", root).removed


def test_what_a_trial_without_a_result_left_goes_but_not_of_one_that_nobody_knows(root):
    study = root / "tiny"
    with sqlite3.connect(study / "study.db") as connection:
        connection.execute("update trials set state = 'PRUNED' where number = 3")
    connection.close()
    leave(study, ["trials/0099/last.pt", "trials/0099/logits.npz"])
    before = names(study)
    clean("tiny", root)
    assert before - names(study) == {"trials/0003/last.pt", "trials/0003/logits.npz"}


def test_nothing_goes_without_consent(root):
    leave(root / "tiny", LEFT)
    before = names(root / "tiny")
    seen: list[Cleaned] = []
    found = clean("tiny", root, also=list(ALSO), agree=lambda one: bool(seen.append(one)))
    assert not found.removed
    assert seen[0].bytes > 4 * len(LEFT)
    assert names(root / "tiny") == before


def test_parts_go_if_asked_for_and_the_winner_stays(root):
    found = clean("tiny", root, also=["students", "logits", "checkpoints"])
    left = names(root / "tiny")
    assert {name.rsplit("/", 1)[0] for name in left if name.endswith(".safetensors")} == {
        "best",
        next(name for name in left if name.endswith("model/model.json")).rsplit("/", 1)[0],
    }
    assert not any(name.endswith(("last.pt", "logits.npz")) for name in left)
    assert {one.name for one in found.parts if one.wanted} == {"students", "logits", "checkpoints"}
    after = verify("tiny", root, replays=False)
    assert after.whole
    assert any("can join no ensemble" in note for note in after.notes)


def test_a_study_that_runs_is_left_alone(root):
    leave(root / "tiny", LEFT)
    with StudyFolder.find("tiny", root).lock(), pytest.raises(AutosdError, match="is being run by"):
        clean("tiny", root)
    assert set(LEFT) <= names(root / "tiny")


def test_a_link_never_leads_out_of_the_study(root, tmp_path):
    outside = tmp_path / "0098"
    outside.mkdir()
    (outside / "last.pt").write_bytes(b"mine")
    (root / "tiny/trials/0098").symlink_to(outside)
    clean("tiny", root, also=list(ALSO))
    assert (outside / "last.pt").read_bytes() == b"mine"


def test_decoded_images_are_offered_unless_another_study_reads_them(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    definition = root / "tiny/study.yaml"
    definition.write_text(definition.read_text().replace("image_size: null", "image_size: 12"))
    assert part(clean("tiny", root), "cache") == set()
    load_data(StudyFolder.find("tiny", root).definition.recipe.data)
    assert len(part(clean("tiny", root), "cache")) == 1
    other = root / "other"
    other.mkdir()
    for name in ("study.yaml", "space.yaml", "storage.json"):
        (other / name).write_text((root / "tiny" / name).read_text())
    assert part(clean("tiny", root), "cache") == set()


def test_an_unknown_part_is_refused_with_those_there_are(root):
    with pytest.raises(AutosdError, match="--also: no part named 'student'; there are: cache"):
        clean("tiny", root, also=["student"])
