"""A bisection log from the parts of a bisection, in the form syzkaller prints since 2024. Read `compose` first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from kbench.errors import LogError
from kbench.records import Outcome, Run
from kbench.syzbot.durations import go_duration
from kbench.syzbot.forms import Line, foreign, read_line
from kbench.syzbot.git import git_left
from kbench.syzbot.log import ERRORS, BisectionLog
from kbench.syzbot.revisions import Test

_BLANK = Line("text", ("",))

# The sentence for an outcome that names no commit: syzkaller's where it has one for this kind, else an error.
_SENTENCES = {
    ("older than range", "cause"): "older, 2023",
    ("not in range", "fix"): "unfixed, trees",
    ("inconclusive", "fix"): "head failed",
}
_ERROR_OF = {outcome: sentence for sentence, outcome in ERRORS.items()}


def compose(
    *,
    kind: str,
    start: str,
    tests: Sequence[Test],
    host: str = "kbench",
    started: str = "",
    syzkaller: str = "",
    rewritten: str = "",
    head: str = "",
    release_tags: Sequence[str] = (),
    n_release_tags: int = 0,
    ends: tuple[str, str] | None = None,
    culprit: tuple[str, str] | None = None,
    culprit_text: str = "",
    candidates: Sequence[str] = (),
    error_probability: float | None = None,
    culprit_signature: str = "",
    parent_signature: str = "",
    repro_chance: float | None = None,
    total_s: float = 0.0,
    build_s: float = 0.0,
    test_s: float = 0.0,
    outcome: str = "",
    error: str = "",
    message: str = "",
    recipients: Sequence[str] | None = None,
    copies: Sequence[str] = (),
    crash_title: str = "",
    report: str = "",
) -> BisectionLog:
    """Build the log of a bisection; `render` prints it, and reading that gives an equal log.

    Give what there is. `tests` are in the order they were run, each made by `tested`; those of stage "bisect" carry
    git's verdict, and `revisions_left` and `steps_left` as they stood before it (`git_steps`). A finished bisection:

        log = compose(kind="cause", start=bad, started="2026-01-31 10:02:14 +0000 UTC", release_tags=["v1.1", "v1.0"],
                      n_release_tags=2, ends=(bad, good), culprit=(commit, subject), culprit_text=text,
                      total_s=61.5, build_s=20.0, test_s=40.0, crash_title=title, report=report, tests=[
            tested(bad, "original", runs, signature=signature),
            tested(good, "release v1.0", runs, signature=signature),
            tested(middle, "bisect", runs, subject=subject, verdict=Verdict.BAD, revisions_left=12, steps_left=4),
        ])

    Parameters
    ----------
    kind : str
        "cause" or "fix". In a fix log the verdicts are git's all the same: a clean run is "bad".
    start : str
        The commit the bug was seen on; "bad" of a cause, "good" of a fix bisection.
    started : str
        When, as Go prints a time. "" leaves the line with the host out.
    rewritten : str
        The subject by which `start` was found again.
    head : str
        The newer end of a fix bisection; printed where the trees of the two ends fork.
    release_tags, n_release_tags
        Releases picked for the walk back, newest first, and how many there were; none: no such line.
    ends : (str, str)
        The (bad, good) ends git was started with; None: the search was not reached.
    culprit, candidates
        Hash and title of the culprit; or else the hashes one of which it is.
    culprit_text : str
        Author, date, message and changed files, as `git show --stat` prints them.
    outcome, error, message
        Without culprit and candidates: the outcome in the words of a search, with the `message` (first line) of the
        commit at that end of the range; or why the bisection broke. An error wins over everything.
    recipients : sequence of str
        Mail addresses; None: no such lines.
    report : str
        The crash report, printed to the end of the log; needs `crash_title`.

    Raises
    ------
    LogError
        If the kind is unknown, or a hash, signature or verdict has no place in a log.
    """
    if kind not in ("cause", "fix"):
        raise LogError(f"log: expected kind 'cause' or 'fix', got {kind!r}; say which bisection this is")
    lines = [
        *([_line("host", host, started)] if started else []),
        _line(kind, start),
        _line("syzkaller", syzkaller),
        *([_line("rewritten", start, rewritten), _BLANK] if rewritten else []),
        _line("original", start),
        _BLANK,
        *_walk(tests, release_tags, n_release_tags, (start, head)),
        *([Line("merge base clean")] if head and outcome and _forks_clean(tests) else []),
        *_search(tests, ends, culprit, culprit_text, candidates),
        *_if(error_probability, "error probability", "{:.2f}"),
        *_parent(tests),
        *_signatures(culprit_signature, parent_signature),
        *_if(repro_chance, "flaky", "{:.2f}"),
        _line("costs", str(sum(not test.assumed for test in tests)), *map(go_duration, (total_s, build_s, test_s))),
        *_conclusion(kind, "not in range" if _forks_clean(tests) else outcome, error, culprit, candidates),
    ]
    lines += [_line("message", message)] if message else []
    if recipients is not None:
        lines += [_line("recipients", _quoted(recipients)), _line("copies", _quoted(copies))]
    lines += [_line("crash", _one_line(crash_title))] if crash_title else []
    return BisectionLog(tuple(lines), report=report if crash_title else "")


def tested(commit: str, stage: str, runs: Iterable[Run] = (), *, fold: bool = False, **fields: object) -> Test:
    """Make a `Test` of what was run: without the times and consoles, which a log does not hold.

    `fold` prints equal runs as "all runs: …", as syzkaller does; how many they were is then lost.
    Other fields of `Test` by name.
    """
    plain = tuple(Run(run.outcome, "" if run.outcome is Outcome.OK else _one_line(run.title)) for run in runs)
    if fold and plain and len(set(plain)) == 1:
        return Test(commit, stage, plain[:1], all_runs=True, **fields)  # type: ignore[arg-type]  # Test checks the names
    return Test(commit, stage, plain, **fields)  # type: ignore[arg-type]  # Test checks the names


def _line(form: str, *values: str) -> Line:
    # What is printed must be read as the same line, whatever the caller handed in.
    line = Line(form, values)
    if "\n" in str(line) or read_line(str(line)) != line:
        raise LogError(f"log: expected a line of the form {form!r}, got {str(line)[:120]!r}; check its fields")
    return line


def _one_line(text: str) -> str:
    return text.replace("\r", "").replace("\n", " ").strip()


def _if(value: float | None, form: str, pattern: str) -> list[Line]:
    return [] if value is None else [_line(form, pattern.format(value))]


def _quoted(addresses: Sequence[str]) -> str:
    return " ".join(f'"{"".join(address.split())}"' for address in addresses)


def _test_lines(test: Test) -> Iterator[Line]:
    yield _line("test", test.commit, test.toolchain)
    if test.compiler:
        yield _line("compiler", _one_line(test.compiler))
    if test.signature:
        yield _line("signature", test.signature)
    if test.all_runs:
        yield _line("all runs", str(test.runs[0]))
    else:
        yield from (_line("run", str(number), str(run)) for number, run in enumerate(test.runs))
    if test.failure and test.runs:
        yield _line("repro failed", _one_line(test.failure))
    elif test.failure:
        yield from foreign(test.failure)
        yield _line("build failed", test.commit, _one_line(test.failure.partition("\n")[0]))
    if test.representative:
        yield _line("representative", _one_line(test.representative), " ".join(test.types))
    if test.false_negative_chance is not None:
        yield _line("false negative", f"{test.false_negative_chance:.3f}")
    if test.undetermined:
        yield _line("undetermined", *map(str, test.undetermined))


def _walk(tests: Sequence[Test], release_tags: Sequence[str], n_release_tags: int, trees: tuple[str, str]) -> Iterator[Line]:
    forked = False
    for test in _split(tests)[0]:
        stage, _, tag = test.stage.partition(" ")
        if stage == "release":
            if release_tags:
                yield _line("picked", " ".join(release_tags), str(n_release_tags))
                release_tags = ()
            yield _line("release", tag)
        elif stage == "head":
            yield _line("head", test.commit)
        elif test.stage == "merge base":
            if trees[1] and not forked:
                yield _line("merge bases", *trees)
            forked = True
            yield _line("merge base", test.commit, test.subject)
        yield from _test_lines(test)


def _split(tests: Sequence[Test]) -> tuple[list[Test], list[Test]]:
    # The tests of ends and releases, and those of the search. Merge bases come with the ends, where trees fork, or, once the
    # head was tested, with the question if the bug was there yet.
    walk: list[Test] = []
    search: list[Test] = []
    for test in tests:
        of_search = test.stage == "bisect" or (test.stage == "merge base" and (search or any(t.stage == "head" for t in walk)))
        if test.stage != "parent":
            (search if of_search else walk).append(test)
    return walk, search


def _forks_clean(tests: Sequence[Test]) -> bool:
    # Did it end where the trees fork? One sentence says that the bug is not there, and that nobody can tell.
    walk, search = _split(tests)
    return bool(walk) and walk[-1].stage == "merge base" and not search


def _search(
    tests: Sequence[Test],
    ends: tuple[str, str] | None,
    culprit: tuple[str, str] | None,
    culprit_text: str,
    candidates: Sequence[str],
) -> Iterator[Line]:
    if ends is None:
        return
    yield _line("bisect start", *ends)
    bases: dict[str, Test] = {}  # tested in answer to the question about the next revision
    for test in _split(tests)[1]:
        if test.stage == "merge base":
            bases[test.commit] = test
            continue
        if test.revisions_left is not None:
            yield read_line(git_left(test.revisions_left, test.steps_left or 0))
        yield from [_line("checked out", test.commit, test.subject), _BLANK]
        yield from _question(test, bases)
        bases = {}
        if not test.assumed:
            yield from _test_lines(test)
        if test.verdict is not None:
            yield _line("bisect", test.verdict.value, test.commit)
    for base in bases.values():  # the log is of a bisection that goes on
        yield from [_line("merge base", base.commit, base.subject), *_test_lines(base)]
    if culprit:
        yield _line("first", culprit[0], "bad")
        yield from foreign(culprit_text) if culprit_text else []
        yield _BLANK
    elif candidates:
        yield from [Line("skips left"), _line("any of", "bad")]
        yield from (_line("hash", candidate) for candidate in candidates)
        yield from [Line("stuck"), _BLANK]


def _question(test: Test, bases: Mapping[str, Test]) -> Iterator[Line]:
    # Was the bug there yet?
    if not test.asked:
        return
    yield Line("reach")
    if test.contains:
        yield _line("reached", test.contains)
    for base in test.merge_bases:
        yield _line("reach by merge base", base)
        if base in bases:
            yield Line("reach by test")
            yield from _test_lines(bases[base])
    if test.assumed:
        yield Line("not reached")


def _parent(tests: Sequence[Test]) -> Iterator[Line]:
    for test in (test for test in tests if test.stage == "parent"):
        yield _line("parent", test.commit)
        yield from _test_lines(test)


def _signatures(culprit: str, parent: str) -> list[Line]:
    return [_line("culprit signature", culprit), _line("parent signature", parent)] if culprit or parent else []


def _conclusion(kind: str, outcome: str, error: str, culprit: tuple[str, str] | None, candidates: Sequence[str]) -> list[Line]:
    end = "bad" if kind == "cause" else "good"
    if error:
        first, _, rest = error.partition("\n")
        return [_line("error", first), *(foreign(rest) if rest else [])]
    if culprit:
        return [_line("culprit", end, *culprit)]
    if candidates:
        return [_line("inconclusive", end), *(_line("hash", candidate) for candidate in candidates)]
    if (outcome, kind) in _SENTENCES:
        return [Line(_SENTENCES[outcome, kind])]
    return [_line("error", _ERROR_OF.get(outcome, outcome))] if outcome else []
