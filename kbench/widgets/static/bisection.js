// Draws one bisection: its search, or its crash rates. A view: it reads the model and never writes to it.
//
// Every string comes from a kernel, a log or a commit, so text reaches the page through textContent alone.
// The same file is the widget's module in Jupyter and the drawing code of a page without Jupyter (standalone.js).

const SVG = "http://www.w3.org/2000/svg";
const ROW = 26;
const TOP = 58;
const RUN_WORDS = { o: "ok", c: "crashed", b: "boot failed", t: "test failed", i: "infra problem" };
// Height of a run's bar, as a share of the row: outcomes differ by more than colour.
const RUN_HEIGHT = { o: 0.34, c: 1, b: 0.67, t: 0.67, i: 0.17 };

function element(tag, className, text, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  node.append(...children);
  return node;
}

function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const short = (commit, digits = 10) => commit.slice(0, digits);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const cut = (text, length) => (text.length <= length ? text : text.slice(0, Math.max(1, length - 1)) + "…");
const seconds = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(2)) + " s";
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

// --- marks -----------------------------------------------------------------------------------------------------------

// A verdict's mark. Shape and colour both tell it: disc good, diamond bad, open square skip, ring not yet known.
function mark(verdict, x, y, { share = null, size = 6 } = {}) {
  if (verdict === "bad")
    return shape("path", { class: "kb-mark kb-bad", d: `M${x} ${y - size - 1.5}l${size + 1.5} ${size + 1.5}l${-size - 1.5} ${size + 1.5}l${-size - 1.5} ${-size - 1.5}z` });
  if (verdict === "good") return shape("circle", { class: "kb-mark kb-good", cx: x, cy: y, r: size });
  if (verdict === "skip") {
    const s = size - 0.5;
    return shape("path", { class: "kb-mark kb-skip", d: `M${x - s} ${y - s}h${2 * s}v${2 * s}h${-2 * s}zM${x - s} ${y + s}l${2 * s} ${-2 * s}` });
  }
  const group = shape("g", { class: "kb-mark kb-open" });
  const around = 2 * Math.PI * size;
  group.append(shape("circle", { class: "kb-ring", cx: x, cy: y, r: size }));
  if (share !== null)
    group.append(shape("circle", { class: "kb-arc", cx: x, cy: y, r: size, "stroke-dasharray": `${around * share} ${around}`, transform: `rotate(-90 ${x} ${y})` }));
  return group;
}

function runBars(outcomes, planned, x, y, width, height) {
  const group = shape("g", { class: "kb-runs" });
  const count = Math.max(planned, outcomes.length, 1);
  const step = Math.min(7, width / count);
  for (let index = 0; index < planned; index += 1) {
    const letter = outcomes[index];
    const tall = letter ? RUN_HEIGHT[letter] * height : 2;
    group.append(shape("rect", { class: letter ? `kb-run-${letter}` : "kb-run-todo", x: x + index * step, y: y + height / 2 - tall, width: Math.max(step * 0.72, 0.8), height: tall }));
  }
  return group;
}

function legend(entries) {
  const box = element("div", "kb-legend");
  for (const [verdict, text] of entries) {
    const picture = shape("svg", { width: 18, height: 18, viewBox: "0 0 18 18", "aria-hidden": "true" });
    if (verdict === "band") picture.append(shape("rect", { class: "kb-band", x: 1, y: 4, width: 16, height: 10 }));
    else if (verdict.startsWith("run-")) picture.append(runBars(verdict.slice(4).repeat(2), 2, 3, 9, 12, 12));
    else picture.append(mark(verdict, 9, 9, { size: 5 }));
    box.append(element("span", "kb-key", null, picture, element("span", "", text)));
  }
  return box;
}

// --- axes ------------------------------------------------------------------------------------------------------------

