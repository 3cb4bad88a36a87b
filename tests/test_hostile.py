"""Input written to attack: histories, cases, consoles, archives, programs for the guest. On the real parts, from end to end."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbench import crash, notebook, syzbot
from kbench.errors import CaseError, InputError, KbenchError, ReproducerError, RevisionError
from kbench.journal import FILE_NAME
from kbench.kernels import Store, compile_tree
from kbench.kernels.builder import image_of
from kbench.kernels.causes import root_cause
from kbench.lab import create
from kbench.lab.linux import source
from kbench.lab.linux.source import base_repository
from kbench.machines import boot, initramfs
from kbench.machines.qemu import qemu_argv
from kbench.machines.sandbox import OPTIONS
from kbench.patterns import LinePattern
from kbench.records import KernelImage, MachineSpec
from kbench.repository import Repository
from kbench.resources import data_dir, notebooks_dir
from kbench.study import archive as archive_of_logs
from kbench.study.collection import import_logs
from kbench.targets import LAB, UM
from kbench.text import clean
from kbench.widgets.export import export_html
from tests.fast_import import ENVIRONMENT, Commit, git, make_repository
from tests.jupyter_browser import chromium, open_page

ROOT = Path(__file__).parents[1]
HTML = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
SHELL = "$(touch PWNED)`touch PWNED`;touch PWNED;"
TERMINAL = "\x1b]0;owned\x07\x1b[2J\u202e"
FOLDER = f"""a'); __import__("os").system("touch PWNED"); ("{SHELL}{HTML}""".replace("/", "")
TAG = "<img${IFS}src=x/onerror=window.hacked=1>$(touch${IFS}PWNED)\u2028"
PATHS = (f"notes/{HTML.replace('/', '')}", f"notes/{SHELL}", "--output=PWNED", "notes/\nPWNED", "notes/-rf")
PROGRAM = "touch PWNED"
# What a repository may say runs a program, for whoever uses git in it without care.
CONFIG = f"""
[core]
\tfsmonitor = {PROGRAM}
\tsshCommand = {PROGRAM}
\teditor = {PROGRAM}
\tpager = {PROGRAM}
[filter "a=b"]
\tsmudge = {PROGRAM}; cat
\tclean = {PROGRAM}; cat
\tprocess = {PROGRAM}
\trequired = true
[diff "a=b"]
\tcommand = {PROGRAM}
\ttextconv = {PROGRAM}; cat
[diff]
\texternal = {PROGRAM}
[merge "a=b"]
\tdriver = {PROGRAM}
[log]
\tshowSignature = true
[gpg]
\tprogram = {PROGRAM}
[credential "https://example.org"]
\thelper = "!{PROGRAM}"
[includeIf "gitdir:**/worktrees/**"]
\tpath = more
"""
MORE = f"""
[filter "there"]
\tsmudge = {PROGRAM}; cat
"""
ATTRIBUTES = "*.c filter=a=b diff=a=b merge=a=b\n*.h filter=there\n"


