"""The figures about what one sees: how fast 20,000 candidates are drawn, and what an update costs: `make bench-widgets`.

A notebook bisects a made-up history for as long as it takes to tell a few revisions, updates each widget and is saved; its
export is opened in Chromium. CPU seconds hold on a busy machine, frames a second do not. Nothing here is asserted by a test.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat

from kbench import notebook
from kbench.lab import create
from kbench.widgets.export import export_html
from tests import views
from tests.fast_import import Commit, make_repository
from tests.jupyter_browser import chromium, open_page, shoot

COMMITS, CULPRIT, TOPIC = 20_000, 7777, 8
PARAMETERS = "folder: str = ''  # folder, of the case"
TOLD = f"""
import time
from pathlib import Path
from kbench.bisection import Bisection
from kbench.bisection.case import load_case
from kbench.evidence import Observation
from kbench.notebook import leave_result
from kbench.widgets import BeliefWidget, RatesWidget, SearchWidget
from tests import views

bisection = Bisection(load_case(Path(folder) / "case.toml"), output=Path(folder) / "journal")
search, asked_ms = bisection.search, []
search.tell(Observation(bisection.plan.bad, passed=4, crashes={{"{views.TITLE}": 6}}))
search.tell(Observation(0, passed=10))
belief = BeliefWidget(bisection)
for _ in range(6):
    started = time.process_time()
    [asked, *_] = search.ask()
    asked_ms.append(1000 * (time.process_time() - started))
    crashes = {{"{views.TITLE}": 3}} if asked.commit >= {CULPRIT} else {{}}
    search.tell(Observation(asked.commit, passed=0 if crashes else 10, crashes=crashes))
search.ask()
shown = views.make_view(Path(folder) / "consoles")
tested, rates = SearchWidget(shown), RatesWidget(shown)
"""
# A synced trait is sent only when it has changed.
UPDATED = """
def update_ms(work, times=50):
    started = time.process_time()
    for number in range(times):
        work(number)
    return 1000 * (time.process_time() - started) / times

early = views.make_view(Path(folder) / "consoles", steps=10)
found = {
    "asked_ms": max(asked_ms),
    "BeliefWidget": update_ms(lambda number: (setattr(belief, "belief", b""), belief.update(bisection))),
    "SearchWidget": update_ms(lambda number: tested.update(shown if number % 2 else early)),
    "RatesWidget": update_ms(lambda number: rates.update(shown if number % 2 else early)),
}
"""
SHOWN = ("belief", "tested", "rates")
LEAVE = "leave_result(found)"

# Notes on the page's own clock, from the start of its navigation, when the frame with the timeline was over.
DRAWN = """
new MutationObserver((_, observer) => {
  if (!document.querySelector(".kb-belief-canvas")) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => (window.drawn = performance.now())));
}).observe(document, { childList: true, subtree: true });
"""
# Pans back and forth for two seconds, a move a frame; a real pointer was pressed before.
PAN = """
async () => {
  const canvas = document.querySelector(".kb-belief-canvas"), box = canvas.getBoundingClientRect();
  const frames = [await new Promise(requestAnimationFrame)];
  while (frames.at(-1) - frames[0] < 2000) {
    const clientX = box.left + box.width * (0.5 + 0.4 * Math.sin(frames.length / 20));
    canvas.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY: box.top + 60, pointerId: 1, bubbles: true }));
    frames.push(await new Promise(requestAnimationFrame));
  }
  return frames;
}
"""


def say(what: str, figure: str) -> None:
    print(f"{what + ':':<48}{figure}", flush=True)


def make_case(folder: Path) -> None:
    """A case of the lab's target whose history has 20,000 candidates, topics merged; nothing of it is built."""
    create(folder / "lab", seed=1, commits=60)
    for name in ("config", "repro.txt"):
        shutil.copy(folder / "lab" / name, folder)
    commits = [Commit((), b"first\n", {"a": b"0"})]
    for number in range(1, COMMITS + 1):
        parents = (number - 1,) if number % TOPIC else (number - TOPIC, number - 1)
        commits.append(Commit(parents, b"mm: change %d\n" % number, {f"file{number % 50}": b"%d" % number}))
    names = make_repository(folder / "repo", commits)
    case = {"name": "long", "kind": "cause", "target": "lab", "repository": "repo", "config": "config", "bad": "master"}
    lines = [f'{key} = "{value}"\n' for key, value in {**case, "good": names[0], "reproducer": "repro.txt"}.items()]
    (folder / "case.toml").write_text("".join(lines))


