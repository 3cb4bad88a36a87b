"""Building Linux: what is worked out before make runs, what is read from a build, and real builds of real revisions."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbench.errors import BuildError, MachineLacksError, RevisionError
from kbench.kernels import Builder, Store
from kbench.kernels.backports import Backports
from kbench.kernels.builder import slot_owner
from kbench.kernels.causes import root_cause
from kbench.kernels.compiled import linux_files
from kbench.kernels.configure import Configuration
from kbench.kernels.linux import decides, make_words, plan
from kbench.kernels.releases import Backport, compiler_version, fixups, has_tag, release_of, unneeded_checks
from kbench.kernels.toolchain import Compiler, choose, installed
from kbench.records import KernelImage, Target
from kbench.repository import Repository
from kbench.targets import TARGETS
from tests.conftest import linux_base
from tests.fast_import import Commit, git, make_repository

UM = TARGETS["um"]
X86 = TARGETS["qemu-x86_64"]
GCC = Compiler("gcc", "gcc", 12, "gcc (Debian 12.2.0-14) 12.2.0")


def makefile(version: int, patchlevel: int, sublevel: int = 0, extra: str = "") -> str:
    lines = [
        f"VERSION = {version}",
        f"PATCHLEVEL = {patchlevel}",
        f"SUBLEVEL = {sublevel}",
        f"EXTRAVERSION = {extra}",
        "NAME = x",
    ]
    return "# SPDX-License-Identifier: GPL-2.0\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (makefile(6, 12), "v6.12"),
        (makefile(6, 12, 0, "-rc3"), "v6.12-rc3"),
        (makefile(6, 1, 192), "v6.1.192"),
        (makefile(5, 4, 0, "-rc1-next"), "v5.4-rc1"),
        ("all:\n", "None"),
    ],
)
def test_release_of_a_tree(text: str, shown: str) -> None:
    assert str(release_of(text)) == shown


def test_a_tag_is_had_from_its_own_commit_on() -> None:
    assert has_tag(release_of(makefile(5, 4)), "v5.4")
    assert has_tag(release_of(makefile(5, 4, 7)), "v5.4")
    assert has_tag(release_of(makefile(5, 5, 0, "-rc1")), "v5.4")
    assert not has_tag(release_of(makefile(5, 4, 0, "-rc8")), "v5.4")
    assert has_tag(release_of(makefile(5, 4, 0, "-rc8")), "v5.4-rc7")
    assert not has_tag(release_of(makefile(5, 3, 99)), "v5.4")
    assert has_tag(None, "v5.4"), "a tree that does not say is taken for a new one"


def test_fixups_of_old_and_new_releases() -> None:
    old = {fixup.option: fixup.value for fixup in fixups(release_of(makefile(5, 3)), {"UNWINDER_ORC": "y"})}
    new = {fixup.option: fixup.value for fixup in fixups(release_of(makefile(6, 12)), {"UNWINDER_ORC": "y"})}
    assert old["KCOV"] == old["UNWINDER_ORC"] == "n"
    assert old["UNWINDER_FRAME_POINTER"] == "y"
    assert "UBSAN" not in old, "v5.3 has it working"
    assert new == {"LOCALVERSION_AUTO": "n", "DEBUG_INFO_BTF": "n", "DEBUG_KOBJECT": "n", "INITRAMFS_SOURCE": '""'}


def test_checks_that_a_crash_does_not_need() -> None:
    options, words = unneeded_checks({"KASAN-READ", "WARNING"})
    assert {"KASAN", "BUG"}.isdisjoint(options)
    assert options["DETECT_HUNG_TASK"] == options["LOCKDEP"] == "n"
    assert words == "rcupdate.rcu_cpu_stall_suppress=1"
    assert unneeded_checks({"HANG"})[1] == ""


@pytest.mark.parametrize(("release", "version"), [((6, 12), 0), ((5, 15), 10), ((4, 14), 8), ((4, 11), 7), ((4, 4), 5)])
def test_compiler_of_a_release(release: tuple[int, int], version: int) -> None:
    assert compiler_version(release_of(makefile(*release))) == version


@pytest.fixture
def compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """A PATH with programs that only know their version."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def add(name: str, version: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (Debian {version}-1) {version}'\n")
        (tmp_path / name).chmod(stat.S_IRWXU)

    yield add


