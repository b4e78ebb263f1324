"""Storage: publishing, create-if-absent under a race, listing, on a disk, in memory and on a real S3 server."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import stat
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.errors import DamagedFileError, UserError
from pipeline.storage import Storage, probe
from pipeline.stores import filesystem, open_input


@pytest.fixture(scope="module")
def s3_bucket() -> Iterator[str]:
    """A bucket on an S3 server of the test's own, on loopback."""
    server_module = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("corpus")
        yield "s3://corpus"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    match request.param:
        case "folder":
            return Storage(tmp_path / "root")
        case "memory":
            return Storage(f"memory://{uuid.uuid4().hex}/root", tmp_path / "cache")
        case _:
            bucket = request.getfixturevalue("s3_bucket")
            return Storage(f"{bucket}/{uuid.uuid4().hex}/root", tmp_path / "cache")


def test_a_file_is_published_read_listed_and_deleted(storage: Storage) -> None:
    made = storage.scratch() / "kept.parquet"
    made.write_bytes(b"rows")
    storage.write_file(made, "pages-1/shards/00000000-ab.parquet")
    storage.write_bytes("pages-1/manifest.json", b"{}")
    storage.write_bytes("run.json", b"1")
    storage.write_bytes("run.json", b"2")

    assert storage.read_bytes("pages-1/shards/00000000-ab.parquet") == b"rows"
    assert storage.read_bytes("run.json") == b"2"
    assert storage.local_path("pages-1/shards/00000000-ab.parquet").read_bytes() == b"rows"
    assert storage.list("pages-1") == ["pages-1/manifest.json", "pages-1/shards/00000000-ab.parquet"]
    assert storage.list("") == ["pages-1/manifest.json", "pages-1/shards/00000000-ab.parquet", "run.json"]
    assert storage.list("nothing") == []
    assert storage.exists("run.json")
    assert not storage.exists("pages-1")
    storage.delete("run.json")
    storage.delete("run.json")
    assert not storage.exists("run.json")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("run.json")


def test_creation_takes_a_name_once_and_keeps_the_first_content(storage: Storage) -> None:
    assert storage.create_if_absent("commits/0.json", b"first")
    assert not storage.create_if_absent("commits/0.json", b"second")
    assert storage.read_bytes("commits/0.json") == b"first"
    assert storage.list("commits") == ["commits/0.json"]


def test_racing_threads_have_one_winner_each_time(storage: Storage) -> None:
    report = probe(storage, writers=8, rounds=50 if storage.is_local else 10)
    assert report.safe, str(report)
    assert set(report.winners) == {1}
    assert storage.list("") == []


def _create(root: str, names: list[str], mine: bytes) -> list[str]:
    storage = Storage(root)
    return [name for name in names if storage.create_if_absent(name, mine)]


def test_racing_processes_have_one_winner_each_time(tmp_path: Path) -> None:
    names = [f"commits/{number}" for number in range(50)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        won = pool.starmap(_create, [(str(tmp_path), names, str(k).encode()) for k in range(2)])
    assert sorted(name for mine in won for name in mine) == sorted(names)
    for k, mine in enumerate(won):
        assert all(Storage(tmp_path).read_bytes(name) == str(k).encode() for name in mine)


class _Overwriting:
    """A store without create-if-absent, as some object stores are: the last writer wins and none is told."""

    def __init__(self, storage: Storage, writers: int) -> None:
        self._storage = storage
        self._barrier = Barrier(writers)
        self.is_local, self.uri = storage.is_local, storage.uri

    def __getattr__(self, name: str) -> object:
        return getattr(self._storage, name)

    def create_if_absent(self, name: str, data: bytes) -> bool:
        self._storage.write_bytes(name, data)
        self._barrier.wait()
        return True


def test_the_probe_finds_out_a_store_that_lets_two_win(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "root")
    report = probe(_Overwriting(storage, 4), writers=4, rounds=3)  # pyrefly: ignore[bad-argument-type]
    assert not report.safe
    assert report.winners == (4, 4, 4)
    assert "not safe" in str(report)
    assert storage.list("") == []


def test_concurrent_writes_of_one_content_leave_one_whole_file(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "root")
    data = b"x" * 100_000

    def publish(k: int) -> None:
        made = tmp_path / f"attempt-{k}"
        made.write_bytes(data)
        storage.write_file(made, "shards/0.parquet")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(16)))
    assert storage.list("shards") == ["shards/0.parquet"]
    assert storage.read_bytes("shards/0.parquet") == data


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="stays inside"):
        Storage(tmp_path).read_bytes(name)


