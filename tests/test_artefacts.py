"""What machines of a cluster share: builds by content, commits as packs."""

from __future__ import annotations

import hashlib
import json
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbench.errors import InputError, StorageError
from kbench.kernels.artefacts import Artefacts, SharedStore
from kbench.records import BuildSpec, KernelImage, MachineSpec, Target
from kbench.repository import Repository
from kbench.repository.mirror import Mirror, packed
from tests.fast_import import Commit, git, make_repository

fsspec = pytest.importorskip("fsspec", reason="comes with the extra dask")
IMAGE, KEY = b"\x7fELF image", "a" * 64


@pytest.fixture(params=["folder", "memory", "s3"])
def artefacts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Artefacts]:
    name = uuid.uuid4().hex
    if request.param == "s3":
        yield Artefacts(f"s3://{request.getfixturevalue('bucket')}/{name}")
    elif request.param == "memory":
        yield Artefacts(f"memory://{name}")
        fsspec.filesystem("memory").store.clear()
    else:
        yield Artefacts(str(tmp_path / "shared"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of a server on this machine that speaks S3."""
    pytest.importorskip("s3fs", reason="artefacts in S3 take s3fs")
    server = pytest.importorskip("moto.server", reason="a server that speaks S3: moto[server]").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in (("ENDPOINT_URL", f"http://{host}:{port}"), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
            patch.setenv(f"AWS_{key}", value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("kbench")
        yield "kbench"
    server.stop()


def keep(store: SharedStore, folder: Path) -> str:
    """Put a build into a store and return the name of its image."""
    (folder / "image").write_bytes(IMAGE)
    name = store.add(folder / "image")
    built = {"image": name, "symbols": None, "config": None, "signature": "s", "files": ["a.c"], "compiler": "gcc 12"}
    store.keep(KEY, built | {"build_s": 1.5, "notes": []})
    return name


def kernel(name: str) -> KernelImage:
    return KernelImage(Path("/elsewhere") / name, None, "s", Target("t", BuildSpec((), "k"), MachineSpec(("true",))))


def places(artefacts: Artefacts) -> list[str]:
    fs, root = fsspec.core.url_to_fs(artefacts.url)
    return sorted(path.removeprefix(root).removeprefix("/") for path in fs.find(root))


def spoil(artefacts: Artefacts, place: str, content: bytes) -> None:
    fs, root = fsspec.core.url_to_fs(artefacts.url)
    fs.makedirs(f"{root}/{place}".rpartition("/")[0], exist_ok=True)
    fs.pipe_file(f"{root}/{place}", content)


def test_a_build_is_found_on_another_machine(artefacts: Artefacts, tmp_path: Path) -> None:
    one, other = (SharedStore(artefacts, tmp_path / name) for name in ("one", "other"))
    assert other.find(KEY) is None
    name = keep(one, tmp_path)
    entry = other.find(KEY)
    assert entry is not None
    assert (entry["image"], other.object(name).read_bytes()) == (name, IMAGE)
    located = SharedStore(artefacts, tmp_path / "third").located(kernel(name))
    assert located is not None
    assert (located.path.read_bytes(), located.path.stat().st_mode & 0o777) == (IMAGE, 0o555)
    assert places(artefacts) == [f"entries/{KEY}.json", f"objects/{name}"], "nothing half-written stays"


@pytest.mark.parametrize("damage", [IMAGE[:-1], b"", IMAGE + b"x"])
def test_a_damaged_object_is_thrown_away_and_made_again(artefacts: Artefacts, tmp_path: Path, damage: bytes) -> None:
    name = keep(SharedStore(artefacts, tmp_path / "one"), tmp_path)
    spoil(artefacts, f"objects/{name}", damage)
    other = SharedStore(artefacts, tmp_path / "other")
    assert other.located(kernel(name)) is None
    assert places(artefacts) == [f"entries/{KEY}.json"]
    assert other.find(KEY) is None, "an entry without its files is none"
    keep(other, tmp_path)
    assert SharedStore(artefacts, tmp_path / "third").find(KEY) is not None


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit",)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Evil()),
        b"[" * 100_000,
        b"null",
        b"{}",
        json.dumps({"image": "../../etc/passwd", "symbols": None, "config": None, "signature": "s", "files": None}).encode(),
        json.dumps({"error": ["not text"], "file": "", "log": ""}).encode(),
    ],
    ids=["pickle", "deep", "null", "empty", "path", "types"],
)
def test_entries_are_not_trusted(artefacts: Artefacts, tmp_path: Path, content: bytes) -> None:
    spoil(artefacts, f"entries/{KEY}.json", content)
    assert SharedStore(artefacts, tmp_path / "one").find(KEY) is None


def test_an_object_that_cannot_be_one_is_not_fetched(tmp_path: Path) -> None:
    """A file with holes as large as a disk: nothing of it is copied."""
    shared, name = Artefacts(str(tmp_path / "shared")), "b" * 64
    keep(SharedStore(shared, tmp_path / "one"), tmp_path)
    with (tmp_path / "shared" / "objects" / name).open("wb") as file:
        file.truncate(1 << 43)
    with pytest.raises(StorageError, match="8388608 MiB"), shared.fetched(name):
        pass


def test_names_and_urls_are_checked(artefacts: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected 64 hex digits"):
        artefacts.find("../secret")
    assert SharedStore(artefacts, tmp_path / "one").located(kernel("../../etc/passwd")) is None
    with pytest.raises(InputError, match="expected a folder or a URL"):
        Artefacts("nosuch://bucket")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="artefacts: expected to use"):
        Artefacts(str(tmp_path / "file")).keep(KEY, {})


def test_commits_travel_as_packs(tmp_path: Path) -> None:
    """All at once, then one made on the way on top; and borrowed or fetched where the source can be reached."""
    rows = [Commit([i - 1] if i else [], files={"f": b"%d\n" % i}) for i in range(5)]
    commits = make_repository(tmp_path / "repo", rows)
    repository, mirror = Repository(tmp_path / "repo"), Mirror(tmp_path / "a" / "mirror.git")
    assert not mirror.find(commits[2])
    mirror.receive(packed(repository, commits[3:4], tmp_path), commits[3])
    assert mirror.find(commits[2])
    assert not mirror.find(commits[4])
    mirror.receive(packed(repository, commits[4:], tmp_path, without=commits[3:4]), commits[4])
    with Repository(mirror.path).worktree(tmp_path / "tree") as worktree:
        worktree.checkout(commits[4])
        assert (worktree.path / "f").read_text() == "4\n"
    for name, source in (("borrowed", str(tmp_path / "repo")), ("fetched", f"file://{tmp_path / 'repo'}")):
        other = Mirror(tmp_path / name, source)
        assert other.find(commits[1])
        assert Repository(other.path).tree(commits[1]) == repository.tree(commits[1])
        assert not other.find(hashlib.sha1(b"").hexdigest())
    assert git(tmp_path / "repo", "for-each-ref").count("\n") == 2, "the user's repository keeps its refs"