// Maps a row and a span to the horizontal axis; three kinds, for what is known of the history.
function historyAxis(head, rows, left, right, zoomed) {
  const [first, last] = head.extent;
  const spans = [...rows].reverse().find((row) => row.spans.length)?.spans ?? [[first, last]];
  const centre = head.culprit_position ?? (spans[0][0] + spans[spans.length - 1][1]) / 2;
  const bend = zoomed ? (p) => Math.sign(p - centre) * Math.log1p(Math.abs(p - centre)) : (p) => p;
  const [low, high] = [bend(first - 0.5), bend(last + 0.5)];
  const at = (p) => left + ((bend(p) - low) / (high - low)) * (right - left);
  return { at, x: (row) => (row.position === null ? null : at(row.position)), band: (row) => row.spans.map(([a, b]) => [at(a - 0.5), at(b + 0.5)]) };
}

function countAxis(rows, left, right) {
  const most = Math.max(2, ...rows.map((row) => row.left ?? 0));
  const at = (count) => right - (Math.log(Math.max(count, 1)) / Math.log(most)) * (right - left);
  return {
    at,
    most,
    // A step that says nothing of the range (a release, the parent) stands where the range was before it.
    x: (row) => at(rows.slice(0, row.index + 1).findLast((before) => before.left !== null)?.left ?? most),
    band: (row) => (row.left === null ? [] : [[at(row.left), right]]),
  };
}

function drawTags(picture, axis, tags, left, right, bottom) {
  let free = left - 1;
  for (const [name, position] of [...tags].sort((a, b) => a[1] - b[1])) {
    const x = axis.at(position);
    if (x < left || x > right) continue;
    picture.append(shape("line", { class: "kb-tag-line", x1: x, x2: x, y1: TOP - 12, y2: bottom }));
    const half = name.length * 3.4 + 4;
    const middle = clamp(x, left + half - 4, right - half + 4);
    if (middle - half < free) continue;
    picture.append(shape("text", { class: "kb-tag", x: middle, y: TOP - 18, "text-anchor": "middle" }, name));
    free = middle + half;
  }
}

function drawCounts(picture, axis, left, bottom) {
  for (let count = 1; count <= axis.most; count *= 10) {
    const x = axis.at(count);
    picture.append(shape("line", { class: "kb-tag-line", x1: x, x2: x, y1: TOP - 12, y2: bottom }));
    if (x > left - 6) picture.append(shape("text", { class: "kb-tag", x, y: TOP - 18, "text-anchor": "middle" }, count.toLocaleString("en")));
  }
}

// --- the search ------------------------------------------------------------------------------------------------------

function searchColumns(width) {
  const tight = width < 760;
  const left = tight ? 164 : 180;
  const bars = tight ? 84 : 132;
  return { left, plotRight: width - bars - 136, bars: width - bars - 116, barsWidth: bars, crashed: width - 64, remaining: width - 8 };
}

function drawBand(picture, axis, rows, bottom) {
  let spans = [];
  rows.forEach((row, index) => {
    const now = axis.band(row);
    if (now.length) spans = now;
    const from = TOP + index * ROW + ROW / 2;
    const to = index + 1 < rows.length ? from + ROW : bottom;
    for (const [a, b] of spans) {
      const wide = Math.max(b - a, 2.5);
      picture.append(shape("rect", { class: "kb-band", x: (a + b - wide) / 2, y: from, width: wide, height: to - from }));
    }
  });
}

function drawSearch(picture, head, rows, state, width) {
  const column = searchColumns(width);
  const [left, right] = [column.left + 10, column.plotRight];
  const bottom = TOP + rows.length * ROW + 4;
  const height = bottom + (head.culprit ? 26 : 8);
  const graph = head.extent !== null;
  const axis = graph ? historyAxis(head, rows, left, right, state.zoomed) : countAxis(rows, left, right);
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("height", height);

  for (const [x, anchor, text] of [
    [8, "start", "revision"],
    [column.bars, "start", "runs"],
    [column.crashed, "end", "crashed"],
    [column.remaining, "end", "left"],
  ])
    picture.append(shape("text", { class: "kb-column", x, y: TOP - 18, "text-anchor": anchor }, text));
  const ends = graph ? ["oldest", "newest"] : ["many candidates", "one"];
  picture.append(shape("text", { class: "kb-end", x: left, y: 16 }, `← ${ends[0]}`));
  picture.append(shape("text", { class: "kb-end", x: right, y: 16, "text-anchor": "end" }, `${ends[1]} →`));
  if (graph) drawTags(picture, axis, head.tags, left, right, bottom);
  else drawCounts(picture, axis, left, bottom);
  picture.append(shape("line", { class: "kb-axis", x1: left, x2: right, y1: TOP - 8, y2: TOP - 8 }));

  const list = shape("g", { role: "listbox", "aria-label": "Tested revisions, in the order of the search" });
  const backs = rows.map((row, index) => rowBack(row, index, state, width));
  backs.forEach((back) => list.append(back));
  drawBand(list, axis, rows, bottom);
  rows.forEach((row, index) => drawSearchRow(list, backs[index], axis, row, index, head, column, left, right));
  picture.append(list);
  if (head.culprit) drawCulprit(picture, axis, head, rows, graph, left, right, bottom);
}