def test_a_storage_travels_to_another_process(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "root", tmp_path / "cache")
    storage.write_bytes("a", b"1")
    copy = pickle.loads(pickle.dumps(storage))
    assert (copy.uri, copy.scratch()) == (storage.uri, storage.scratch())
    assert copy.read_bytes("a") == b"1"


@pytest.fixture
def remote(tmp_path: Path) -> Storage:
    """A storage in memory with one file."""
    storage = Storage(f"memory://{uuid.uuid4().hex}", tmp_path / "cache")
    storage.write_bytes("shards/0.keep", b"rows")
    return storage


ROWS_SHA256 = hashlib.sha256(b"rows").hexdigest()


def cached(folder: Path) -> Path:
    (path,) = folder.glob("cache/*/files/shards/0.keep")
    return path


def test_a_planted_copy_is_not_believed(remote: Storage, tmp_path: Path) -> None:
    assert remote.local_path("shards/0.keep", ROWS_SHA256).read_bytes() == b"rows"
    cached(tmp_path).write_bytes(b"ROWS")
    assert remote.local_path("shards/0.keep", ROWS_SHA256).read_bytes() == b"rows"


def test_a_copy_is_hashed_once_and_fetched_once(remote: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = remote.local_path("shards/0.keep", ROWS_SHA256)
    monkeypatch.setattr("pipeline.file_state.file_sha256", None)
    filesystem(remote.uri).rm_file(f"{remote.uri}/shards/0.keep")
    assert remote.local_path("shards/0.keep", ROWS_SHA256) == first


def test_a_deleted_file_leaves_no_copy_on_this_machine(remote: Storage, tmp_path: Path) -> None:
    remote.local_path("shards/0.keep", ROWS_SHA256)
    assert cached(tmp_path).read_bytes() == b"rows"
    remote.delete("shards/0.keep")
    assert not list(tmp_path.glob("cache/*/files/shards/0.keep"))


def test_a_remote_file_that_is_not_what_was_committed_is_refused(remote: Storage) -> None:
    remote.write_bytes("shards/0.keep", b"sown")
    with pytest.raises(DamagedFileError, match=r"0\.keep has sha256 .*run again: it is made anew"):
        remote.local_path("shards/0.keep", ROWS_SHA256)
    with pytest.raises(DamagedFileError, match=r"memory://.*none\.keep is missing") as caught:
        remote.local_path("shards/none.keep", ROWS_SHA256)
    assert caught.value.path.endswith("/shards/none.keep")


def test_the_cache_is_made_for_this_user_alone(remote: Storage, tmp_path: Path) -> None:
    remote.local_path("shards/0.keep")
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_a_cache_that_others_could_read_is_closed_to_them(remote: Storage, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    remote.scratch()
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def _open(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o777)


def _linked(cache: Path) -> None:
    cache.with_name("elsewhere").mkdir(mode=0o700)
    cache.symlink_to(cache.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("planted", "why"),
    [(_open, "may be written by others"), (_linked, "is a link"), (Path.touch, "no folder")],
    ids=["open", "link", "file"],
)
@pytest.mark.parametrize("use", [Storage.scratch, lambda s: s.local_path("shards/0.keep")], ids=["scratch", "copy"])
def test_a_cache_that_others_may_have_filled_is_refused(
    remote: Storage, tmp_path: Path, planted: Callable[[Path], None], why: str, use: Callable[[Storage], Path]
) -> None:
    planted(tmp_path / "cache")
    with pytest.raises(UserError, match=f"{why}.*remove it, or set TMPDIR"):
        use(remote)


def test_a_cache_of_another_user_is_refused(remote: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(UserError, match=f"belongs to user {me}, not to {me + 1}"):
        remote.local_path("shards/0.keep")


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(UserError, match="unknown scheme floppy://"):
        filesystem("floppy://a/b")


def test_remote_input_is_read_and_sought(storage: Storage) -> None:
    storage.write_bytes("in.bin", bytes(range(100)))
    uri = f"{storage.uri}/in.bin"
    with open_input(uri) as file:
        file.seek(90)
        assert file.read() == bytes(range(90, 100))
