"""The place that nodes share: files appear whole, and faults are one line."""

import importlib.util
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from autosd.search.place import Place, PlaceUnusable


@pytest.fixture(params=["path", "file", "memory", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return Place(f"s3://{request.getfixturevalue('bucket')}/studies")
    kinds = {"path": "{}", "file": "file://{}", "memory": "memory:/{}"}
    return Place(kinds[request.param].format(tmp_path / "shared"))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of an S3 server on loopback."""
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="pip install s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "asd")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "asd")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"b{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    yield name
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


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


S3FS = importlib.util.find_spec("s3fs") is not None


@pytest.mark.parametrize(
    "address",
    [
        "nosuch://bucket/x",
        pytest.param("s3://bucket/x", marks=pytest.mark.skipif(S3FS, reason="s3fs is here")),
    ],
)
def test_an_address_that_cannot_be_used_is_named(address: str) -> None:
    with pytest.raises(PlaceUnusable, match=f"^checkpoints {address}: ") as fault:
        Place(address)
    assert "\n" not in str(fault.value)


def test_a_place_that_cannot_be_written_is_named() -> None:
    with pytest.raises(PlaceUnusable, match=r"^checkpoints /proc/asd: "):
        Place("/proc/asd").write("owner", "x")