def test_compiler_by_name_by_release_and_its_stand_in(compilers: Callable[[str, str], None]) -> None:
    for name, version in (
        ("pdp11-gcc", "12.2.0"),
        ("pdp11-gcc-9", "9.5.0"),
        ("pdp11-gcc-ar", "1.0.0"),
        ("pdp11-clang-15", "15.0.7"),
    ):
        compilers(name, version)
    assert [one.program for one in installed("pdp11-")] == ["pdp11-gcc", "pdp11-gcc-9", "pdp11-clang-15"]
    assert choose("clang-15", 0, "pdp11-")[0].major == 15
    assert choose("", 0, "pdp11-") == (installed("pdp11-")[0], "")
    chosen, note = choose("", 10, "pdp11-")
    assert (chosen.program, note) == ("pdp11-gcc-9", "compiler: gcc 10 fits this release, pdp11-gcc-9 (gcc 9) stands in for it")
    with pytest.raises(
        MachineLacksError, match=r"expected pdp11-gcc-7 on PATH, found pdp11-gcc, .*; apt-get install gcc-7-pdp11"
    ):
        choose("gcc-7", 0, "pdp11-")


def test_plan_merges_base_case_and_release() -> None:
    assert UM.build.linux
    asked = plan(UM, UM.build.linux, "CONFIG_TIMERFD=n\nCONFIG_DEBUG_KOBJECT=y\nCONFIG_HOSTFS=y\n", makefile(6, 12))
    assert (asked.asked["TIMERFD"], asked.asked["FUTEX"], asked.asked["HOSTFS"], asked.asked["INITRAMFS_SOURCE"]) == (
        "n",
        "y",
        "n",
        '""',
    )
    refused, fixed = asked.notes
    assert "HOSTFS was asked for and is off" in refused
    assert "DEBUG_KOBJECT=y was asked for and is n" in fixed
    permitted = dataclasses.replace(UM, build=dataclasses.replace(UM.build, host_access=True))
    assert plan(permitted, UM.build.linux, "CONFIG_HOSTFS=y\n", makefile(6, 12)).asked["HOSTFS"] == "y"
    whole = plan(UM, UM.build.linux, "#\n# Linux/um 6.12.1 Kernel Configuration\n#\nCONFIG_TIMERFD=y\n", makefile(6, 12))
    assert whole.whole
    assert "FUTEX" not in whole.asked


def test_make_words() -> None:
    assert UM.build.linux
    words = make_words(UM.build.linux, dataclasses.replace(GCC, program="gcc-11"))
    assert {"ARCH=um", "LOCALVERSION="} <= set(words)
    assert [word.split()[-1] for word in words if "CC=" in word] == ["CC=gcc-11", "HOSTCC=gcc-11"] or shutil.which("ccache")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Makefile", True),
        ("mm/Makefile", True),
        ("arch/um/Makefile-skas", True),
        ("arch/x86/Makefile.um", True),
        ("scripts/Makefile.build", True),
        ("scripts/Kbuild.include", True),
        ("include/asm-generic/Kbuild", True),
        ("drivers/net/Kconfig", True),
        ("samples/Kconfig", False),  # among the build's own files
        ("arch/um/kernel/dyn.lds.S", True),
        ("include/asm-generic/vmlinux.lds.h", True),
        ("arch/x86/entry/syscalls/syscall_64.tbl", True),
        ("scripts/syscall.tbl", True),
        ("scripts/link-vmlinux.sh", True),
        ("scripts/sorttable.c", True),
        ("scripts/checkpatch.pl", False),
        ("scripts/get_maintainer.pl", False),
        ("scripts/coccinelle/free/kfree.cocci", False),
        ("tools/objtool/check.c", True),
        ("tools/include/linux/list.h", True),
        ("tools/arch/x86/lib/insn.c", True),
        ("tools/arch/arm64/include/asm/barrier.h", False),
        ("tools/testing/selftests/Makefile", False),
        ("tools/perf/builtin-top.c", False),
        ("kernel/time/timeconst.bc", True),
        ("usr/default_cpio_list", True),
        ("crypto/asymmetric_keys/x509.asn1", True),
        ("drivers/tty/vt/defkeymap.c_shipped", True),
        ("localversion-next", True),
        ("mm/memory.c", False),  # among the build's own files, when it is compiled
        ("include/linux/mm.h", False),
        ("Documentation/kbuild/Makefile", False),
        ("Documentation/admin-guide/mm/index.rst", False),
        ("arch/arm64/Kconfig", False),
        ("arch/arm64/kernel/vmlinux.lds.S", False),
        ("arch/Kconfig", True),
        ("arch/x86/configs/x86_64_defconfig", False),
        ("kernel/configs/debug.config", False),
        ("MAINTAINERS", False),
        (".mailmap", False),
        ("lib/.gitignore", False),
        ("fs/ext4/.kunitconfig", False),
        ("", False),
    ],
)
def test_what_decides(path: str, expected: bool) -> None:
    assert decides(path, ("um", "x86")) is expected


