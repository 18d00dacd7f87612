// The network as rows: layers, and blocks that fold, with lines from each row to those that take its values.
"use strict";

const FEW_ROWS = 26; // unfolded at the beginning
const MAPS_IN_ROW = 8;
const LANE = 14; // pixels between lines

// The parts of a network as a tree: {path, start, end, children}; a leaf is one operation.
function treeOf(steps) {
  const build = (path, start, end, depth) => {
    const children = [];
    for (let p = start; p < end;) {
      const parts = steps[p].module === "" ? [] : steps[p].module.split(".");
      const key = parts.length > depth ? parts.slice(0, depth + 1).join(".") : null;
      let last = p + 1;
      const belongs = (q) => key !== null && (steps[q].module === key || steps[q].module.startsWith(`${key}.`));
      while (last < end && belongs(last)) last++;
      if (key === null || last - p === 1) children.push({ path: steps[p].module, start: p, end: p + 1, children: [] });
      else children.push(build(key, p, last, depth + 1));
      p = last;
    }
    if (children.length === 1 && children[0].children.length) return children[0]; // a part around one part
    return { path, start, end, children };
  };
  return build("", 0, steps.length, 0);
}

// Unfolds parts, outer ones first, until there are enough rows.
function unfoldSome(tree) {
  const queue = [...tree.children];
  let rows = tree.children.length;
  tree.open = true;
  while (queue.length) {
    const part = queue.shift();
    if (!part.children.length || rows + part.children.length > FEW_ROWS) continue;
    part.open = true;
    rows += part.children.length;
    queue.push(...part.children);
  }
}

// The rows that are seen: leaves, folded parts, and the headings of unfolded ones.
function visibleRows(part, depth = 0, rows = []) {
  for (const child of part.children) {
    rows.push({ part: child, depth, isHeading: Boolean(child.open) });
    if (child.open) visibleRows(child, depth + 1, rows);
  }
  return rows;
}

// Gives each row its place among the lines: its own lane, the lanes that end in it, and those that pass.
function layLines(steps, rows) {
  const drawn = rows.filter((row) => !row.isHeading), rowOf = new Map([[-1, -1]]);
  drawn.forEach((row, r) => { for (let p = row.part.start; p < row.part.end; p++) rowOf.set(p, r); });
  const sources = drawn.map((row, r) => {
    const inputs = new Set();
    for (let p = row.part.start; p < row.part.end; p++) steps[p].inputs.forEach((value) => inputs.add(rowOf.get(value - 1)));
    inputs.delete(r);
    return [...inputs];
  });
  const last = new Map();
  sources.forEach((inputs, r) => inputs.forEach((source) => last.set(source, r)));
  const lanes = [-1]; // the row whose value each lane carries; null if none
  let width = 1;
  drawn.forEach((row, r) => {
    const before = [...lanes];
    for (let lane = 0; lane < lanes.length; lane++) if (lanes[lane] !== null && last.get(lanes[lane]) <= r) lanes[lane] = null;
    const own = lanes.includes(null) ? lanes.indexOf(null) : lanes.length;
    row.lines = { own, from: sources[r].map((source) => before.indexOf(source)), passing: lanes.flatMap((value, lane) => (value === null ? [] : [lane])) };
    lanes[own] = last.has(r) ? r : null;
    row.lines.continues = lanes[own] !== null;
    width = Math.max(width, lanes.length);
  });
  let passing = [0];
  for (const row of rows) { // headings only let lines pass
    if (row.isHeading) row.lines = { own: -1, from: [], passing, continues: false };
    else passing = [...row.lines.passing, ...(row.lines.continues ? [row.lines.own] : [])];
  }
  return width;
}