function rowBack(row, index, state, width) {
  const words = `${index + 1}: ${row.verdict ?? "not decided"}, ${short(row.commit)} ${row.subject}, ${row.crashed} of ${row.total} runs crashed`;
  const back = shape("rect", { class: "kb-row", x: 0, y: TOP + index * ROW, width, height: ROW, rx: 3, role: "option", "aria-label": words, "aria-selected": String(state.selected === index), tabindex: state.focused === index ? 0 : -1, "data-index": index });
  return back;
}

function drawSearchRow(list, back, axis, row, index, head, column, left, right) {
  const middle = TOP + index * ROW + ROW / 2;
  const text = (className, x, content, anchor = "start") => list.append(shape("text", { class: className, x, y: middle + 4, "text-anchor": anchor }, content));
  text(row.culprit ? "kb-hash kb-strong" : "kb-hash", 8, short(row.commit));
  text("kb-stage", 86, cut(row.stage, Math.floor((column.left - 82) / 6.1)));
  list.append(shape("line", { class: "kb-thread", x1: left, x2: right, y1: middle, y2: middle }));
  list.append(runBars(row.outcomes, row.planned, column.bars, middle, column.barsWidth, 14));
  text("kb-count", column.crashed, row.total ? `${row.crashed}/${row.total}` : "–", "end");
  text("kb-count kb-left", column.remaining, row.left === null ? "" : row.left.toLocaleString("en"), "end");
  const x = axis.x(row);
  const running = head.outcome === null && row.verdict === null;
  const share = running && row.planned ? row.outcomes.length / row.planned : null;
  if (x !== null) {
    const dot = mark(row.verdict, x, middle, { share });
    if (running) dot.classList.add("kb-running");
    if (row.culprit) list.append(shape("circle", { class: "kb-halo", cx: x, cy: middle, r: 11 }));
    list.append(dot);
  } else text("kb-stage", left, "not in this history");
}

function drawCulprit(picture, axis, head, rows, graph, left, right, bottom) {
  const tested = rows.find((row) => row.culprit);
  const x = graph ? (head.culprit_position === null ? null : axis.at(head.culprit_position)) : tested ? axis.x(tested) : null;
  if (x === null) return;
  if (graph) picture.append(shape("line", { class: "kb-culprit-line", x1: x, x2: x, y1: TOP - 8, y2: bottom + 6 }));
  const label = `culprit ${short(head.culprit, 12)}`;
  const half = label.length * 3.7;
  picture.append(shape("text", { class: "kb-culprit", x: clamp(x, left + half, right - half), y: bottom + 19, "text-anchor": "middle" }, label));
}

// --- the rates -------------------------------------------------------------------------------------------------------

