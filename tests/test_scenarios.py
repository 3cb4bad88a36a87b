"""syzkaller's bisections: its scenarios and tables, and our own; with real git, the real driver, and rules for a kernel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from kbench import syzbot
from kbench.bisection import Bisection, BisectionResult, make_case
from kbench.bisection.configs import Minimise
from kbench.bisection.laboratory import LocalLaboratory
from kbench.bisection.report import bisection_log
from kbench.bisection.result import shown_by
from kbench.bisection.view import view
from kbench.crash.titles import type_of
from kbench.errors import BuildError, CaseError, KbenchError, LostMachineError, RevisionError
from kbench.evidence import SYZKALLER_RULE, Observation, decide, representative_crash
from kbench.kernels import Store
from kbench.records import KernelImage, Outcome, Run, Step, Verdict
from kbench.repository import Repository, parse_release_tag, pick_release_tags, sort_release_tags
from kbench.search import STRATEGIES, Search
from tests.fast_import import Commit, git, make_repository
from tests.laboratories import CRASH, OK, TARGET, TableLaboratory
from tests.test_search import bisect_for_real

CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"
KEYS = {"build": "true", "image": "kernel", "qemu": "qemu-system-i386"}
TITLES = {"": "crashes at crash occurs", "SYZ_FAILURE": "SYZFATAL: crashes", "LOST_CONNECTION": "lost connection to test machine"}
MAX_RUNS = 400  # no scenario of syzkaller's takes as many
OWN_CONFIG = "original config"


def corpus(name: str, part: str) -> Any:
    path = CORPUS / name
    return json.loads(path.read_text())[part] if path.exists() else None


# A history, and a kernel made of rules.


@dataclass
class Tree:
    """A repository with commits known by the first line of their message."""

    path: Path
    names: dict[str, str]  # subject to hash
    parents: dict[str, list[str]]  # subjects

    def __post_init__(self) -> None:
        self.subjects = {name: subject for subject, name in self.names.items()}
        self.contained: dict[str, set[str]] = {}
        for subject, above in self.parents.items():  # parents first
            self.contained[subject] = {subject}.union(*(self.contained[parent] for parent in above))


def plant(path: Path, parents: Mapping[str, Sequence[str]], tags: Mapping[str, str], head: str, files: Mapping[str, str]) -> Tree:
    """Make a repository; HEAD is at the branch that ends in `head`."""
    place = {subject: index for index, subject in enumerate(parents)}
    order = sorted(parents, key=lambda subject: (subject == head, place[subject]))
    at = {subject: index for index, subject in enumerate(order)}
    commits = [
        Commit(
            [at[parent] for parent in parents[subject]],
            subject.encode(),
            {"file": files[subject].encode()} if subject in files else {},
            60 * place[subject],
        )
        for subject in order
    ]
    names = make_repository(path, commits, {tag: at[subject] for tag, subject in tags.items()})
    return Tree(path, dict(zip(order, names, strict=True)), {subject: list(above) for subject, above in parents.items()})


@dataclass
class RuleLaboratory(TableLaboratory):
    """Says what all runs of a revision show at once, by its subject, its config and their number."""

    shows: Callable[[str, int], Run | None] = lambda *_: OK
    results: Callable[[str, str, int], list[Run] | None] = lambda *_: None  # None: does not build
    tree: Tree | None = None
    same: Callable[[str], bool] = lambda _: False  # revisions that make one kernel
    config: str = OWN_CONFIG
    tested: list[str] = field(default_factory=list)

    def configure(self, config: str | None) -> None:
        self.config = config or OWN_CONFIG

    def build(self, commit: str) -> KernelImage:
        subject = self.subject(commit)
        if self.results(subject, self.config, 1) is None:
            raise BuildError("build: expected a kernel, got none; see the log", log="", file="", timed_out=False)
        content = f"{'same' if self.same(subject) else subject} {self.config}"
        return KernelImage(Path("kernel"), None, hashlib.sha256(content.encode()).hexdigest(), TARGET, commit)

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        self.tested.append(self.subject(kernel.commit or ""))
        yield from zip(numbers, self.results(self.tested[-1], self.config, len(numbers)) or [], strict=True)

    def subject(self, commit: str) -> str:
        assert self.tree
        return self.tree.subjects[commit]


def bisect(tree: Tree, laboratory: RuleLaboratory, minimise: Minimise | None = None, **keys: Any) -> Bisection:
    folder = tree.path.parent
    (folder / "config").write_text(OWN_CONFIG)
    laboratory.tree = tree
    given = {"repository": tree.path.name, "config": "config", "strategy": "syzkaller", "name": "demo", **KEYS, **keys}
    output = folder / hashlib.sha256(repr(sorted(given.items())).encode()).hexdigest()[:12]
    return Bisection(make_case(given, folder=folder), laboratory=laboratory, output=output, minimise=minimise)


def read_back(bisection: Bisection) -> tuple[str, syzbot.BisectionLog]:
    """The log as text, and as it is read; both say the same."""
    text = bisection_log(bisection, view(bisection))
    log = syzbot.read_log(text)
    assert syzbot.render(log) == text
    assert [test.commit for test in log.tests] == [step.commit for step in bisection.steps]
    assert [test.stage.split()[0] for test in log.tests][1:] == [step.stage.split()[0] for step in bisection.steps][1:]
    return text, log


# The scenarios of the corpus.


@cache
def scenario_history() -> tuple[dict[str, list[str]], dict[str, str], dict[str, str]]:
    """Parents, release tags, and contents of the file, by subject."""
    parents: dict[str, list[str]] = {}
    tags: dict[str, str] = {}
    files: dict[str, str] = {}
    for operation in corpus("bisect_scenarios_dev.json", "history")["operations"]:
        if operation["op"] == "commit":
            parents[operation["title"]] = operation["parents"]
            files |= {operation["title"]: operation["file_content"]} if "file_content" in operation else {}
        elif operation["op"] == "tag":
            tags[operation["name"]] = operation["at"]
    return parents, tags, files


@pytest.fixture(scope="module")
def scenario_tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    parents, tags, files = scenario_history()
    return plant(tmp_path_factory.mktemp("scenarios") / "repo", parents, tags, "905", files)


def simulated(given: dict[str, Any], tree: Tree) -> RuleLaboratory:
    """The kernel that a scenario's input describes."""

    def within(span: list[int] | None, subject: str) -> bool:
        return span is not None and subject.isdigit() and span[0] <= int(subject) <= span[1]

    def results(subject: str, config: str, n: int) -> list[Run] | None:
        if config == "baseline-fails":
            return None
        if within(given["broken"], subject) or config == "baseline-skip":
            return [Run(Outcome.BOOT_FAILED, "kernel doesn't boot")] * n
        if within(given["infra_errors"], subject):
            return [Run(Outcome.INFRA, "no machine") if 2 * i <= n else OK for i in range(n)]
        introduced, fix = given["introduced"], given["fix_commit"]
        there = (introduced is None or introduced in tree.contained[subject]) and fix not in tree.contained[subject]
        if there and config in (OWN_CONFIG, "baseline-repro", "new-minimized-config"):
            crashed = max(2, n // 6) if given["flaky"] else n
            return [Run(Outcome.CRASHED, TITLES[given["report_type"]])] * crashed + [OK] * (n - crashed)
        strays, title = 0, ""
        if given["inject_syz_failure"]:
            strays, title = 1, "SYZFATAL: test"
        elif given["inject_lost_connection"]:
            strays, title = n // 3, TITLES["LOST_CONNECTION"]
        return [Run(Outcome.CRASHED, title)] * strays + [OK] * (n - strays)

    return RuleLaboratory(results=results, same=lambda subject: within(given["same_binary"], subject))


def minimiser(baseline: str | None) -> Minimise | None:
    """Who chooses the config in a scenario."""

    def minimise(config: str | None, test: Callable[[str], Verdict]) -> str | None:
        assert baseline is not None
        if test(baseline) is Verdict.BAD:
            return baseline
        if baseline == "minimize-fails":
            raise KbenchError("minimise: expected a config, got none; see its log")
        if baseline == "minimize-succeeds" and test("new-minimized-config") is Verdict.BAD:
            return "new-minimized-config"
        return config

    return None if baseline is None else minimise


def scenarios(only: Callable[[dict[str, Any]], bool] = lambda _: True) -> list[Any]:
    every = corpus("bisect_scenarios_dev.json", "scenarios") or []
    return [pytest.param(case, id=case["name"]) for case in every if only(case)]


def scenario_bisections(case: dict[str, Any], tree: Tree, strategy: str) -> Iterator[Callable[[], Bisection]]:
    """What makes the bisection of a scenario, and the same from a commit of which only the subject is known."""
    given = case["input"]
    start = str(given["start_commit"])
    keys: dict[str, Any] = {"kind": "fix" if given["fix"] else "cause", "strategy": strategy, "cross_tree": given["cross_tree"]}
    keys |= {"max_runs": MAX_RUNS}
    bads = [tree.names[start], *([f"fake-hash-for-{tree.names[start]}-{start}"] if given["repeat_with_unknown_hash"] else [])]
    for bad in bads:
        keys |= {"bad": bad, "bad_subject": start, "name": case["name"]}
        yield partial(bisect, tree, simulated(given, tree), minimiser(given["baseline_config"]), **keys)


def found(result: BisectionResult) -> list[str]:
    """The commits a result names."""
    if result.culprit:
        return [result.culprit]
    return [commit for commit, _ in result.candidates] if result.outcome == "inconclusive" and not result.end else []


@pytest.mark.parametrize("case", scenarios())
def test_scenarios_of_syzkaller(case: dict[str, Any], scenario_tree: Tree) -> None:
    expect = case["expect"]
    for make in scenario_bisections(case, scenario_tree, "syzkaller"):
        try:
            bisection = make()
            result = bisection.run()
        except KbenchError as error:
            assert expect["error"] and (expect["error_kind"] != "infra" or isinstance(error, LostMachineError))
            continue
        read_back(bisection)
        assert bool(result.error or result.outcome == "not reproduced") is expect["error"]
        if expect["error"]:
            assert result.culprit is None and ("infra" in result.error or expect["error_kind"] != "infra")
            continue
        named = [scenario_tree.subjects[commit] for commit in found(result)]
        assert len(named) == result.n_candidates or result.end
        assert len(named) == expect["commit_count"]
        assert set(named) == set(expect.get("candidates", [expect["commit"]] if expect["commit"] else []))
        assert bool(result.crash) is expect["report"]
        assert bool(result.noop) is expect["noop_change"]
        assert bool(result.culprit_release) is expect["is_release"]
        assert (result.end and scenario_tree.subjects[result.end]) == expect["oldest_or_latest"]
        assert expect["config"] in (None, bisection.config or OWN_CONFIG)
        for bound, limit in (expect["confidence"] or {}).items():
            assert result.confidence is not None
            assert result.confidence > limit if bound == "greater_than" else result.confidence < limit


# Of the bayes strategy only the answer is expected. It takes equal signatures for one kernel, which has one answer, and does not
# walk to the oldest release when that cannot tell.
ANSWERS = scenarios(lambda case: not case["input"]["same_binary"] and not case["expect"]["error"])


@pytest.mark.skipif("bayes" not in STRATEGIES, reason="needs the strategy")
@pytest.mark.parametrize("case", ANSWERS)
def test_answers_of_the_scenarios(case: dict[str, Any], scenario_tree: Tree) -> None:
    expect, make = case["expect"], next(scenario_bisections(case, scenario_tree, "bayes"))
    bisection = make()
    result = bisection.run()
    if expect["commit"]:
        # Clean releases may have been silent: that leaves one candidate, and says how likely it is.
        assert [commit for commit, _ in result.candidates][:1] == [scenario_tree.names[expect["commit"]]]
        assert result.culprit or len(result.candidates) == 1
        return
    assert result.culprit is None
    if "candidates" in expect:
        truth = scenario_tree.names[case["input"]["introduced"] or case["input"]["fix_commit"]]
        assert truth in {commit for commit, _ in result.candidates}


# The tables of the corpus.


def table(name: str) -> list[Any]:
    tables = corpus("bisect_tables_dev.json", "tables")
    return [pytest.param(case, id=case["name"]) for case in (tables[name]["cases"] if tables else [])]


@pytest.mark.parametrize("case", table("git_bisect"))
def test_table_git_bisect(case: dict[str, Any], tmp_path: Path) -> None:
    """By the real git, and by the strategy."""
    commits = [Commit([i - 1] if i else [], b"commit %d\n" % i) for i in range(5)]
    names = make_repository(tmp_path / "repo", commits)
    history = Repository(tmp_path / "repo").history(names[4], [names[0]])
    verdicts = [case["input"]["verdicts"].get(f"commit {i}", "") for i in range(5)]
    _, left = bisect_for_real(tmp_path / "repo", names, 4, [0], verdicts.__getitem__)
    search = Search(history, bad=4, good=[0], strategy="git")
    while experiments := search.ask():
        seen = {"skip": {"skip": "build"}, "bad": {"crashes": {"BUG": 10}}, "good": {"passed": 10}}
        search.tell(Observation(experiments[0].commit, **seen[verdicts[experiments[0].commit]]))  # type: ignore[arg-type]
    wanted = {int(title.split()[1]) for title in case["expect"]["commits"]}
    assert {commit for commit, _ in search.result.candidates} == left == wanted


@pytest.mark.parametrize("case", table("release_tag_lists"))
def test_table_release_tag_lists(case: dict[str, Any]) -> None:
    assert sort_release_tags(case["input"]["tags"], case["input"]["include_rc"]) == case["expect"]


@pytest.mark.parametrize("case", table("parse_release_tag"))
def test_table_parse_release_tag(case: dict[str, Any]) -> None:
    assert list(parse_release_tag(case["input"]) or [-1] * 4) == case["expect"]


@pytest.mark.parametrize("case", table("previous_release_tags"))
def test_table_previous_release_tags(case: dict[str, Any], scenario_tree: Tree, tmp_path: Path) -> None:
    given, tree = case["input"], scenario_tree
    if given["history"] == "two-tags":
        parents: dict[str, list[str]] = {"base commit": [], "sub-branch": ["base commit"]}
        tree = plant(tmp_path / "repo", parents, {"v1.0": "base commit", "v2.0": "sub-branch"}, "sub-branch", {})
    tags = Repository(tree.path).release_tags(reachable_from=tree.names[given["commit"]], include_own=given["include_own"])
    names = [name for name, _ in tags]
    assert (sorted(names) == sorted(case["expect"])) if given["compare"] == "set" else (names == case["expect"])


@pytest.mark.parametrize("case", table("pick_release_tags"))
def test_table_pick_release_tags(case: dict[str, Any]) -> None:
    assert pick_release_tags(case["input"]) == case["expect"]


@pytest.mark.parametrize("case", table("verdict"))
def test_table_verdict(case: dict[str, Any]) -> None:
    given = case["input"]
    seen = Observation(0, passed=given["good"], crashes={"BUG": given["bad"]}, boot_failed=given["skip"], infra=given["infra"])
    verdict = decide(seen, SYZKALLER_RULE, flaky=given["flaky"])
    assert (verdict.value if verdict else "infra error") == case["expect"]


@pytest.mark.parametrize("case", table("representative_crash"))
def test_table_representative_crash(case: dict[str, Any]) -> None:
    crash, expect = representative_crash(list(map(tuple, case["input"]))), case["expect"]
    assert crash is not None
    assert (crash.title, sorted(crash.types), crash.other) == (expect["report"], sorted(expect["types"]), expect["other"])


# Our own scenarios, which run everywhere. The bug comes with "pipe: add rings" and goes with "pipe: check the ring": releases
# v1.0 to v1.3, a branch older than the bug that is merged after it went, and a tree beside.

PARENTS = {
    "Start": [],
    "Release 1.0": ["Start"],
    "mm: count pages": ["Release 1.0"],
    "Release 1.1": ["mm: count pages"],
    "pipe: tidy up": ["Release 1.1"],
    "pipe: add rings": ["pipe: tidy up"],
    "pipe: name the ring": ["pipe: add rings"],
    "Release 1.2": ["pipe: name the ring"],
    "net: queue more": ["Release 1.1"],
    "net: queue less": ["net: queue more"],
    "net: no queue": ["net: queue less"],
    "fs: open twice": ["Release 1.2"],
    "pipe: check the ring": ["fs: open twice"],
    "Merge net": ["pipe: check the ring", "net: no queue"],
    "Release 1.3": ["Merge net"],
    "fs: close once": ["Release 1.3"],
    "stable: pick one": ["Release 1.2"],
    "stable: pick two": ["stable: pick one"],
    "early: pick one": ["Release 1.1"],
}
TAGS = {"v1.0": "Release 1.0", "v1.1": "Release 1.1", "v1.2": "Release 1.2", "v1.3": "Release 1.3"}
INTRODUCED, FIXED = "pipe: add rings", "pipe: check the ring"


@pytest.fixture
def own(tmp_path: Path) -> Tree:
    return plant(tmp_path / "repo", PARENTS, TAGS, "fs: close once", {subject: subject for subject in PARENTS})


def kernel(
    tree: Tree, special: Mapping[str, Run] = {}, *, introduced: str = INTRODUCED, fixed: str = FIXED, **fields: Any
) -> RuleLaboratory:
    """A kernel with the bug from one commit to another, and what all runs of special revisions show."""

    def results(subject: str, config: str, n: int) -> list[Run]:
        there = introduced in tree.contained[subject] and fixed not in tree.contained[subject]
        return [special.get(subject, CRASH if there else OK)] * n

    return RuleLaboratory(results=results, **fields)


def named(tree: Tree, result: BisectionResult) -> set[str]:
    return {tree.subjects[commit] for commit in found(result)}


NO_BOOT = Run(Outcome.BOOT_FAILED, "VFS: unable to mount root fs")


def test_a_fix_is_not_taken_for_a_branch_older_than_the_bug(own: Tree) -> None:
    laboratory = kernel(own)
    bisection = bisect(own, laboratory, kind="fix", bad="v1.2")
    result = bisection.run()
    assert (named(own, result), result.outcome, result.noop, result.crash) == ({FIXED}, "culprit", False, "")
    assert not {"net: queue more", "net: queue less", "net: no queue"} & set(laboratory.tested)
    older = [step for step in bisection.steps if step.stage == "bisect" and not step.runs]
    assert older and all(step.verdict is Verdict.BAD and "not introduced yet" in step.reach for step in older)
    lefts = [step.candidates_left or 0 for step in bisection.steps if step.stage == "bisect"]
    assert lefts == sorted(lefts, reverse=True) and lefts[-1] == 1

    text, log = read_back(bisection)
    base, original = own.names["Release 1.1"], own.names["Release 1.2"]
    question = "determine whether the revision contains the guilty commit\n"
    assert f"{question}revision {original} crashed and is reachable\ntesting commit" in text
    assert f"{question}checking the merge base {base}\nno existing result, test the revision\ntesting commit {base} gcc\n" in text
    assert f"the bug was not introduced yet; pretend that kernel crashed\n# git bisect good {older[0].commit}\n" in text
    assert text.count(question) == sum(step.stage == "bisect" for step in bisection.steps)
    assert f"revisions tested: {len(bisection.steps) - len(older)}," in text
    tests = {test.commit: test for test in log.tests}
    assert tests[base].stage == "merge base" and tests[older[0].commit].merge_bases == (base,)
    assert [test.commit for test in log.tests if test.assumed] == [step.commit for step in older]
    assert all(test.asked is (test.stage == "bisect") for test in log.tests)
    assert {test.contains for test in log.tests} == {"", original}


def test_a_resumed_fix_bisection_assumes_the_same(own: Tree) -> None:
    keys: dict[str, Any] = {"kind": "fix", "bad": "v1.2"}
    first = bisect(own, kernel(own), **keys)
    first.run()
    again = bisect(own, kernel(own), **keys)
    assert again.read() == first.result
    assert [(step.commit, step.candidates_left) for step in again.steps] == [
        (step.commit, step.candidates_left) for step in first.steps
    ]


def test_a_fix_for_another_tree_is_searched_from_where_that_forked(own: Tree) -> None:
    bad = own.names["stable: pick two"]
    with pytest.raises(RevisionError, match="cross_tree = true"):
        bisect(own, kernel(own), kind="fix", bad=bad)
    bisection = bisect(own, kernel(own), kind="fix", bad=bad, cross_tree=True)
    assert named(own, bisection.run()) == {FIXED}
    assert [(step.stage, own.subjects[step.commit]) for step in bisection.steps[:3]] == [
        ("original", "stable: pick two"),
        ("merge base", "Release 1.2"),
        ("head", "fs: close once"),
    ]
    text, log = read_back(bisection)
    head, base = own.names["fs: close once"], own.names["Release 1.2"]
    assert f"determining the merge base between {bad} and {head}\n{base}/Release 1.2 is a merge base, check if it has" in text
    assert log.range == (head, base)


@pytest.mark.parametrize(("special", "outcome"), [({}, "not in range"), ({"Release 1.1": NO_BOOT}, "inconclusive")])
def test_a_tree_that_forked_before_the_bug_has_no_fix_to_search(own: Tree, special: dict[str, Run], outcome: str) -> None:
    """The merge base has to crash: else nobody knows that what is clean was ever fixed."""
    laboratory = kernel(own, {"early: pick one": CRASH, **special})
    bisection = bisect(own, laboratory, kind="fix", bad=own.names["early: pick one"], cross_tree=True)
    result = bisection.run()
    assert (result.outcome, result.end, result.crash, named(own, result)) == (outcome, own.names["Release 1.1"], "", set())
    assert laboratory.tested == ["early: pick one", "Release 1.1"]
    text, log = read_back(bisection)
    assert "reproducer does not crash the merge base" in text and "commit msg: Release 1.1" in text
    assert log.outcome == "not in range"


def test_cross_tree_says_nothing_of_a_cause(own: Tree) -> None:
    with pytest.raises(CaseError, match="cross_tree"):
        bisect(own, kernel(own), bad="master", cross_tree=True)


@pytest.mark.parametrize("kind", ["cause", "fix"])
def test_a_rewritten_commit_is_found_by_its_subject(own: Tree, kind: str) -> None:
    keys: dict[str, Any] = {"kind": kind, "bad": "f" * 40, "bad_subject": "fs: open twice"}
    bisection = bisect(own, kernel(own), **keys)
    result = bisection.run()
    assert bisection.steps[0].commit == own.names["fs: open twice"]
    assert named(own, result) == {FIXED if kind == "fix" else INTRODUCED}
    assert f"rewritten commit {own.names['fs: open twice']} reidentified by title 'fs: open twice'" in read_back(bisection)[0]
    with pytest.raises(RevisionError, match="nor is there a commit with the subject 'fs: open thrice'"):
        bisect(own, kernel(own), **keys | {"bad_subject": "fs: open thrice"})


def test_a_commit_the_head_does_not_have_is_found_by_its_own_subject(tmp_path: Path) -> None:
    """Rebased: the old one is there still, and in a fix bisection it is the new one that counts; a cause has its own history."""
    tree = plant(
        tmp_path / "repo",
        {"v": [], "x: old base": ["v"], "x: break [it] (again)": ["x: old base"], "y": ["v"], "z: mend": ["y"]},
        {},
        "z: mend",
        {},
    )
    git(tree.path, "branch", "old", tree.names["x: break [it] (again)"])
    new = git(
        tree.path, "commit-tree", "-p", tree.names["y"], "-m", "x: break [it] (again)", f"{tree.names['y']}^{{tree}}"
    ).strip()
    head = git(tree.path, "commit-tree", "-p", new, "-m", "z: mend", f"{new}^{{tree}}").strip()
    git(tree.path, "update-ref", "refs/heads/master", head)
    tree = Tree(tree.path, tree.names | {"new": new, "head": head}, tree.parents | {"new": ["y"], "head": ["new"]})
    bisection = bisect(tree, kernel(tree, introduced="new", fixed="head"), kind="fix", bad="old")
    assert bisection.plan.hash(bisection.plan.original) == new
    assert bisection.run().culprit == head
    assert bisect(tree, kernel(tree), bad="old", bad_subject="z: mend", good=tree.names["v"]).plan.rewritten == ""


def test_an_untestable_stretch_is_a_list(own: Tree) -> None:
    stretch = ("pipe: tidy up", INTRODUCED, "pipe: name the ring")
    bisection = bisect(own, kernel(own, dict.fromkeys(stretch, NO_BOOT)), bad="v1.2")
    result = bisection.run()
    assert (result.outcome, named(own, result)) == ("inconclusive", {*stretch, "Release 1.2"})
    assert (result.crash, result.end, result.error, result.noop) == ("", None, "", None)
    assert set(read_back(bisection)[1].candidates) == {own.names[subject] for subject in (*stretch, "Release 1.2")}


def test_an_oldest_release_that_cannot_be_tested_is_an_error(own: Tree) -> None:
    bisection = bisect(
        own, kernel(own, dict.fromkeys(TAGS.values(), NO_BOOT)), bad="fs: open twice", bad_subject="fs: open twice"
    )
    result = bisection.run()
    assert (result.outcome, result.culprit) == ("inconclusive", None)
    assert result.error == read_back(bisection)[1].error == "oldest tested release had kernel build, boot or test errors"


@pytest.mark.parametrize("shown", [CRASH, NO_BOOT])
def test_a_head_that_still_crashes_or_cannot_be_tested_is_named(own: Tree, shown: Run) -> None:
    bisection = bisect(own, kernel(own, {"fs: close once": shown}), kind="fix", bad="v1.2")
    result = bisection.run()
    assert result.outcome == ("not in range" if shown is CRASH else "inconclusive")
    assert (result.end, result.crash, named(own, result)) == (own.names["fs: close once"], shown.title, set())
    assert read_back(bisection)[1].outcome == result.outcome


def test_a_bug_older_than_all_releases_names_the_oldest(own: Tree) -> None:
    result = bisect(own, kernel(own, introduced="Start"), bad="v1.2").run()
    assert (result.outcome, result.end, result.crash) == ("older than range", own.names["Release 1.0"], CRASH.title)


@pytest.mark.parametrize(
    ("introduced", "alike", "noop"),
    [(INTRODUCED, ("pipe: tidy up", INTRODUCED), True), (INTRODUCED, (INTRODUCED, "pipe: name the ring"), False),
     ("Merge net", (FIXED, "Merge net"), False)],
)  # fmt: skip
def test_a_culprit_that_changes_nothing_is_told(own: Tree, introduced: str, alike: tuple[str, ...], *, noop: bool) -> None:
    """A merge may well be the kernel of one of its parents. Revisions of one kernel are tested each, as syzkaller does."""
    laboratory = kernel(own, introduced=introduced, fixed="", same=lambda subject: subject in alike)
    result = bisect(own, laboratory, bad="master").run()
    assert (named(own, result), result.noop, result.culprit_release) == ({introduced}, noop, "")


@pytest.mark.parametrize("kind", ["cause", "fix"])
def test_a_release_commit_is_named_as_such(own: Tree, kind: str) -> None:
    at: dict[str, Any] = {"introduced": "Release 1.1"} if kind == "cause" else {"fixed": "Release 1.3"}
    result = bisect(own, kernel(own, {}, **at), kind=kind, bad="v1.2").run()
    assert result.culprit_release == ("v1.1" if kind == "cause" else "v1.3")


def test_machines_that_are_lost_end_the_bisection(own: Tree) -> None:
    """syzkaller's does not go on without an answer; what was found stays."""
    lost = {subject: Run(Outcome.INFRA, "no machine") for subject in ("Release 1.1", "Release 1.0")}
    bisection = bisect(own, kernel(own, lost), bad="v1.2")
    result = bisection.run()
    assert (result.outcome, result.culprit) == ("inconclusive", None)
    assert result.error.startswith("unable to determine the verdict because of infra errors")
    assert own.names["Release 1.1"] in result.error
    assert [step.stage for step in bisection.steps] == ["original", *["release v1.1"] * 3]
    assert read_back(bisection)[1].outcome == "error"
    other = bisect(own, kernel(own, lost), bad="v1.2", strategy="git", good="v1.0")
    assert other.run().culprit and not (other.result and other.result.error)


def test_the_crash_of_the_culprit_stands_for_its_crashes(own: Tree) -> None:
    """The most frequent kind, not the first or the most frequent title; lost connections and few hangs do not count."""
    titles = ["lost connection to test machine", "INFO: task hung in g", "KASAN: use-after-free Read in a", "WARNING in b"]
    titles += ["KASAN: use-after-free Read in c", "WARNING in d", "WARNING in d", "KASAN: use-after-free Read in e"]
    titles += ["KASAN: use-after-free Read in f", "WARNING in b"]
    runs = [Run(Outcome.CRASHED, title) for title in titles]
    crash = representative_crash([(title, type_of(title)) for title in titles])
    assert crash is not None and crash.title == "KASAN: use-after-free Read in a" and crash.other
    assert shown_by(Step("a" * 40, "", "bisect", Verdict.BAD, tuple(runs))) == crash.title

    def results(subject: str, config: str, n: int) -> list[Run]:
        return [runs[i % len(runs)] for i in range(n)] if INTRODUCED in own.contained[subject] else [OK] * n

    bisection = bisect(own, RuleLaboratory(results=results), bad="v1.2")
    assert bisection.run().crash == crash.title
    assert f"representative crash: {crash.title}, types: [" in read_back(bisection)[0]


# Configs.


def test_a_smaller_config_takes_the_place_of_the_cases_own(own: Tree) -> None:
    """What shows the bug is gone on with; the rate is that of the new config."""

    def results(subject: str, config: str, n: int) -> list[Run] | None:
        if config == "broken":
            return None
        if INTRODUCED not in own.contained[subject] or config == "bare":
            return [OK] * n
        return [CRASH] * (n // 2) + [OK if config == "small" else CRASH] * (n - n // 2)

    def minimise(config: str | None, test: Callable[[str], Verdict]) -> str | None:
        assert config == OWN_CONFIG
        verdicts.append([test("broken"), test("bare"), test("small")])
        return "small"

    verdicts: list[list[Verdict]] = []
    bisection = bisect(own, RuleLaboratory(results=results), minimise, bad="v1.2")
    result = bisection.run()
    assert verdicts == [[Verdict.SKIP, Verdict.GOOD, Verdict.BAD]]
    assert (named(own, result), bisection.config, result.noop) == ({INTRODUCED}, "small", False)
    assert result.confidence == 1 - 2**-10, "one clean revision, where each run crashes at even odds"
    assert [step.stage.split()[0] for step in bisection.steps[:4]] == ["original", "config", "config", "config"]
    read_back(bisection)
    again = bisect(own, RuleLaboratory(results=lambda *_: []), minimise, bad="v1.2")
    assert (again.read(), again.config) == (result, "small"), "from the journal"


def test_a_config_nobody_tested_is_refused(own: Tree) -> None:
    with pytest.raises(KbenchError, match="test it first"):
        bisect(own, kernel(own), lambda *_: "other", bad="v1.2").run()
    stays = bisect(own, kernel(own), lambda config, _: config, bad="v1.2", name="stays")
    assert named(own, stays.run()) == {INTRODUCED} and stays.config is None


def test_this_machine_builds_with_the_config_of_now(own: Tree) -> None:
    keys = KEYS | {"build": "cp {config} {build_dir}/kernel", "bad": "v1.2", "good": "v1.1", "repository": own.path.name}
    repository, target = Repository(own.path), make_case(keys | {"config": "config"}, folder=own.path.parent).resolve()
    laboratory = LocalLaboratory(repository, target, config="own", reproducer=None, store=Store(own.path.parent / "store"))
    contents = []
    for config in (None, "smaller", None):
        laboratory.configure(config)
        contents.append(laboratory.build(own.names["Start"]).path.read_text())
    laboratory.close()
    assert contents == ["own", "smaller", "own"]
