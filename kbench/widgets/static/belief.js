// Draws the belief in every commit of a history as heat: where the culprit may be, what was tested, what comes next.
//
// Sums over the commits of a pixel are differences of running sums, so a frame costs as much as the picture is wide,
// whatever the history's length. Text reaches the page through textContent and fillText alone.

const HEIGHT = 132;
const STRIP = { top: 44, height: 46 };
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function element(tag, className, text, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  node.append(...children);
  return node;
}

function numbers(view) {
  const bytes = view instanceof DataView ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : view;
  return bytes ? new Float32Array(bytes) : new Float32Array();
}

function name(view, position) {
  const at = position * 6;
  if (!view || at + 6 > view.byteLength) return `commit ${position}`;
  return Array.from({ length: 6 }, (_, index) => view.getUint8(at + index).toString(16).padStart(2, "0")).join("");
}

function render({ model, el }) {
  const root = element("div", "kb kb-belief");
  const canvas = element("canvas", "kb-belief-canvas");
  canvas.tabIndex = 0;
  canvas.style.height = `${HEIGHT}px`;
  canvas.setAttribute("role", "img");
  const said = element("div", "kb-sub");
  said.setAttribute("aria-live", "polite");
  const tools = element("span", "kb-switch");
  const help = element("div", "kb-legend", "click, then wheel or + and − zoom, drag or ← and → move, 0 shows all; a click on a tested revision, or ↑, ↓ and Enter, opens it below");
  const picked = element("div", "kb-sub");
  picked.setAttribute("aria-live", "polite");
  const title = element("div", "kb-line", null, element("div", "kb-title", "Where the culprit may be"), tools);
  root.append(element("div", "kb-head", null, title, said), canvas, picked, help);
  el.append(root);

  const state = { low: 0, high: 1, sums: new Float64Array(1), pending: false, over: null, drag: null, picked: null };
  const size = () => Math.max(1, model.get("size"));
  const width = () => Math.max(root.clientWidth, 320);
  const at = (x) => state.low + (x / width()) * (state.high - state.low);
  const x = (position) => ((position + 0.5 - state.low) / (state.high - state.low)) * width();

  function take() {
    const belief = numbers(model.get("belief"));
    const sums = new Float64Array(belief.length + 1);
    for (let index = 0; index < belief.length; index += 1) sums[index + 1] = sums[index] + belief[index];
    state.sums = sums;
    const [low, high] = [clamp(state.low, 0, size()), clamp(state.high, 0, size())];
    if (high - low < 1 || state.size !== size()) [state.low, state.high] = [0, size()];
    state.size = size();
    canvas.setAttribute("aria-label", model.get("words"));
    said.textContent = model.get("words");
    later();
  }

  // The belief in what lies before a place; of a commit that is cut, its share: neighbouring pixels do not flicker.
  const before = (place) => {
    const last = state.sums.length - 1;
    const [inside, whole] = [clamp(place, 0, last), Math.floor(clamp(place, 0, last))];
    return state.sums[whole] + (inside - whole) * (state.sums[Math.min(whole + 1, last)] - state.sums[whole]);
  };
  const between = (low, high) => before(high) - before(low);

  function draw() {
    state.pending = false;
    const ratio = window.devicePixelRatio || 1;
    const [wide, style] = [width(), getComputedStyle(root)];
    const colour = (variable) => style.getPropertyValue(variable).trim();
    if (canvas.width !== Math.floor(wide * ratio) || canvas.height !== Math.floor(HEIGHT * ratio)) {
      [canvas.width, canvas.height] = [wide * ratio, HEIGHT * ratio]; // makes a new one: not at each frame
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, wide, HEIGHT);
    const heat = Array.from({ length: wide }, (_, column) => between(at(column), at(column + 1)));
    const peak = Math.max(...heat, 1e-12);
    pen.fillStyle = colour("--kb-shade");
    pen.fillRect(0, STRIP.top, wide, STRIP.height);
    pen.fillStyle = colour("--kb-band");
    heat.forEach((share, column) => {
      if (share <= 0) return;
      const tall = Math.max(2, Math.sqrt(share / peak) * STRIP.height); // the root: small beliefs are seen
      pen.globalAlpha = 0.25 + 0.75 * Math.sqrt(share / peak);
      pen.fillRect(column, STRIP.top + STRIP.height - tall, 1, tall);
    });
    pen.globalAlpha = 1;
    pen.font = `11px ${style.fontFamily}`;
    drawTags(pen, wide, colour);
    drawTested(pen, colour);
    const next = model.get("next");
    if (next !== null && next >= 0) drawNext(pen, x(next), STRIP.top + STRIP.height + 4, wide, colour("--kb-text"));
    if (state.over !== null) {
      pen.strokeStyle = colour("--kb-dim");
      pen.strokeRect(x(state.over) - 1, STRIP.top - 2, 2, STRIP.height + 4);
    }
  }

  function drawTags(pen, wide, colour) {
    let free = 0;
    pen.fillStyle = colour("--kb-dim");
    for (const [label, position] of model.get("tags")) {
      const middle = x(position);
      if (middle < 0 || middle > wide) continue;
      pen.fillRect(middle, STRIP.top - 6, 1, 6);
      const half = pen.measureText(label).width / 2;
      const centre = clamp(middle, half, wide - half);
      if (centre - half < free) continue;
      pen.textAlign = "center";
      pen.fillText(label, centre, HEIGHT - 6);
      free = centre + half + 8;
    }
  }

  function drawTested(pen, colour) {
    // Shape and colour both tell a verdict: diamond bad, disc good, square skip.
    for (const [position, verdict] of model.get("tested")) {
      const [middle, y] = [x(position), STRIP.top - 16];
      pen.fillStyle = colour(`--kb-${verdict === "bad" || verdict === "good" ? verdict : "skip"}`);
      pen.beginPath();
      if (verdict === "good") pen.arc(middle, y, 5, 0, 7);
      else if (verdict === "bad") [[0, -6], [6, 0], [0, 6], [-6, 0]].forEach(([dx, dy]) => pen.lineTo(middle + dx, y + dy));
      else pen.rect(middle - 4, y - 4, 8, 8);
      pen.fill();
      if (position !== state.picked) continue;
      pen.strokeStyle = colour("--kb-text");
      pen.beginPath();
      pen.arc(middle, y, 10, 0, 7);
      pen.stroke();
    }
  }

  function drawNext(pen, middle, y, wide, colour) {
    const [before, after] = [middle < 0, middle > wide];
    pen.fillStyle = colour;
    pen.beginPath();
    if (!before && !after) [[0, 0], [6, 9], [-6, 9]].forEach(([dx, dy]) => pen.lineTo(middle + dx, y + dy));
    pen.fill();
    pen.textAlign = "center";
    pen.fillText(`${before ? "← " : ""}next${after ? " →" : ""}`, clamp(middle, 22, wide - 22), y + 20);
  }

  function later() {
    if (state.pending) return;
    state.pending = true;
    requestAnimationFrame(draw);
  }

  function zoom(factor, centre) {
    const span = clamp((state.high - state.low) * factor, Math.min(8, size()), size());
    const share = (centre - state.low) / (state.high - state.low);
    move(centre - share * span, span);
  }

  function move(low, span = state.high - state.low) {
    state.low = clamp(low, 0, size() - span);
    state.high = state.low + span;
    later();
  }

  // The tested revision under a point of the canvas, undefined where there is none.
  function testedAt(event) {
    const box = canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    if (Math.abs(top - (STRIP.top - 16)) > 12) return undefined;
    const [nearest] = model.get("tested").toSorted((one, other) => Math.abs(x(one[0]) - left) - Math.abs(x(other[0]) - left));
    return nearest && Math.abs(x(nearest[0]) - left) <= 9 ? nearest[0] : undefined;
  }

  function pick(position) {
    state.picked = position;
    const [, verdict] = model.get("tested").find(([tested]) => tested === position);
    picked.textContent = `${name(model.get("commits"), position)}: ${verdict}`;
    const span = state.high - state.low;
    if (x(position) < 0 || x(position) > width()) move(position - span / 2);
    later();
  }

  // The one picked before or after, by place in the history; the newest to begin with.
  function step(by) {
    const places = [...new Set(model.get("tested").map(([position]) => position))].sort((one, other) => one - other);
    if (!places.length) return;
    const at = places.indexOf(state.picked);
    pick(places[at < 0 ? places.length - 1 : clamp(at + by, 0, places.length - 1)]);
  }

  // Has the search picture that follows in the page open its row of a tested revision.
  function open(position) {
    if (position === null) return;
    pick(position);
    const after = (node) => root.compareDocumentPosition(node) & Node.DOCUMENT_POSITION_FOLLOWING;
    const search = [...document.querySelectorAll(".kb-search")].find(after);
    search?.dispatchEvent(new CustomEvent("kb-open", { detail: name(model.get("commits"), position) }));
  }

  const keys = {
    ArrowUp: () => step(1),
    ArrowDown: () => step(-1),
    Enter: () => open(state.picked),
    "+": () => zoom(0.5, (state.low + state.high) / 2),
    "=": () => zoom(0.5, (state.low + state.high) / 2),
    "-": () => zoom(2, (state.low + state.high) / 2),
    0: () => move(0, size()),
    ArrowLeft: () => move(state.low - (state.high - state.low) / 8),
    ArrowRight: () => move(state.low + (state.high - state.low) / 8),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab moves between cells with the same keys
    keys[event.key]();
  });
  const where = (event) => event.clientX - canvas.getBoundingClientRect().left;
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // it scrolls the page
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, at(where(event)));
    },
    { passive: false },
  );
  canvas.addEventListener("pointerdown", (event) => {
    state.drag = { x: where(event), low: state.low, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointerup", (event) => {
    const position = testedAt(event);
    if (state.drag && !state.drag.moved && position !== undefined) open(position);
  });
  canvas.addEventListener("lostpointercapture", () => (state.drag = null));
  canvas.addEventListener("pointermove", (event) => {
    if (state.drag) {
      state.drag.moved ||= Math.abs(where(event) - state.drag.x) > 3;
      move(state.drag.low - ((where(event) - state.drag.x) / width()) * (state.high - state.low));
      return;
    }
    const position = clamp(Math.floor(at(where(event))), 0, size() - 1);
    state.over = position;
    canvas.style.cursor = testedAt(event) === undefined ? "" : "pointer";
    const shown = (between(position, position + 1) * 100).toPrecision(2);
    canvas.title = `${name(model.get("commits"), position)}: ${shown}%`;
    later();
  });
  canvas.addEventListener("pointerleave", () => {
    state.over = null;
    later();
  });
  for (const [text, key, label] of [["−", "-", "zoom out"], ["+", "+", "zoom in"], ["all", 0, "show all"]]) {
    const button = element("button", "", text);
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.onclick = keys[key];
    tools.append(button);
  }
  const changes = ["belief", "tested", "next", "words", "size", "tags"].map((trait) => `change:${trait}`);
  changes.forEach((change) => model.on(change, take));
  const observer = new ResizeObserver(later);
  observer.observe(root);
  take();
  return () => {
    observer.disconnect();
    changes.forEach((change) => model.off(change, take));
  };
}

export default { render };