function drawRates(picture, head, rows, state, width) {
  const left = clamp(width * 0.42, 210, 420);
  const right = width - 128;
  const bottom = TOP + rows.length * ROW + 4;
  const at = (rate) => left + rate * (right - left);
  picture.setAttribute("viewBox", `0 0 ${width} ${bottom + 8}`);
  picture.setAttribute("height", bottom + 8);
  picture.append(shape("text", { class: "kb-column", x: 8, y: TOP - 18 }, "revision"));
  picture.append(shape("text", { class: "kb-column", x: width - 66, y: TOP - 18, "text-anchor": "end" }, "crashed"));
  picture.append(shape("text", { class: "kb-column", x: width - 8, y: TOP - 18, "text-anchor": "end" }, "rate"));
  picture.append(shape("text", { class: "kb-end", x: left, y: 16 }, "crash rate of one run, 95% interval"));
  for (const rate of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(shape("line", { class: "kb-tag-line", x1: at(rate), x2: at(rate), y1: TOP - 12, y2: bottom }));
    picture.append(shape("text", { class: "kb-tag", x: at(rate), y: TOP - 18, "text-anchor": "middle" }, String(rate)));
  }
  const list = shape("g", { role: "listbox", "aria-label": "Crash rates by revision" });
  rows.forEach((row, index) => {
    const middle = TOP + index * ROW + ROW / 2;
    list.append(rowBack(row, index, state, width));
    list.append(shape("text", { class: row.culprit ? "kb-hash kb-strong" : "kb-hash", x: 8, y: middle + 4 }, short(row.commit)));
    list.append(shape("text", { class: "kb-stage", x: 86, y: middle + 4 }, cut(row.subject, Math.floor((left - 104) / 6.3))));
    const text = (x, content) => list.append(shape("text", { class: "kb-count", x, y: middle + 4, "text-anchor": "end" }, content));
    text(width - 66, row.total ? `${row.crashed}/${row.total}` : "–");
    text(width - 8, row.rate === null ? "" : row.rate.toFixed(2));
    if (row.rate === null) {
      list.append(shape("text", { class: "kb-stage", x: left + 4, y: middle + 4 }, "no run reached the reproducer"));
      return;
    }
    const whisker = `M${at(row.low)} ${middle}H${at(row.high)}M${at(row.low)} ${middle - 5}v10M${at(row.high)} ${middle - 5}v10`;
    list.append(shape("path", { class: `kb-whisker kb-${row.verdict ?? "open"}`, d: whisker }));
    if (row.culprit) list.append(shape("circle", { class: "kb-halo", cx: at(row.rate), cy: middle, r: 11 }));
    list.append(mark(row.verdict, at(row.rate), middle));
  });
  picture.append(list);
}

// --- what a revision's row opens -------------------------------------------------------------------------------------

function facts(row) {
  const list = element("dl", "kb-facts");
  const fact = (name, value) => value && list.append(element("dt", "", name), element("dd", "", value));
  fact("verdict", row.verdict ?? "not decided yet");
  fact("stage", row.stage);
  fact("crashed", row.total ? `${row.crashed} of ${plural(row.total, "run")}` : "no run reached the reproducer");
  fact("build", row.cached ? "was there already" : row.build_s ? seconds(row.build_s) : "");
  fact("test", row.test_s ? seconds(row.test_s) : "");
  fact("candidates left", row.left === null ? "" : String(row.left));
  fact("signature", row.signature.slice(0, 16));
  fact("same kernel as", short(row.same_as ?? "", 12));
  fact("reached the code", [row.reached, row.reach].filter(Boolean).join(": "));
  fact("failure", row.failure);
  for (const note of row.notes ?? []) fact("note", note);
  return list;
}

function runList(row) {
  const list = element("ol", "kb-run-list");
  list.start = 0;
  for (const run of row.runs) {
    const times = run.elapsed_s ? `  ${seconds(run.elapsed_s)}` : "";
    list.append(element("li", "", run.text, element("span", "kb-dim", times)));
  }
  return list;
}

function consoleBox(shown) {
  const box = element("pre", "kb-console");
  box.tabIndex = 0;
  box.setAttribute("aria-label", "Console");
  if (shown.crash < 0) {
    box.textContent = shown.text;
    return box;
  }
  const end = shown.text.indexOf("\n", shown.crash);
  const stop = end < 0 ? shown.text.length : end;
  const headline = element("mark", "", shown.text.slice(shown.crash, stop));
  box.append(shown.text.slice(0, shown.crash), headline, shown.text.slice(stop));
  // The crash, not the boot messages before it, is what the reader wants to see first.
  requestAnimationFrame(() => (box.scrollTop = headline.offsetTop - 8));
  return box;
}

