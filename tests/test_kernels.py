"""Builds: by content, reproducible, nothing stale, failures told by their first cause. Real make and gcc throughout."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from kbench.errors import BuildError, MachineLacksError
from kbench.kernels import Builder, Store, compile_tree, signature
from kbench.kernels.causes import root_cause
from kbench.kernels.compiled import compiled_files, dependencies
from kbench.kernels.make import OUTPUT_CAP_BYTES, run_commands
from kbench.records import BuildSpec, KernelImage, Target
from kbench.repository import Repository
from kbench.resources import data_dir
from kbench.targets import LAB
from tests.fast_import import Commit, make_repository
from tests.laboratories import TARGET

MAKEFILE = """
O ?= .
kernel: $(O)/kernel.bin
$(O)/kernel.bin: body.txt head.txt $(wildcard $(O)/.config)
	@echo building; cat head.txt body.txt $(wildcard $(O)/.config) > $@; printf '%s' '$(CFLAGS)' >> $@
	@echo '$@: body.txt head.txt' > $(O)/kernel.d
"""


def target(*commands: str, image: str = "kernel.bin", clean: bool = False, timeout_s: float = 20.0) -> Target:
    spec = BuildSpec(
        tuple(tuple(command.split()) for command in commands), image, config=".config", clean=clean, timeout_s=timeout_s
    )
    return Target("plain", spec, TARGET.machine)


PLAIN = target("make -s O={build_dir}")


class Source:
    """A repository whose kernel is two files put together, and a store of its own."""

    def __init__(self, folder: Path, *changes: Mapping[str, str]) -> None:
        files = {"Makefile": MAKEFILE, "head.txt": "head\n", "body.txt": "body 0\n"}
        commits = []
        for number, change in enumerate(changes or [{}, {"body.txt": "body 1\n"}, {"head.txt": "head 2\n"}, {"README": "hello"}]):
            files |= change
            commits.append(Commit([number - 1] if number else [], files={k: v.encode() for k, v in files.items()}))
        self.commits = make_repository(folder / "repo", commits)
        self.repository = Repository(folder / "repo")
        self.store = Store(folder / "store")

    def build(self, number: int, kind: Target = PLAIN, config: str | None = None) -> KernelImage:
        with Builder(self.repository, kind, config=config, store=self.store) as builder:
            return builder.build(self.commits[number])


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_content_decides(source: Source) -> None:
    first = source.build(0)
    assert first.path.read_text() == "head\nbody 0\n"
    assert (first.cached, first.files, first.commit) == (False, ("body.txt", "head.txt"), source.commits[0])
    again = source.build(0)
    assert (again.cached, again.build_s, again.signature, again.path) == (True, 0.0, first.signature, first.path)
    assert source.build(1).path.read_text() == "head\nbody 1\n"
    assert source.build(3).signature == source.build(2).signature != first.signature


def test_jumping_about_never_uses_stale_objects(source: Source) -> None:
    for number, text in [(2, "head 2\nbody 1\n"), (0, "head\nbody 0\n"), (1, "head\nbody 1\n")]:
        assert source.build(number).path.read_text() == text


def test_config_is_part_of_it_and_does_not_stay(source: Source) -> None:
    assert source.build(0, config="CONFIG_X=y\n").path.read_text() == "head\nbody 0\nCONFIG_X=y\n"
    assert source.build(1).path.read_text() == "head\nbody 1\n"
    assert source.build(0).path.read_text() == "head\nbody 0\n"


def test_environment_is_part_of_it(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-DA")
    assert source.build(0).path.read_text().endswith("-DA")
    monkeypatch.setenv("CFLAGS", "-DB")
    monkeypatch.setenv("MAKEFLAGS", "-n")  # of a make around us: none of the build's business
    assert source.build(0).path.read_text().endswith("-DB")


def test_a_users_folder_and_revisions_do_not_mix(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    with source.repository.worktree(folder) as worktree:
        worktree.checkout(source.commits[0])
        (folder / "body.txt").write_text("not committed\n")
        for _ in range(2):
            with source.store.slot(f"folder {folder}") as slot:
                compile_tree(folder, slot, PLAIN, config=None, store=source.store, jobs=1)
            assert source.build(0).path.read_text() == "head\nbody 0\n"


def test_damaged_object_is_built_again(source: Source) -> None:
    first = source.build(0)
    first.path.chmod(0o644)
    first.path.write_text("half")
    again = source.build(0)
    assert (again.cached, again.path.read_text()) == (False, "head\nbody 0\n")


def test_renamed_output_is_not_mistaken(tmp_path: Path) -> None:
    source = Source(tmp_path, {}, {"Makefile": MAKEFILE.replace("kernel.bin", "other.bin")})
    source.build(0)
    with pytest.raises(BuildError, match=r"expected kernel\.bin"):
        source.build(1)


def test_image_outside_is_refused(source: Source) -> None:
    with pytest.raises(BuildError, match="leads out"):
        source.build(0, target("make -s O={build_dir}", image="../../../../etc/passwd"))


def test_failures_are_remembered_with_their_cause(tmp_path: Path) -> None:
    bad = "kernel:\n\t@echo x >> ../../count; echo 'fs/pipe.c:7:1: error: no' ; echo more; exit 1\n"
    source = Source(tmp_path, {"Makefile": bad})
    for _ in range(2):
        with pytest.raises(BuildError, match=r"^fs/pipe\.c:7:1: error: no$") as caught:
            source.build(0)
        assert caught.value.file == "fs/pipe.c"
    assert len(list(source.store.root.rglob("count"))) == 1
    assert next(source.store.root.rglob("count")).read_text() == "x\n", "built once"


def test_failures_of_this_machine_are_not_remembered(tmp_path: Path) -> None:
    source = Source(
        tmp_path, {"Makefile": "kernel:\n\t@echo 'a.c:1:10: fatal error: elf.h: No such file or directory'; exit 1\n"}
    )
    for _ in range(2):
        with pytest.raises(BuildError):
            source.build(0)
    assert not list((source.store.root / "builds").iterdir())
    killed = Source(
        tmp_path / "k", {"Makefile": "kernel:\n\t@echo 'gcc: fatal error: Killed signal terminated program cc1'; exit 1\n"}
    )
    with pytest.raises(MachineLacksError, match="memory"):
        killed.build(0)


def test_missing_headers_are_the_machines_fault(tmp_path: Path) -> None:
    text = "tools/objtool/elf.h:10:10: fatal error: gelf.h: No such file or directory"
    source = Source(tmp_path, {"Makefile": f"kernel:\n\t@echo '{text}'; exit 1\n"})
    with pytest.raises(MachineLacksError, match="apt-get install libelf-dev"):
        source.build(0)


def test_time_limit_ends_all_of_it(tmp_path: Path) -> None:
    source = Source(tmp_path, {"Makefile": "kernel:\n\t@echo working; sleep 60\n"})
    started = time.monotonic()
    with pytest.raises(BuildError, match="within 1 s"):
        source.build(0, target("make -s", timeout_s=1))
    assert time.monotonic() - started < 20
    assert not list((source.store.root / "builds").iterdir())


def test_cut_off_build_starts_anew(source: Source) -> None:
    source.build(0)
    slot = next(source.store.root.glob("slots/*/0"))
    (slot / "interrupted").touch()
    (slot / "build" / "kernel.bin").write_text("half")
    (slot / "build" / "left.o").write_text("half")
    assert source.build(1).path.read_text() == "head\nbody 1\n"
    assert not (slot / "build" / "left.o").exists()


def test_what_a_build_leaves_running_is_ended(tmp_path: Path) -> None:
    output = run_commands([("sh", "-c", "sleep 300 & echo done")], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, timeout_s=30)
    assert output == "done\n"


def test_a_gigabyte_of_output_is_capped(tmp_path: Path) -> None:
    output = run_commands(
        [("sh", "-c", "head -c 300000000 /dev/zero | tr '\\0' x; echo end")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        timeout_s=60,
    )
    assert len(output) < OUTPUT_CAP_BYTES + 100
    assert output.endswith("end\n")
    assert "bytes left out" in output


@pytest.mark.parametrize(
    ("output", "cause", "file"),
    [
        ("CC a\nfs/a.c:3:1: error: x\nmake: *** [Makefile:3: a.o] Error 1\n", "fs/a.c:3:1: error: x", "fs/a.c"),
        (
            "ld: fs/b.o: in function `f':\nfs/b.c:9: undefined reference to `g'\n",
            "fs/b.c:9: undefined reference to `g'",
            "fs/b.c",
        ),
        ("./x.S:4: Error: no such instruction\n", "./x.S:4: Error: no such instruction", "x.S"),
        ("make: *** No rule to make target 'a.c'.  Stop.\n", "make: *** No rule to make target 'a.c'.  Stop.", ""),
        ("make: *** [Makefile:3: a.o] Error 1\n", "make: *** [Makefile:3: a.o] Error 1", ""),
        ("something\n", "something", ""),
        ("", "", ""),
    ],
)
def test_root_cause(output: str, cause: str, file: str) -> None:
    assert root_cause(output) == (cause, file)


def test_dependencies_and_files(tmp_path: Path) -> None:
    assert dependencies("a.o: a.c \\\n  include/a.h b\\\n\ninclude/a.h:\n") == {"a.c", "include/a.h", "b"}
    (tmp_path / "tree").mkdir()
    (tmp_path / "build").mkdir()
    assert compiled_files(tmp_path / "build", tmp_path / "tree") is None
    (tmp_path / "tree" / "a.c").touch()
    (tmp_path / "build" / "a.d").write_text("a.o: a.c ../tree/a.c /usr/include/stdio.h gone.h ../../etc/passwd\n")
    assert compiled_files(tmp_path / "build", tmp_path / "tree") == ("a.c",)


@pytest.mark.qemu
def test_lab_kernel_has_one_signature_everywhere(tmp_path: Path) -> None:
    """Two builds of one tree in two folders, at two times, with other debug paths: equal signatures; a changed line: not."""
    kernels = []
    for name in ("one", "two/deeper"):
        shutil.copytree(data_dir() / "labkernel", tmp_path / name)
        store = Store(tmp_path / f"store-{name.partition('/')[0]}")
        with store.slot("x") as slot:
            kernels.append(compile_tree(tmp_path / name, slot, LAB, config=None, store=store, jobs=2)["signature"])
        time.sleep(1.1)
    assert kernels[0] == kernels[1]
    (tmp_path / "one" / "kernel" / "main.c").open("a").write("int one_more = 1;\n")
    store = Store(tmp_path / "store-one")
    with store.slot("x") as slot:
        entry = compile_tree(tmp_path / "one", slot, LAB, config=None, store=store, jobs=2)
    assert entry["signature"] != kernels[0]
    assert "kernel/main.c" in entry["files"]
    assert "include/kernel.h" in entry["files"]
    assert not any(name.startswith("arch/riscv") for name in entry["files"])


def test_signature_of_what_is_no_elf() -> None:
    assert signature(b"boot sector") != signature(b"boot sectoR")
    assert len(signature(b"\x7fELF rubbish")) == 64