// Draws the lines of a row: lines that pass, curves to its dot, and its own line going on.
function drawLines({ own, from, passing, continues }, lanes) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg"), x = (lane) => LANE * (lane + 0.5);
  svg.setAttribute("viewBox", `0 0 ${lanes * LANE} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.style.width = `${lanes * LANE}px`;
  const paths = passing.map((lane) => `M${x(lane)} 0V100`);
  from.forEach((lane) => paths.push(`M${x(lane)} 0C${x(lane)} 30 ${x(own)} 20 ${x(own)} 50`));
  if (continues) paths.push(`M${x(own)} 50V100`);
  for (const line of paths) {
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  const rail = make("span", { class: "rail", style: `width:${lanes * LANE}px` }, svg);
  if (own >= 0) rail.append(make("i", { style: `left:${x(own) - 4}px` }));
  return rail;
}

// The rows of one network; `onSelect(operation)` is called for a layer.
class Diagram {
  // `other` is a network of the same layers, from which the rows' differences are shown; or null.
  constructor(model, element, onSelect, other = null) {
    Object.assign(this, { model, element, onSelect, other, tree: treeOf(model.steps), canvases: new Map(), seen: new Set() });
    this.watcher = new IntersectionObserver((changes) => { // only rows in view are drawn
      for (const { target, isIntersecting } of changes) {
        if (isIntersecting) { this.seen.add(target); this.draw(Number(target.dataset.step)); } else this.seen.delete(target);
      }
    }, { rootMargin: "200px" });
    unfoldSome(this.tree);
    this.build();
  }

  build() {
    const { model } = this, rows = visibleRows(this.tree), lanes = layLines(model.steps, rows);
    const focused = document.activeElement && this.element.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    this.watcher.disconnect();
    this.seen.clear();
    this.canvases.clear();
    this.element.replaceChildren(...rows.map((row) => this.row(row, lanes)));
    for (const canvas of this.canvases.values()) this.watcher.observe(canvas);
    if (focused) this.element.querySelector(`[data-row="${focused}"]`)?.focus();
    this.mark();
  }

  row({ part, depth, isHeading, lines }, lanes) {
    const { model } = this, isPart = part.children.length > 0, last = part.end - 1, step = model.steps[last];
    const toggle = () => { part.open = !part.open; this.build(); };
    const text = isPart ? model.groups[part.path] || part.path : step.label;
    const name = make("span", { class: "layer-name" }, make("b", {}, text), make("small", {}, `${part.path || "outside a layer"} · ${shapeText(step.shape)}`));
    const canvas = isHeading ? null : make("canvas", { class: "maps", "aria-hidden": "true", "data-step": last });
    const button = make("button", {
      class: "layer", "data-row": `${part.start}-${part.end}`, "data-step": isPart ? undefined : last,
      "aria-expanded": isPart ? String(Boolean(part.open)) : undefined,
      onclick: isPart ? toggle : () => this.onSelect(last),
    }, make("span", { class: "fold", "aria-hidden": "true" }, isPart ? (part.open ? "▾" : "▸") : ""), name, canvas);
    if (canvas) this.canvases.set(last, canvas);
    return make("div", { class: isHeading ? "layer-row heading" : "layer-row" }, drawLines(lines, lanes),
      make("span", { style: `width:${10 * depth}px`, class: "indent" }), button);
  }

  // Draws the maps of the rows in view again.
  refresh() { for (const canvas of this.seen) this.draw(Number(canvas.dataset.step)); }

  draw(p) {
    const tensor = this.model.network.values[p + 1], canvas = this.canvases.get(p), isVector = tensor.shape.length === 1;
    if (!canvas || !this.model.network.values[0]) return;
    const shown = isVector ? { shape: [1, 1, Math.min(tensor.data.length, 128)], data: tensor.data } : tensor;
    drawMaps(canvas, shown, MAPS_IN_ROW, Math.min(shown.shape[0], MAPS_IN_ROW), largestOf(tensor.data));
    canvas.classList.toggle("vector", isVector);
    canvas.classList.toggle("switched", this.model.network.off.has(p));
    if (this.other) this.compare(p, canvas);
  }

  mark(p = this.marked) {
    this.marked = p;
    this.element.querySelectorAll("button.layer").forEach((button) => {
      if (button.dataset.step === String(p)) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
  }

  // Unfolds the parts around an operation.
  reveal(p) {
    const open = (part) => { for (const child of part.children) if (child.start <= p && p < child.end && child.children.length) { child.open = true; open(child); } };
    if (this.element.querySelector(`button[data-step="${p}"]`) === null) { open(this.tree); this.build(); }
    this.mark(p);
  }

  // Shows how far a row's values are from the other network's.
  compare(p, canvas) {
    const a = this.other.network.values[p + 1].data, b = this.model.network.values[p + 1].data, name = canvas.parentElement.querySelector(".layer-name");
    let difference = 0, total = 0;
    for (let k = 0; k < a.length; k++) { difference += (a[k] - b[k]) ** 2; total += a[k] ** 2; }
    if (!name.querySelector(".difference")) name.append(make("small", { class: "difference" }));
    name.querySelector(".difference").textContent = `differs by ${percent(Math.sqrt(difference / (total || 1)))}`;
  }
}