function fillPanel(panel, row, shown, close) {
  panel.replaceChildren();
  panel.hidden = row === undefined;
  if (panel.hidden) return;
  const button = element("button", "kb-close", "×");
  button.type = "button";
  button.setAttribute("aria-label", "Close");
  button.onclick = close;
  const picture = shape("svg", { width: 18, height: 18, viewBox: "0 0 18 18", "aria-hidden": "true" });
  picture.append(mark(row.verdict, 9, 9));
  panel.append(element("div", "kb-panel-head", null, picture, element("code", "", short(row.commit, 12)), element("strong", "", row.subject), button));
  panel.append(facts(row));
  if (row.runs.length) panel.append(element("h4", "", plural(row.runs.length, "run")), runList(row));
  if (shown?.text) {
    const title = shown.run === null ? "why it could not be tested" : `console of run ${shown.run}`;
    panel.append(element("h4", "", title), consoleBox(shown));
  }
}

// --- putting it together ---------------------------------------------------------------------------------------------

function subtitle(head, rows, picture) {
  const runs = rows.reduce((sum, row) => sum + (row.same_as ? 0 : picture === "search" ? row.outcomes.length : row.runs), 0);
  const parts = [head.name, `${head.kind} bisection`, head.strategy && `strategy ${head.strategy}`, head.n_commits ? plural(head.n_commits, "commit") : "", typeof head.n_kernels === "number" ? plural(head.n_kernels, "kernel") : "", plural(rows.length, "revision"), plural(runs, "run")];
  const running = picture === "search" && head.outcome === null ? rows.find((row) => row.verdict === null) : undefined;
  if (running) parts.push(running.planned ? `testing ${short(running.commit)}: ${running.outcomes.length} of ${plural(running.planned, "run")}` : `building ${short(running.commit)}`);
  return parts.filter(Boolean).join(" · ");
}

function tipText(row) {
  const words = [...(row.outcomes ?? "")].reduce((count, letter) => ({ ...count, [letter]: (count[letter] ?? 0) + 1 }), {});
  const counts = row.outcomes === undefined ? row.text : Object.entries(words).map(([letter, count]) => `${count} ${RUN_WORDS[letter]}`).join(", ");
  const titles = (row.titles ?? []).map(([title, count]) => `${count}× ${title}`);
  return [`${short(row.commit, 12)}  ${row.verdict ?? "not decided"}${row.culprit ? ", the culprit" : ""}`, row.subject, counts || row.failure, ...titles].filter(Boolean);
}

const PICTURES = {
  search: { draw: drawSearch, toggle: ["whole history", "zoomed on the end"], keys: [["bad", "bad"], ["good", "good"], ["skip", "skip"], ["band", "can still be the culprit"], ["run-c", "crashed run"], ["run-o", "clean run"], ["run-b", "boot or test failed"]] },
  rates: { draw: drawRates, toggle: ["as tested", "as in the history"], keys: [["bad", "bad"], ["good", "good"], ["skip", "skip"]] },
};

