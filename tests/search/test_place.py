"""The place that nodes share: files appear whole, and faults are one line."""

from pathlib import Path

import pytest

from autosd.search.place import Place, PlaceUnusable


@pytest.fixture(params=["path", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kinds = {"path": "{}", "file": "file://{}", "memory": "memory:/{}"}
    return Place(kinds[request.param].format(tmp_path / "shared"))


def test_files_come_back_as_they_were_put(place: Place, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"state")
    place.put(tmp_path / "here", "trials/0001/last.pt")
    place.write("owner", "token")
    assert place.names() == ["owner", "trials/0001/last.pt"]
    assert place.below("trials").get("0001/last.pt", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"state"
    assert place.read("owner") == "token"


def test_what_is_not_there_is_no_fault(place: Place, tmp_path: Path) -> None:
    place.remove("nothing")
    place.clear()
    assert place.names() == []
    assert place.read("owner") == ""
    assert not place.get("last.pt", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_cleared_place_is_empty(place: Place) -> None:
    place.write("a/b", "x")
    place.remove("a/b")
    place.write("a/c", "x")
    place.clear()
    assert place.names() == []


def test_a_file_put_where_it_is_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"state")
    place = Place(str(tmp_path))
    place.put(tmp_path / "last.pt", "last.pt")
    assert place.get("last.pt", tmp_path / "last.pt")
    assert (tmp_path / "last.pt").read_bytes() == b"state"


@pytest.mark.parametrize("address", ["nosuch://bucket/x", "s3://bucket/x"])
def test_an_address_that_cannot_be_used_is_named(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(PlaceUnusable, match=f"^checkpoints {address}: ") as fault:
        Place(address)
    assert "\n" not in str(fault.value)


def test_a_place_that_cannot_be_written_is_named() -> None:
    with pytest.raises(PlaceUnusable, match=r"^checkpoints /proc/asd: "):
        Place("/proc/asd").write("owner", "x")