def kbench(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kbench", *map(str, words)], capture_output=True, text=True, check=False)


def attack(lab: Path) -> dict[str, str]:
    """Write a lab's history anew, to attack; return what became of its commits."""
    repository = lab / "repo"
    exported = subprocess.run(
        ["git", "fast-export", "--all", "--show-original-ids"], cwd=repository, capture_output=True, check=True
    ).stdout
    names: dict[bytes, str] = {}  # of commits, by mark
    stream, lines, in_commit, mark = bytearray(), io.BytesIO(exported), False, b""
    while line := lines.readline():
        in_commit = (in_commit or line.startswith(b"commit ")) and line != b"\n"
        if line.startswith((b"commit refs/tags/", b"reset refs/tags/", b"tag ")):
            line = line.rstrip(b"\n") + f"{TAG}\n".encode()
        elif line.startswith(b"mark "):
            mark = line[5:].strip()
        elif line.startswith(b"original-oid ") and in_commit:
            names[mark] = line.split()[1].decode()
        elif line.startswith(b"data "):
            body = lines.read(int(line[5:]))
            if in_commit:
                subject, _, rest = body.partition(b"\n")
                body = b"%s %s\n%s" % (subject, f"{SHELL}{HTML}{TERMINAL}".encode(), rest)
            line = b"data %d\n%s" % (len(body), body)
        elif line == b"\n" and names and names.get(mark):
            for path, text in {**dict.fromkeys(PATHS, names[mark]), ".gitattributes": ATTRIBUTES}.items():
                stream += b"M 100644 inline %s\ndata %d\n%s\n" % (source._quoted(path), len(text), text.encode())
            mark = b""
        stream += line
    for ref in git(repository, "for-each-ref", "--format=%(refname)", "refs/tags").split():
        git(repository, "update-ref", "-d", ref)
    subprocess.run(
        ["git", "fast-import", "--quiet", "--force", "--export-marks=../marks"],
        cwd=repository, input=bytes(stream), env=ENVIRONMENT, check=True,
    )  # fmt: skip
    marks = dict(line.split() for line in (lab / "marks").read_bytes().splitlines())
    return {name: marks[mark].decode() for mark, name in names.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that everything of a test is below, with its cache, and nothing called PWNED in the end."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "cwd").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder / "cwd")
        yield folder
    assert not list(folder.rglob("PWNED")), "a program ran that was only text"


@pytest.fixture(scope="module")
def hostile(place: Path) -> tuple[Path, str]:
    """The case of a lab that was written to attack, and its culprit."""
    lab = place / FOLDER
    create(lab, seed=4, kind="null", commits=60)
    became = attack(lab)
    git_dir = lab / "repo" / ".git"
    with (git_dir / "config").open("a") as file:
        file.write(CONFIG)
    (git_dir / "more").write_text(MORE)
    for folder in ("info", "hooks"):
        (git_dir / folder).mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text(ATTRIBUTES)
    for hook in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"):
        (git_dir / "hooks" / hook).write_text(f"#!/bin/sh\n{PROGRAM}\n")
        (git_dir / "hooks" / hook).chmod(0o755)
    name = f"{SHELL}{HTML.replace('/', '')}.txt"
    (lab / name).write_text(f"print({json.dumps(HTML[:36])}, 1)\n" + (lab / "repro.txt").read_text())
    case = (lab / "case.toml").read_text().replace('"repro.txt"', json.dumps(name)).replace('"v*"', '"**"')
    (lab / "case.toml").write_text(re.sub("^name = .*", lambda _: f"name = {json.dumps(HTML + SHELL + TERMINAL)}", case))
    truth = json.loads((lab / "truth.json").read_text())
    return lab / "case.toml", became[truth["culprit"]]


@pytest.mark.qemu
@pytest.mark.browser
def test_a_history_written_to_attack_is_bisected_to_a_report(hostile: tuple[Path, str], place: Path) -> None:
    """The culprit is found; nothing runs on the way, in the report or in the exported notebook; nothing is written elsewhere."""
    case, culprit = hostile
    lab = case.parent
    before = {path for path in lab.rglob("*") if "worktrees" not in path.parts}
    done = subprocess.run(
        [sys.executable, "-m", "kbench", "bisect", "case.toml"], cwd=lab, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    output = lab / "case.kbench"
    assert json.loads((output / "result.json").read_text())["culprit"] == culprit
    log = syzbot.read_log((output / "bisection.log").read_text())
    assert log.culprit
    assert "\x1b" not in done.stdout
    written = {path for path in lab.rglob("*") if "worktrees" not in path.parts} - before
    assert all(path.is_relative_to(output) or path.is_relative_to(lab / "repo" / ".git" / "objects") for path in written), written
    assert json.loads(kbench("report", case, "--json").stdout)["culprit"] == culprit

    executed = place / "executed.ipynb"
    notebook.execute(notebooks_dir() / "bisect.ipynb", executed, {"case": case, "output": output})
    export_html(executed, place / "executed.html")
    with chromium() as browser:
        for page in (output / "report.html", place / "executed.html"):
            assert culprit[:12] in page.read_text()
            with open_page(browser, page.as_uri()) as watched:
                watched.page.wait_for_load_state("networkidle")
                assert not watched.hacked(), page
                assert (watched.requests, watched.errors) == ([], []), page
                assert watched.page.locator("img[src=x]").count() == 0


def test_a_terminal_is_shown_names_and_not_steered_by_them(place: Path) -> None:
    """Window titles, colours and reversed text of a name that somebody else chose."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "kbench", "report", f"{TERMINAL}.toml"]
    done = subprocess.run(argv, cwd=place, stdin=theirs, stdout=theirs, stderr=theirs, check=False)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how the end of a terminal is told
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    os.close(ours)
    assert done.returncode == 2
    assert b".toml" in shown
    assert not {0x1B, 0x07} & set(shown)
    assert "\u202e" not in shown.decode()


@pytest.mark.qemu
def test_qemu_is_locked_in(tmp_path: Path) -> None:
    """A guest that takes QEMU over can start no program, gain no privilege, and finds no network."""
    with Store(tmp_path).slot("lab") as slot:
        entry = compile_tree(data_dir() / "labkernel", slot, LAB, config=None, store=Store(tmp_path), jobs=2)
    kernel = image_of(Store(tmp_path), LAB, entry, commit=None, cached=False)
    with boot(LAB.machine, kernel) as machine:
        named = " ".join(machine.argv)
        pid = next(p for p in Path("/proc").glob("[0-9]*") if named in (p / "cmdline").read_bytes().decode().replace("\0", " "))
        told = dict(line.split(":\t", 1) for line in (pid / "status").read_text().splitlines() if ":\t" in line)
        assert (told["Seccomp"].strip(), told["NoNewPrivs"].strip()) == ("2", "1"), "what a QEMU of Debian can do"
        assert told["Uid"].split()[0] == str(os.getuid())
        assert "-nic none" in named
        assert machine.run("uname()").ending is None


@pytest.mark.parametrize(
    "line",
    [
        *("-semihosting", "-semihosting-config enable=on,target=native", "-plugin /tmp/x.so", "-virtfs local,path=/,mount_tag=x"),
        *("-fsdev local,id=x,path=/", "-object memory-backend-file,id=x,mem-path=/x", "-object filter-dump,file=/x,id=x"),
        *(
            "-device vfio-pci,host=0",
            "-device usb-mtp,rootdir=/",
            '-device {"driver":"usb-host"}',
            "-device driver=vhost-vsock-pci",
        ),
        *("-M pc,dumpdtb=/x", "-audiodev wav,id=x,path=/x", "-set device.x.y=z", "-netdev user,id=x", "-tpmdev passthrough,id=x"),
    ],
)
def test_a_line_that_lets_the_guest_at_the_host_is_refused(line: str) -> None:
    spec = MachineSpec(("qemu-system-x86_64", "-kernel", "{image}", *line.split(" ")))
    with pytest.raises(CaseError, match="qemu: expected a line that"):
        qemu_argv(spec, KernelImage(Path("kernel"), None, "0" * 64, LAB), reproducer=None, accelerator="tcg", qmp_fd=3)


def test_a_line_does_not_unlock_qemu() -> None:
    spec = MachineSpec(("qemu-system-x86_64", "-sandbox", "off", "-kernel", "{image}"))
    kernel = KernelImage(Path("kernel"), None, "0" * 64, LAB)
    argv = qemu_argv(spec, kernel, reproducer=None, accelerator="tcg", qmp_fd=3, sandbox=OPTIONS)
    assert argv.count("-sandbox") == 1
    assert argv[argv.index("-sandbox") + 1].startswith("on,")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", [r"(a|a)*$", r"(?:a?){40}a{40}$", r"(a|aa)+$"])
def test_a_pattern_that_never_ends_is_the_cases_fault(pattern: str) -> None:
    searched = LinePattern(pattern, "crashed", budget_s=0.2)
    with pytest.raises(CaseError, match="'crashed' that is quickly looked for"):
        for n in range(30, 4000):
            searched.search("a" * n + "b")
    assert LinePattern(r"BUG: (?P<title>.*)", "crashed").search("BUG: a bug")
    with pytest.raises(CaseError, match="regular expression"):
        LinePattern("a{1,99999999999}" + "(" * 5000 + ")" * 5000, "crashed")


@pytest.mark.timeout(60)
def test_consoles_and_logs_written_to_take_long() -> None:
    """What patterns stumble over, again and again: each reader gets through, which one of quadratic cost would not in an hour."""
    pieces = (
        "[",
        "a ",
        "<IRQ> ",
        " ? ",
        "BUG: ",
        "KASAN: a in ",
        "\x1b[",
        "+0x1/0x2 ",
        "fs/a.c:1 ",
        "Call Trace:\n ",
        "a:1:1: error: ",
    )
    for piece in pieces:
        text = "kernel BUG at fs/a.c:1!\nCall Trace:\n" + piece * ((1 << 18) // len(piece))
        crash.parse(text)
        crash.guilty_file(text)
        with contextlib.suppress(KbenchError):
            syzbot.read_log("bisecting cause commit starting from " + "0" * 40 + "\n" + text)
        root_cause(text, (Path("/src"),))
        assert "\x1b" not in clean(text)


def test_a_journal_names_no_files_elsewhere(hostile: tuple[Path, str]) -> None:
    """A case directory may come from anybody, and its report shows consoles."""
    folder = hostile[0].parent / "case.kbench"
    copy = folder.with_name("other.kbench")
    shutil.copytree(folder, copy)
    with contextlib.closing(sqlite3.connect(copy / FILE_NAME)) as database, database:
        for name in ("/etc/passwd", "../../../../../../etc/passwd"):
            with database:
                database.execute("UPDATE runs SET console = ?", (name,))
            done = kbench("report", hostile[0], "--output", copy)
            assert (done.returncode, "passwd" in done.stderr) == (2, True), done.stderr
    assert "root:x:" not in (copy / "report.html").read_text()


def test_a_source_written_to_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in a tar are names, whatever git fast-import would take them for; what leads out or grows too large is refused."""
    monkeypatch.setenv("KBENCH_CACHE", str(tmp_path / "cache"))

    def tar(*names: str, size: int = 3) -> Path:
        path = tmp_path / f"{time.monotonic_ns()}.tar.xz"
        with tarfile.open(path, "w:xz") as packed:
            for name in ("linux/Makefile", *names):
                member = tarfile.TarInfo(name)
                text = b"VERSION = 6\n" if name.endswith("Makefile") else b"x" * size
                member.size = len(text)
                packed.addfile(member, io.BytesIO(text))
        return path

    names = ("a\nM 100644 inline b", 'q"uote', "back\\slash", "$(touch PWNED)", "-rf", "reset refs/heads/main")
    base = base_repository(tar(*(f"linux/{name}" for name in names)))
    assert Repository(base.repository).paths(base.commit) == {"Makefile", *names}
    for name in ("linux/../../x", "linux/.git/config", "linux//x", "linux/a/../b"):
        with pytest.raises(InputError, match="below the source's folder"):
            base_repository(tar(name))
    monkeypatch.setattr(source, "MAX_BYTES", 1 << 20)
    with pytest.raises(InputError, match="at most"):
        base_repository(tar("linux/zeros", size=2 << 20))
    monkeypatch.setattr(source, "MAX_FILES", 5)
    with pytest.raises(InputError, match="5 files at most"):
        base_repository(tar(*(f"linux/{n}" for n in range(5))))


def test_a_tree_and_a_tag_written_to_attack(tmp_path: Path) -> None:
    """Folders of a tree are made below the worktree; a tag is one tag, whatever Python takes for the end of a line."""
    repository = tmp_path / "repo"
    tags = ["v1.0\u2028x", "v1.1\x85y", "v1.2\u2029"]
    make_repository(repository, [Commit(message=b"one\n"), Commit([0], b"two\x0b\xe2\x80\xa8three\n")], dict.fromkeys(tags, 1))
    opened = Repository(repository)
    assert [name for name, _ in opened.release_tags()] == tags
    head = opened.resolve("HEAD")
    assert opened.find_subject("two\x0b\u2028three", "HEAD") == head
    tree = opened.tree("HEAD")
    entry = b"40000 ..\0" + bytes.fromhex(hash_tree(repository, b"40000 out\0" + bytes.fromhex(tree)))
    evil = git(repository, "commit-tree", "-m", "out", hash_tree(repository, entry)).strip()
    with opened.worktree(tmp_path / "deep" / "tree") as worktree, pytest.raises(RevisionError, match="folders below the tree"):
        worktree.outline(evil, ())
    assert not (tmp_path / "deep" / "out").exists()


@pytest.mark.parametrize(
    ("settings", "fetched"),
    [
        ({}, True),
        ({"uploadpack": PROGRAM}, False),
        ({"url": "ext::touch PWNED", "vcs": ""}, False),
        ({"vcs": "ext"}, False),
    ],
)
def test_what_a_partial_clone_lacks_is_fetched_by_nothing_it_brings(
    tmp_path: Path, settings: dict[str, str], fetched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, lacking = tmp_path / "whole", tmp_path / "lacking"
    head = make_repository(whole, [Commit(files={"a": b"1\n"}), Commit([0], files={"a": b"2\n"})])[-1]
    for name in ("allowFilter", "allowAnySHA1InWant"):
        git(whole, "config", f"uploadpack.{name}", "true")
    subprocess.run(["git", "clone", "--quiet", "--bare", "--filter=blob:none", "--no-local", whole, lacking], check=True)
    git(lacking, "config", "remote.origin.promisor", "true")
    git(lacking, "config", "protocol.ext.allow", "always")
    for name, value in settings.items():
        git(lacking, "config", f"remote.origin.{name}", value)
    with contextlib.nullcontext() if fetched else pytest.raises(RevisionError):
        assert "1 file changed" in Repository(lacking).describe(head)
    assert not list(tmp_path.rglob("PWNED"))


def hash_tree(repository: Path, content: bytes) -> str:
    argv = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    return subprocess.run(argv, cwd=repository, input=content, capture_output=True, check=True).stdout.decode().strip()


def test_a_program_that_eats_the_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the memory nor the disk nor the time of this machine is there for the asking; no word reaches a shell."""
    monkeypatch.setenv("KBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"-o PWNED {SHELL}.c"
    for text in ("char x[1u << 31] = {1};\nint main(void) { return x[0]; }\n", '#include "/dev/zero"\nint main(void) {}\n'):
        path.write_text(text)
        with pytest.raises(ReproducerError, match="to compile"):
            initramfs(UM, path)
    path.write_text("int main(void) { return 0; }\n")
    assert initramfs(UM, path)
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.timeout(60)
def test_an_archive_of_logs_written_to_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes unpack to any number: of a member, of a header, of members; what came before is kept, names are text."""

    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    def packed(*members: tuple[str, int, bytes]) -> Path:
        path = tmp_path / f"{time.monotonic_ns()}.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1) as archive:
            for name, size, kind in members:
                member = tarfile.TarInfo(name)
                member.size, member.type = size, kind
                archive.addfile(member, Zeros())
        return path

    monkeypatch.setattr(archive_of_logs, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(archive_of_logs, "MAX_ARCHIVE_BYTES", 4 << 20)
    monkeypatch.setattr(archive_of_logs, "MAX_MEMBERS", 10)
    log = ("a\udcff", 3, tarfile.REGTYPE)
    for hostile, problem in (
        ([("big", 2 << 20, tarfile.REGTYPE)], ""),
        ([("large", 5 << 20, tarfile.REGTYPE)], "unpacks to more"),
        ([("header", 2 << 20, tarfile.XHDTYPE)], "part of more than"),
        ([("many", 0, tarfile.REGTYPE)] * 11, "members"),
    ):
        done = import_logs([packed(log, *hostile)], tmp_path / f"{time.monotonic_ns()}")
        assert "a\ufffd" in done.failed, "what is no log is told by name"
        assert any(problem in reason for reason in done.failed.values()), done.failed


@pytest.mark.parametrize(
    "text",
    [
        '#include "SECRET"',
        "#include <SECRET>",
        '#include "FOLDER/../secret"',
        "#include </usr/include/../..SECRET>",
        "#define _(x) <x>\n#include _(SECRET)",
        '#include "link.h"',
        '#include "SECRET"\n#error',
        '# 1 "SECRET"\nroot',
        '_Pragma("GCC pch_preprocess \\"SECRET\\"")',
        'asm(".incbin \\"SECRET\\"");',
        'asm(".include \\"SECRET\\"");',
        'asm(".macro read a\\n.inc\\\\a \\"SECRET\\"\\n.endm\\nread bin");',
        'asm(".incbin \\"link.h\\"");',
    ],
)
def test_a_program_that_reads_the_host(text: str, place: Path, tmp_path: Path) -> None:
    """It runs where it is told to: what it was compiled with is only its own, and errors tell nothing of other files."""
    folder, secret = tmp_path / f"case #1 {SHELL}", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("root:*:20228:0:99999:7:::\n")
    (folder / "link.h").symlink_to(secret)
    path = folder / "it.c"
    path.write_text(text.replace("SECRET", str(secret)).replace("FOLDER", str(folder)) + "\nint main(void) { return 0; }\n")
    with pytest.raises(ReproducerError) as refused:
        initramfs(UM, path)
    assert "99999" not in repr((str(refused.value), vars(refused.value)))
    assert "99999" not in "".join(kept.read_text(errors="replace") for kept in (place / "cache" / "guests").iterdir())


def test_a_program_with_files_of_its_own(place: Path, tmp_path: Path) -> None:
    """Headers and data beside it go in, each time anew; what is wrong with it is said with its line."""
    folder = tmp_path / "ca$e #1"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "own.h").write_text("#define N 3\n")
    path = folder / "it.c"
    includes = '#include <stdio.h>\n#include <linux/if.h>\n#include "below/own.h"\n'
    text = includes + 'asm(".incbin \\"blob\\"");\nint main(void) { return N; }\n'
    path.write_text(text)
    for blob in (b"first content", b"second content"):
        (folder / "blob").write_bytes(blob)
        made = initramfs(UM, path)
        assert made and blob in made.read_bytes()
    wrongs = {
        "return M": "it.c:5:.*M",
        'asm("bogus"); return 0': "assembly in line 5",
        "\n#include <none.h>\n": "it.c:6:.*none.h",
    }
    for wrong, shown in wrongs.items():
        path.write_text(text.replace("return N", wrong))
        with pytest.raises(ReproducerError, match=shown):
            initramfs(UM, path)


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    """In the package's own code. Dask pickles between its processes: who reaches its scheduler is trusted."""
    for path in (ROOT / "kbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}, path
            elif isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "tarfile.extractall"), path
                assert not name.endswith((".extractall", ".create_subprocess_shell")), path
                assert not any(word.arg in ("shell", "allow_pickle") for word in node.keywords), path