function render({ model, el }) {
  const kind = model.get("picture");
  const { draw, toggle, keys } = PICTURES[kind];
  const state = { selected: null, focused: 0, zoomed: false, pending: false, panelKey: "", width: 0 };
  const title = element("div", "kb-title");
  const sub = element("div", "kb-sub");
  sub.setAttribute("aria-live", "polite");
  const switches = element("div", "kb-switch");
  const canvas = element("div", "kb-canvas");
  const tip = element("div", "kb-tip");
  const panel = element("div", "kb-panel");
  tip.hidden = panel.hidden = true;
  const root = element("div", `kb kb-${kind}`, null, element("div", "kb-head", null, title, element("div", "kb-line", null, sub, switches)), canvas, legend(keys), tip, panel);
  el.append(root);

  const rows = () => {
    const all = model.get("rows");
    return kind === "rates" && state.zoomed ? [...all].sort((a, b) => (a.position ?? Infinity) - (b.position ?? Infinity)) : all;
  };
  const options = () => [...canvas.querySelectorAll(".kb-row")];

  function redraw() {
    state.pending = false;
    const [head, shown] = [model.get("head"), rows()];
    const held = root.contains(document.activeElement) && document.activeElement.matches(".kb-row");
    state.focused = clamp(state.focused, 0, Math.max(0, shown.length - 1));
    title.textContent = kind === "search" ? head.title : "How often each revision crashed";
    sub.textContent = subtitle(head, shown, kind);
    root.classList.toggle("kb-live", head.outcome === null);
    switches.hidden = !shown.some((row) => row.position !== null);
    const picture = shape("svg", { class: "kb-picture", width: "100%" });
    draw(picture, head, shown, state, Math.max(state.width || el.clientWidth || 800, 560));
    canvas.replaceChildren(picture);
    if (held) options()[state.focused]?.focus();
    drawPanel(shown);
  }

  // Drawn anew only when its revision changed, so that a reader keeps the place in a console while the search goes on.
  function drawPanel(shown) {
    if (kind !== "search") return;
    const row = state.selected === null ? undefined : shown[state.selected];
    const text = row && model.get("consoles")[state.selected];
    const key = JSON.stringify([row, text]);
    if (key === state.panelKey) return;
    state.panelKey = key;
    fillPanel(panel, row, text, () => select(null));
  }

  function select(index) {
    state.selected = index;
    options().forEach((option, at) => option.setAttribute("aria-selected", String(at === index)));
    drawPanel(rows());
    if (index === null) options()[state.focused]?.focus();
  }

  function focus(index) {
    const all = options();
    state.focused = clamp(index, 0, all.length - 1);
    all.forEach((option, at) => option.setAttribute("tabindex", at === state.focused ? 0 : -1));
    all[state.focused]?.focus();
    if (state.selected !== null) select(state.focused);
  }

  const keysDown = { ArrowDown: (at) => focus(at + 1), ArrowUp: (at) => focus(at - 1), Home: () => focus(0), End: () => focus(Infinity), Enter: (at) => select(at), " ": (at) => select(at), Escape: () => select(null) };
  canvas.addEventListener("keydown", (event) => {
    const action = keysDown[event.key];
    const at = Number(event.target.dataset?.index ?? NaN);
    if (!action || Number.isNaN(at)) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab moves between cells with the same keys
    action(at);
  });

  // The picture of the belief above asks for the row of a revision, by the beginning of its hash.
  root.addEventListener("kb-open", ({ detail }) => {
    const index = rows().findLastIndex((row) => row.commit.startsWith(detail));
    if (index < 0 || kind !== "search") return;
    focus(index);
    select(index);
    panel.scrollIntoView({ block: "nearest" });
  });

  const rowAt = (event) => {
    const index = Math.floor((event.clientY - canvas.getBoundingClientRect().top - TOP) / ROW);
    return index >= 0 && index < rows().length ? index : null;
  };
  canvas.addEventListener("click", (event) => {
    const index = rowAt(event);
    if (index === null) return;
    focus(index);
    if (kind === "search") select(index);
  });
  canvas.addEventListener("pointermove", (event) => {
    const index = rowAt(event);
    options().forEach((option, at) => option.classList.toggle("kb-over", at === index));
    tip.hidden = index === null;
    if (index === null) return;
    tip.replaceChildren(...tipText(rows()[index]).map((line) => element("div", "", line)));
    const box = root.getBoundingClientRect();
    tip.style.left = `${clamp(event.clientX - box.left + 14, 0, Math.max(0, box.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${event.clientY - box.top + 16}px`;
  });
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
    options().forEach((option) => option.classList.remove("kb-over"));
  });

  toggle.forEach((text, at) => {
    const button = element("button", "", text);
    button.type = "button";
    const press = () => [...switches.children].forEach((other, index) => other.setAttribute("aria-pressed", String(Boolean(index) === state.zoomed)));
    button.onclick = () => {
      state.zoomed = at === 1;
      press();
      redraw();
    };
    switches.append(button);
    press();
  });

  const later = () => {
    if (state.pending) return;
    state.pending = true;
    requestAnimationFrame(redraw);
  };
  const names = ["head", "rows", "consoles"].map((name) => `change:${name}`);
  names.forEach((name) => model.on(name, later));
  const observer = new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width && width !== state.width) {
      state.width = width;
      later();
    }
  });
  observer.observe(canvas);
  redraw();
  return () => {
    observer.disconnect();
    names.forEach((name) => model.off(name, later));
  };
}

export default { render };