def test_files_of_a_build(tmp_path: Path) -> None:
    tree, build = tmp_path / "tree", tmp_path / "build"
    for name in (
        "mm/memory.c",
        "include/linux/mm.h",
        "scripts/syscalltbl.sh",
        "arch/x86/entry/syscall.tbl",
        "init/Kconfig",
        "fs/gone.c",
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    (tmp_path / "secret").touch()
    (build / "mm").mkdir(parents=True)
    (build / "include/config").mkdir(parents=True)
    (build / "mm/.memory.o.cmd").write_text(
        f"savedcmd_mm/memory.o := gcc -include {tree}/fs/gone.c -c -o mm/memory.o {tree}/mm/memory.c\n\n"
        f"source_mm/memory.o := {tree}/mm/memory.c\n\ndeps_mm/memory.o := \\\n    $(wildcard include/config/MMU) \\\n"
        "  ../tree/include/linux/mm.h \\\n  include/generated/autoconf.h \\\n  ../secret \\\n  /usr/include/stdio.h \\\n\n"
        "mm/memory.o: $(deps_mm/memory.o)\n\n$(deps_mm/memory.o):\n"
    )
    (build / ".syscalls_64.h.cmd").write_text(
        f"cmd_syscalls_64.h := sh {tree}/scripts/syscalltbl.sh --abis 64 {tree}/arch/x86/entry/syscall.tbl > syscalls_64.h\n"
    )
    (build / "include/config/auto.conf.cmd").write_text("deps_config := \\\n\tinit/Kconfig \\\n\tKconfig.gone\n\nKconfig: x\n")
    assert linux_files(build, tree) == (
        "arch/x86/entry/syscall.tbl",
        "include/linux/mm.h",
        "init/Kconfig",
        "mm/memory.c",
        "scripts/syscalltbl.sh",
    )
    assert linux_files(build / "include", tree) is None


# What real builds of broken trees print, shortened; TREE stands for the tree's folder.
FAILURES = [
    (
        "  CC      fs/pipe.o\n/w/0/tree/fs/pipe.c:12:3: error: expected expression before ';' token\n"
        "make[4]: *** [/w/0/tree/scripts/Makefile.build:229: fs/pipe.o] Error 1\n",
        "fs/pipe.c:12:3: error: expected expression before ';' token",
        "fs/pipe.c",
    ),
    ("../tree/mm/slub.c: In function 'f':\n../tree/mm/slub.c:9:1: error: x\n", "mm/slub.c:9:1: error: x", "mm/slub.c"),
    ("init/Kconfig:12: syntax error\nmake[2]: *** [x] Error 1\n", "init/Kconfig:12: syntax error", "init/Kconfig"),
    (
        'net/Kconfig:3:warning: ignored\nnet/Kconfig:7: unknown statement "bogus"\n',
        'net/Kconfig:7: unknown statement "bogus"',
        "net/Kconfig",
    ),
    (
        "/w/0/tree/mm/Makefile:3: *** missing separator.  Stop.\nmake[2]: *** [/w/0/tree/Makefile:9: mm] Error 2\n",
        "mm/Makefile:3: *** missing separator.  Stop.",
        "mm/Makefile",
    ),
    (
        "ld: mm/slub.o: in function `f':\n./mm/slub.c:9: undefined reference to `g'\nmake[2]: *** [vmlinux] Error 1\n",
        "./mm/slub.c:9: undefined reference to `g'",
        "mm/slub.c",
    ),
    ('ERROR: modpost: "g" [fs/x.ko] undefined!\nmake: *** [x] Error 1\n', 'ERROR: modpost: "g" [fs/x.ko] undefined!', ""),
    (
        "vmlinux.o: error: objtool: f+0x3: unreachable\nmake[2]: *** [vmlinux.o] Error 1\n",
        "vmlinux.o: error: objtool: f+0x3: unreachable",
        "",
    ),
    (
        "make[3]: *** No rule to make target 'fs/new.o', needed by 'fs/built-in.a'.  Stop.\n",
        "make[3]: *** No rule to make target 'fs/new.o', needed by 'fs/built-in.a'.  Stop.",
        "",
    ),
    (
        "*** The source tree is not clean, please run 'make mrproper'\nmake: *** x\n",
        "*** The source tree is not clean, please run 'make mrproper'",
        "",
    ),
]


@pytest.mark.parametrize(("output", "cause", "file"), FAILURES)
def test_causes_name_files_of_the_tree(output: str, cause: str, file: str) -> None:
    assert root_cause(output, (Path("/w/0/tree"), Path("/w/0/build"))) == (cause, file)


def commit(number: int, **files: str) -> Commit:
    names = {"a.c": "one\n\n\n\n\ntwo\n"} | {name.replace("_", "."): text for name, text in files.items()}
    return Commit([number - 1] if number else [], f"commit {number}\n".encode(), {n: t.encode() for n, t in names.items()})


def test_backports_only_where_they_are_missing(tmp_path: Path) -> None:
    """0 start, 1 guilty, 2 nothing, 3 fix; on a branch from 2: 4 nothing, 5 takes the fix over, by its title."""
    commits = [
        commit(0),
        commit(1, a_c="one\n\n\n\n\nbug\n"),
        commit(2, a_c="one\n\n\n\n\nbug\n", b_c="b\n"),
        commit(3, a_c="one\n\n\n\n\nfixed\n", b_c="b\n"),
        dataclasses.replace(commit(4, a_c="1\n\n\n\n\nbug\n", b_c="b\n"), parents=[2]),
        dataclasses.replace(commit(5, a_c="1\n\n\n\n\nfixed\n", b_c="b\n"), parents=[4], message=b"commit 3\n\n[upstream]\n"),
    ]
    path = tmp_path / "repo"
    hashes = make_repository(path, commits)
    known = (Backport(hashes[3], "commit 3", hashes[1]), Backport("1" * 40, "elsewhere"))
    backports = Backports(path, known, ())
    assert [[each.fix for each in backports.missing(one)] for one in hashes] == [
        [],
        [hashes[3]],
        [hashes[3]],
        [],
        [hashes[3]],
        [],
    ]
    with pytest.raises(RevisionError, match="expected a commit"):
        Backports(path, known, ["2" * 40])
    repository = Repository(path)
    with repository.worktree(tmp_path / "tree") as worktree:
        file = tmp_path / "tree" / "a.c"
        worktree.checkout(hashes[4])
        assert backports.apply(worktree.path, hashes[4], backports.missing(hashes[4])) == [
            f'backport: {hashes[3][:12]} ("commit 3") was applied'
        ]
        assert file.read_text() == "1\n\n\n\n\nfixed\n"
        worktree.checkout(hashes[2])
        assert file.read_text() == "one\n\n\n\n\nbug\n", "the next checkout takes it away"
        both = Backports(path, (), [hashes[3], hashes[1]])
        notes = both.apply(worktree.path, hashes[2], both.missing(hashes[0]))
        assert [note.rpartition(")")[2] for note in notes] == [" was applied", " conflicts here and was left out"]
        assert file.read_text() == "one\n\n\n\n\nfixed\n"
        worktree.checkout(hashes[0])
        assert file.read_text() == "one\n\n\n\n\ntwo\n"
        assert git(tmp_path / "tree", "status", "--porcelain") == ""


# What follows builds real Linux, once: a base, and on top of it. A comment moves the lines below it, and BUG() and WARN() put
# their line numbers into the kernel; lib/sort.c has none.
CHANGES: tuple[tuple[str, Callable[[str], str], str], ...] = (
    ("lib/sort.c", lambda text: text.replace("\n", "\n/* said twice\n * and more */\n", 1), "lib: a comment"),
    ("fs/pipe.c", lambda text: text + "\nint kbench_extra = 3;\n", "fs: a variable"),
    ("fs/pipe.c", lambda text: text + "int kbench_broken = ;\n", "fs: a mistake"),
)
BASE, COMMENT, VARIABLE, MISTAKE = range(4)


@dataclasses.dataclass
class LinuxSource:
    """A short history on top of Linux as it was released; what is built is noted in a store of its own, in everybody's slots."""

    repository: Repository
    commits: list[str]
    store: Store

    def build(self, number: int, target: Target = UM, *, config: str | None = None, store: Store | None = None) -> KernelImage:
        with Builder(self.repository, target, config=config, store=store or self.store) as builder:
            return builder.build(self.commits[number])

    def configured(self, target: Target, config: str | None, folder: Path) -> Configuration:
        """The config of the revision that was built last, for a target."""
        assert target.build.linux
        with self.store.slot(slot_owner(self.repository, UM)) as slot:
            prepared = plan(target, target.build.linux, config, (slot.tree / "Makefile").read_text())
            configuration = Configuration(slot.tree, folder, target.build.linux, prepared)
            configuration.make(dict(os.environ))
        return configuration


@pytest.fixture(scope="module")
def linux(tmp_path_factory: pytest.TempPathFactory) -> LinuxSource:
    folder, base = tmp_path_factory.mktemp("linux"), linux_base()
    repo, commits = base.repository, [base.commit]
    for path, change, message in CHANGES:
        (folder / "changed").write_text(change(git(repo, "cat-file", "blob", f"{commits[-1]}:{path}")))
        blob = git(repo, "hash-object", "-w", str(folder / "changed")).strip()
        git(repo, "read-tree", commits[-1])
        git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
        commits.append(git(repo, "commit-tree", git(repo, "write-tree").strip(), "-p", commits[-1], "-m", message).strip())
    git(repo, "update-ref", "refs/heads/changes", commits[-1])
    (folder / "store").mkdir()
    (folder / "store" / "slots").symlink_to(Store().root / "slots")
    return LinuxSource(Repository(repo), commits, Store(folder / "store"))


@pytest.fixture(scope="module")
def kernel(linux: LinuxSource) -> KernelImage:
    return linux.build(BASE)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Another folder to build in."""
    return Store(tmp_path_factory.mktemp("another") / "deeper" / "store")


@pytest.mark.linux
def test_um_is_built_from_the_base(kernel: KernelImage) -> None:
    assert (kernel.cached, kernel.symbols) == (False, kernel.path)
    assert kernel.path.stat().st_size < 32 << 20
    assert kernel.compiler.startswith("gcc")
    assert kernel.config is not None
    assert "CONFIG_SLUB_DEBUG_ON=y" in kernel.config.read_text()
    assert kernel.notes == ()
    assert kernel.files is not None
    assert {"fs/pipe.c", "include/linux/mm.h", "init/Kconfig", "arch/x86/entry/syscalls/syscall_64.tbl"} <= set(kernel.files)
    assert "kernel/bpf/verifier.c" not in kernel.files
    assert not any(name.startswith(("/", "..")) for name in kernel.files)


@pytest.mark.linux
def test_comment_is_the_same_kernel_in_another_folder_at_another_time(
    linux: LinuxSource, kernel: KernelImage, elsewhere: Store
) -> None:
    here, there = linux.build(COMMENT), linux.build(COMMENT, store=elsewhere)
    assert (here.cached, there.cached) == (False, False)
    assert here.signature == there.signature == kernel.signature
    assert b"tree/kernel/fork.c" not in kernel.path.read_bytes()


@pytest.mark.linux
def test_change_is_another_kernel_and_the_way_back_costs_nothing(linux: LinuxSource, kernel: KernelImage) -> None:
    changed = linux.build(VARIABLE)
    assert changed.signature != kernel.signature
    with pytest.raises(BuildError, match=r"^fs/pipe\.c:\d+:\d+: error: expected expression") as caught:
        linux.build(MISTAKE)
    assert caught.value.file == "fs/pipe.c"
    again = [linux.build(number) for number in (BASE, VARIABLE)]
    assert [(image.cached, image.signature) for image in again] == [(True, kernel.signature), (True, changed.signature)]


@pytest.mark.linux
@pytest.mark.parametrize("name", ["um", "qemu-x86_64", "qemu-aarch64"])
def test_every_option_of_a_base_is_as_asked(linux: LinuxSource, kernel: KernelImage, tmp_path: Path, name: str) -> None:
    configuration = linux.configured(TARGETS[name], None, tmp_path)
    assert configuration.notes() == ()


@pytest.mark.linux
def test_dropped_options_are_told_with_the_reason(linux: LinuxSource, kernel: KernelImage, tmp_path: Path) -> None:
    fragment = (
        "CONFIG_IP_SCTP=y\nCONFIG_KBENCH_NONSENSE=y\nCONFIG_EXT4_FS=y\nCONFIG_CRC32=n\nCONFIG_ZLIB_INFLATE=y\nCONFIG_UML=n\n"
    )
    notes = "\n".join(linux.configured(UM, fragment, tmp_path).notes())
    for expected in (
        "IP_SCTP=y was asked for and is n: it depends on INET",
        "KBENCH_NONSENSE=y was asked for, this tree has no such option",
        "EXT4_FS=y was asked for and is n: it depends on BLOCK",
        "ZLIB_INFLATE=y was asked for and is n: it has no prompt",
        "UML=n was asked for and is y: it has no prompt",
    ):
        assert f"config: {expected}" in notes
    assert notes.count("\n") == 4, "and nothing else"


@pytest.mark.linux
def test_so_are_those_of_a_whole_config(linux: LinuxSource, kernel: KernelImage, tmp_path: Path) -> None:
    """What olddefconfig takes away."""
    assert kernel.config is not None
    whole = kernel.config.read_text() + "CONFIG_IP_SCTP=y\n"
    assert linux.configured(UM, whole, tmp_path).notes() == ("config: IP_SCTP=y was asked for and is n: it depends on INET",)


@pytest.mark.linux
@pytest.mark.parametrize(("name", "compiler"), [("um", "gcc-11"), ("um", "gcc-12"), ("qemu-aarch64", "")])
def test_compiler_the_case_names(linux: LinuxSource, elsewhere: Store, name: str, compiler: str) -> None:
    """One object stands for a kernel: it takes the same config, compiler and flags."""
    target = TARGETS[name]
    words = tuple("kernel/pid.o" if word in ("linux", "Image") else word for word in target.build.commands[0])
    spec = dataclasses.replace(target.build, commands=(words,), image="kernel/pid.o", symbols="kernel/pid.o", compiler=compiler)
    built = linux.build(BASE, dataclasses.replace(target, build=spec), store=elsewhere)
    program = target.build.linux.cross + (compiler or "gcc") if target.build.linux else ""
    assert built.compiler.startswith(f"{program} ")
    assert f"GCC: {built.compiler.removeprefix(program).strip()}".encode() in built.path.read_bytes()