def run_notebook(folder: Path) -> Path:
    """Return the executed notebook, having said what its updates cost."""
    cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]  # type: ignore[no-untyped-call]
    cells += [nbformat.v4.new_code_cell(code) for code in (TOLD, *SHOWN, UPDATED, LEAVE)]  # type: ignore[no-untyped-call]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})  # type: ignore[no-untyped-call]
    nbformat.write(made, folder / "in.ipynb")  # type: ignore[no-untyped-call]
    output = folder / "out.ipynb"
    found = notebook.execute(folder / "in.ipynb", output, {"folder": folder}, timeout_s=300)
    say(f"the next question, of {COMMITS} candidates", f"{found['asked_ms']:.0f} ms CPU at most, once a revision")
    for name in ("BeliefWidget", "SearchWidget", "RatesWidget"):
        say(f"an update of {name}", f"{found[name]:.1f} ms CPU  (10 a second take {found[name]:.0f}% of a core)")
    say(f"the notebook with {COMMITS} commits", f"{output.stat().st_size / 1e6:.2f} MB  (wanted: 2)")
    return output


def bench_page(browser: Any, page: Path) -> None:
    """How soon the timeline is there in Chromium, and how it is panned."""
    with open_page(browser, "about:blank") as watched:
        watched.page.add_init_script(DRAWN)
        watched.page.goto(page.as_uri())
        drawn = watched.page.wait_for_function("window.drawn").json_value()
        canvas = watched.page.locator(".kb-belief-canvas")
        canvas.scroll_into_view_if_needed()
        canvas.focus()
        box = canvas.bounding_box()
        watched.page.mouse.move(box["x"] + box["width"] * CULPRIT / COMMITS, box["y"] + 60)
        for _ in range(9):
            watched.page.mouse.wheel(0, -100)
        watched.page.mouse.down()
        session = watched.page.context.new_cdp_session(watched.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = busy_s(session)
        frames = watched.page.evaluate(PAN)
        busy_ms = 1000 * (busy_s(session) - before) / len(frames)
        watched.page.mouse.up()
        assert (watched.errors, watched.requests) == ([], [])
        shoot(watched.page, "bench_belief")
    steps = sorted(later - sooner for sooner, later in itertools.pairwise(frames))
    rate = 1000 * len(steps) / (frames[-1] - frames[0])
    say(f"a page with {COMMITS} candidates drawn", f"{drawn / 1000:.2f} s  (wanted: 1)")
    slow = f"19 of 20 within {steps[len(steps) * 19 // 20]:.0f} ms, {busy_ms:.1f} ms CPU a frame"
    say("frames a second while panned", f"{rate:.0f}  ({slow}; wanted: 60)")


def busy_s(session: Any) -> float:
    """CPU seconds the page's thread has worked."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def bench_import() -> None:
    """Seconds to import kbench, beyond what Python itself takes; the best of nine."""
    times = {}
    for code in ("pass", "import kbench"):
        each = []
        for _ in range(9):
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", code], check=True)
            each.append(time.monotonic() - started)
        times[code] = min(each)
    say("import kbench", f"{times['import kbench'] - times['pass']:.2f} s  (wanted: 0.30)")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kbench-bench-"))
    try:
        bench_import()
        make_case(folder)
        executed = run_notebook(folder)
        export_html(executed, folder / "out.html")
        say("its export", f"{(folder / 'out.html').stat().st_size / 1e6:.2f} MB")
        with chromium() as browser:
            bench_page(browser, folder / "out.html")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
