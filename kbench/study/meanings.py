"""What each figure of data/priors.json counts, as the file says it. Read `MEANINGS`."""

from __future__ import annotations

MEANINGS = {
    "rate": (
        "reproduction rate of a bug that reproduces: p_one at exactly 1, else Beta(a, b); tests of the original commit "
        "that crashed once or more"
    ),
    "drift": (
        "revisions with the bug, seen to crash, where the original commit crashed in all runs: p that the rate is "
        "Beta(a, b) instead; p_again after one with a clean run, p_after_full after one without; p_full_flaky: where "
        "the original commit did not crash in all runs, share of the revisions that did"
    ),
    "own_title": (
        "revisions with the bug, seen to crash: p that a title of the original commit shows, p_changed that none does "
        "(by stage: p_changed_releases, p_changed_bisect; p_changed_again after one, p_changed_after_own else); share "
        "of their crashes with such a title when one shows; p_without: one shows on a revision without the bug; p_two: "
        "the original commit shows two titles or more; p_kind: none shows, but one of the same kind of crash or of the same "
        "function, p_function: of the same function"
    ),
    "intruder": (
        "revisions without the bug: p that another crash shows, p_bisection of the bisections that met one; p_once of those "
        "it was one run of ten or twenty, else its rate is Beta(a, b), p_own with a title of the original commit, p_kind and "
        "p_function as above; p_next that the revision tested after one shows it too, p_again any later one (all are "
        "ancestors of it, so without the bug), p_same_title then of the same title"
    ),
    "silence": (
        "revisions with the bug that were called good, where the original commit crashed in all runs, so not by bad luck: "
        "p_release of a release, given that the later ones showed it, by_release the same for the first, second, … "
        "twelfth and older release back; p_revision of a revision in git's bisection; p_range of the bisections of a "
        "right range that met one; p_walk of the walks over one release with the bug or more that did; p_all of all "
        "revisions, bad luck included; hidden: so many times as much is there, of later releases and of a range, and the "
        "newest release is so much of a whole one"
    ),
    "trace": (
        "the named commit touches a file of the crash's trace: p where it is the culprit, p_missed where the bisection went "
        "wrong by a missed bug, p_alarm by a false alarm; merges and what has no trace are not counted; merges: their share of "
        "the same three"
    ),
    "skip": (
        "revisions that cannot be tested: p_first of the first one, p_after_skip and p_after_tested of the next, p of "
        "all, p_none of the bisections without one, shares: per bisection, the 5th, 15th, … 95th percentile; ..._known: "
        "of the bisections with a known culprit, up to the first wrong verdict"
    ),
    "depth": (
        "the k-th release back is the first without the bug: smooth is P(1) to P(36), from the seventh on the same for "
        "releases that lie together; of those further back each has tail times the share of the one before (same mean "
        "from the seventh on); all: P(1) to P(36) and P(more), culprits that could not be located counted as the "
        "others; p_older: older than the oldest testable release; releases: how many there are to walk, the 5th, 15th, "
        "… 95th percentile"
    ),
    "times": (
        "seconds a build, and a run of ten on each revision, lognormal over bisections: mu and sd of the natural logarithm"
    ),
    "not_reproduced": (
        "bisections whose original commit did not show the bug: p_clean all its runs passed, p_luck so often by bad "
        "luck under the rate, p_absent the rest of it, 1% at least, p_untested nothing ran"
    ),
}
