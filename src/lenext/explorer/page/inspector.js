// One layer in full: all channels, every value, and how a chosen number came about.
"use strict";

const LIVE_TERMS = 400; // of a sum that is shown again while the pen is down
const SHOWN_CHANNELS = 4; // of the inputs of a sum, those that matter most; a button shows the others
const SHOWN_TERMS = 12;
const TILES_WIDTH = 380; // pixels
const MAX_WEIGHT = 1e6; // that can be typed

const RULES = {
  max: "the largest number in the window",
  average: "the mean of the numbers in the window",
  moved: "moved here unchanged",
  softmax: "e to the power of the value, divided by the sum over all; the largest value is subtracted first, which changes nothing but keeps the powers small",
  relu: "x where it is positive, else 0",
  relu6: "x, at least 0 and at most 6",
  gelu: "x times the share of the normal distribution below x",
  gelu_tanh: "x times the share of the normal distribution below x, by tanh",
  tanh: "the hyperbolic tangent of x",
  sigmoid: "1 / (1 + e^-x)",
  silu: "x / (1 + e^-x)",
  leaky_relu: "x where it is positive, else a × x",
  elu: "x where it is positive, else a × (e^x − 1)",
  hardsigmoid: "x / 6 + 1/2, at least 0 and at most 1",
  hardswish: "x times (x / 6 + 1/2, at least 0 and at most 1)",
};

// A number within a formula: a negative one in parentheses.
const term = (value) => (value < 0 ? `(${format(value)})` : format(value));

class Inspector {
  // `onChange(operation)` is called when a weight or a channel was changed.
  constructor(element, onChange) {
    Object.assign(this, { element, onChange, model: null, step: null, at: 0, allChannels: false });
  }

  open(model, step, at = null) {
    if (this.step !== step || this.model !== model) this.allChannels = false;
    Object.assign(this, { model, step, at: at ?? this.strongest(model, step) });
    this.build();
  }

  strongest(model, step) {
    const { data } = model.network.values[step + 1];
    return data.reduce((best, value, at) => (Math.abs(value) > Math.abs(data[best]) ? at : best), 0);
  }

  close() { this.step = null; this.element.hidden = true; }

  get op() { return this.model.steps[this.step]; }
  get out() { return this.model.network.values[this.step + 1]; }

  // The place of a position in a value: [channel, row, column].
  place(shape, at) {
    const plane = planeOf(shape), width = shape[2] || 1;
    return [Math.floor(at / plane), Math.floor((at % plane) / width), at % width];
  }

  placeText(shape, at) {
    const [channel, row, column] = this.place(shape, at);
    return shape.length === 1 ? `unit ${channel}` : `channel ${channel}, row ${row}, column ${column}`;
  }

  build() {
    const { op, out } = this, isVector = out.shape.length === 1, plane = planeOf(out.shape);
    const inputs = op.inputs.map((value) => (value ? `${this.model.steps[value - 1].module || this.model.steps[value - 1].label}` : "the image"));
    this.tiles = make("canvas", {
      class: "tiles", tabindex: "0", role: "application",
      "aria-label": `values of ${op.label}; arrow keys move, page keys change the channel`,
      onpointerdown: (event) => this.choose(this.hit(event)), onpointermove: (event) => this.hover(event),
      onpointerleave: () => { this.hoverText.textContent = "\u00a0"; }, onkeydown: (event) => this.move(event),
    });
    this.marker = make("span", { class: "marker" });
    this.hoverText = make("p", { class: "muted hover" }, "\u00a0");
    this.switch = make("button", { class: "plain", onclick: () => this.switchChannel() });
    this.explanation = make("div", { class: "explanation" });
    this.status = make("p", { class: "hidden-text", role: "status" });
    this.other = make("div", { class: "other" });
    const weights = ["weight", "bias", "factor", "summand"].reduce((sum, role) => sum + (op[role] ? op[role].data.length : 0), 0);
    const facts = [`${shapeText(out.shape)} from ${inputs.join(" and ")}`];
    if (weights) facts.push(`${weights.toLocaleString("en")} parameters`);
    if (op.weight && ["convolution", "dense"].includes(op.kind)) {
      facts.push(`${(plane * op.weight.data.length).toLocaleString("en")} multiplications`);
    }
    this.element.hidden = false;
    this.element.replaceChildren(
      make("div", { class: "inspector-head" }, make("h2", {}, explorer.models.length > 1 ? `${op.label} of ${this.model.name}` : op.label),
        make("button", { class: "plain", "aria-label": "close the layer", onclick: () => explorer.closeLayer() }, "×")),
      make("p", { class: "muted" }, `${op.module || "outside a layer"}: ${facts.join("; ")}. Channels, rows and columns count from 0.`),
      make("div", { class: "tiles-frame" }, this.tiles, this.marker), this.hoverText, this.other,
      make("div", { class: "row" }, this.switch), this.status, this.explanation,
    );
    new ResizeObserver(() => this.placeMarker()).observe(this.tiles);
    this.columns = this.columnCount(isVector ? [out.data.length, 1, 1] : out.shape);
    this.refresh();
  }

  columnCount([channels, height, width]) {
    const wanted = Math.ceil(Math.sqrt((channels * height) / width) * 1.15);
    const most = Math.max(1, Math.min(channels, wanted, Math.floor(TILES_WIDTH / Math.max(width, 6)) || 1));
    const full = [most, most - 1, most - 2].find((columns) => columns > 0 && channels % columns === 0);
    return full || most; // rows that are full, where a few columns fewer make them so
  }

  asMaps(tensor) { return tensor.shape.length === 1 ? { shape: [tensor.data.length, 1, 1], data: tensor.data } : tensor; }

  // Draws the values again, after the image or a weight changed.
  refresh() {
    if (this.step === null) return;
    const { out, op } = this, maps = this.asMaps(out);
    this.layout = drawMaps(this.tiles, maps, this.columns);
    const scale = Math.max(1, Math.min(24, Math.floor(TILES_WIDTH / this.tiles.width)));
    this.tiles.style.width = `min(100%, ${this.tiles.width * scale}px)`;
    const [channel] = this.place(out.shape, this.at), off = this.model.network.off.get(this.step);
    const isOff = Boolean(off && off.has(channel)), unit = out.shape.length === 1 ? "unit" : "channel";
    this.switch.textContent = isOff ? `switch ${unit} ${channel} on` : `switch ${unit} ${channel} off`;
    this.refreshOther();
    if (!explorer.last || this.element.querySelectorAll(".explanation .number").length < LIVE_TERMS) this.explain(op, out);
    this.placeMarker();
  }

  // The same layer of the network that is compared with, and the difference.
  refreshOther() {
    const model = explorer.models.find((each) => each !== this.model), op = model && model.steps[this.step];
    this.other.replaceChildren();
    if (!explorer.page.alike || !op || op.kind !== this.op.kind || String(op.shape) !== String(this.op.shape)) return;
    const a = this.asMaps(this.out), b = this.asMaps(model.network.values[this.step + 1]), largest = largestOf(a.data);
    const difference = { shape: a.shape, data: a.data.map((value, at) => b.data[at] - value) };
    for (const [title, tensor] of [[model.name, b], [`${model.name} − ${this.model.name}`, difference]]) {
      const canvas = make("canvas", { class: "tiles" });
      drawMaps(canvas, tensor, this.columns, tensor.shape[0], largest);
      canvas.style.width = this.tiles.style.width;
      this.other.append(make("h3", {}, title), canvas);
    }
  }

  placeMarker() {
    const [channel, row, column] = this.place(this.out.shape, this.at), { layout, tiles } = this;
    const x = (channel % layout.columns) * (layout.width + layout.gap) + column;
    const y = Math.floor(channel / layout.columns) * (layout.height + layout.gap) + row;
    if (!layout) return;
    const scale = tiles.clientWidth / tiles.width;
    Object.assign(this.marker.style, { left: `${x * scale}px`, top: `${y * scale}px`, width: `${scale}px`, height: `${scale}px` });
  }

  // The position of the value under the pointer, or null.
  hit(event) {
    const box = this.tiles.getBoundingClientRect(), { layout } = this;
    const x = Math.floor(((event.clientX - box.left) / box.width) * this.tiles.width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * this.tiles.height);
    const column = x % (layout.width + layout.gap), row = y % (layout.height + layout.gap);
    const channel = Math.floor(y / (layout.height + layout.gap)) * layout.columns + Math.floor(x / (layout.width + layout.gap));
    if (x < 0 || y < 0 || column >= layout.width || row >= layout.height || channel >= layout.channels) return null;
    return (channel * layout.height + row) * layout.width + column;
  }

  hover(event) {
    const at = this.hit(event);
    this.hoverText.textContent = at === null ? "\u00a0" : `${this.placeText(this.out.shape, at)}: ${format(this.out.data[at])}`;
  }

  choose(at) {
    if (at === null) return;
    this.at = at;
    this.refresh();
    this.status.textContent = `${this.placeText(this.out.shape, at)}: ${format(this.out.data[at])}`; // read aloud
  }

  move(event) {
    const maps = this.asMaps(this.out), [channels, height, width] = maps.shape;
    let [channel, row, column] = this.place(this.out.shape, this.at);
    if (height * width === 1) { // channels are the places
      channel += { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, PageDown: 1, PageUp: -1 }[event.key] || 0;
    } else {
      column += { ArrowRight: 1, ArrowLeft: -1 }[event.key] || 0;
      row += { ArrowDown: 1, ArrowUp: -1 }[event.key] || 0;
      channel += { PageDown: 1, PageUp: -1 }[event.key] || 0;
    }
    if (!/^(Arrow|Page)/.test(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
    if (channel < 0 || channel >= channels || row < 0 || row >= height || column < 0 || column >= width) return;
    this.choose((channel * height + row) * width + column);
  }

  switchChannel() {
    const { off } = this.model.network, [channel] = this.place(this.out.shape, this.at);
    const switched = off.get(this.step) || off.set(this.step, new Set()).get(this.step);
    if (!switched.delete(channel)) switched.add(channel);
    if (!switched.size) off.delete(this.step);
    this.onChange(this.model, this.step);
  }

  // A number that can be followed to the layer that it comes from.
  term(input, at) {
    const value = this.op.inputs[input], tensor = this.model.network.values[value];
    if (at < 0) return make("span", { class: "padding", title: "beyond the border" }, "0");
    const text = format(tensor.data[at]);
    if (!value) return make("span", { class: "number", title: `the image, ${this.placeText(tensor.shape, at)}` }, text);
    const source = this.model.steps[value - 1];
    return make("button", {
      class: "number", title: `${source.label}, ${this.placeText(tensor.shape, at)}`, "data-key": `n${input}-${at}`,
      onclick: () => explorer.openLayer(this.model, value - 1, at),
    }, text);
  }

  weight(term) {
    const input = make("input", {
      class: "number", type: "text", value: format(term.factor), "aria-label": `weight of ${this.weightText(term.weight)}`, "data-key": `w${term.weight}`,
      onchange: () => {
        const value = Number(input.value.replace(",", "."));
        if (input.value.trim() === "" || !(Math.abs(value) <= MAX_WEIGHT)) { input.value = format(term.factor); return; }
        const { model, step, op } = this;
        setTimeout(() => { // after the click or the key that ended the change
          op.weight.data[term.weight] = value;
          model.changed.add(step);
          this.onChange(model, step);
        }, 0);
      },
    });
    return input;
  }

  // The place of a weight, in words.
  weightText(weight) {
    const [, channels, rows = 1, columns = 1] = this.op.weight.shape, rest = weight % (channels * rows * columns);
    return `input ${Math.floor(rest / (rows * columns))}, row ${Math.floor((rest % (rows * columns)) / columns)}, column ${rest % columns}`;
  }

  explain(op, out) {
    const focused = this.explanation.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const explained = this.model.network.explain(this.step, this.at), value = out.data[this.at];
    const [channel] = this.place(out.shape, this.at), off = this.model.network.off.get(this.step);
    const head = make("h3", {}, `${this.placeText(out.shape, this.at)} = `, make("output", { class: "number", "data-value": String(value) }, format(value)));
    const parts = off && off.has(channel) ? [make("p", {}, "It is switched off, so it is 0.")] : this.rule(explained, value);
    this.explanation.replaceChildren(head, ...parts);
    if (focused) this.explanation.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
  }

  rule(explained, value) {
    const { terms, rule } = explained, number = (term) => this.term(term.input, term.at);
    if (rule === "sum") return this.sum(explained, value);
    if (rule === "norm") {
      const { mean, deviation, weight, bias } = explained;
      const from = explained.count ? `mean and standard deviation of ${explained.count.toLocaleString("en")} numbers of this layer's input` : "mean and standard deviation (with a small constant added to the variance) as they were after training";
      return [make("p", { class: "formula" }, "(", number(terms[0]), ` − ${term(mean)}) / ${format(deviation)} × ${term(weight)} + ${term(bias)} = ${format(value)}`),
        make("p", { class: "muted" }, from)];
    }
    if (rule === "max" || rule === "average") {
      const best = rule === "max" ? terms.reduce((a, b) => (this.read(b) > this.read(a) ? b : a)) : null;
      const shown = terms.slice(0, 256);
      const grid = make("div", { class: "grid", style: `grid-template-columns: repeat(${explained.columns}, auto)` },
        ...shown.map((term) => make("span", { class: term === best ? "cell best" : "cell" }, number(term))));
      const rest = terms.length > shown.length ? ` (${shown.length} of ${terms.length} shown)` : "";
      const sum = terms.reduce((total, term) => total + this.read(term), 0);
      const formula = rule === "max" ? `max = ${format(value)}` : `${format(sum)} / ${Math.round(1 / terms[0].factor)} = ${format(value)}`;
      return [make("p", { class: "muted" }, RULES[rule] + rest), make("div", { class: "scroll", tabindex: "0" }, grid), make("p", { class: "formula" }, formula)];
    }
    if (rule === "add" || rule === "multiply") {
      return [make("p", { class: "formula" }, number(terms[0]), rule === "add" ? " + " : " × ", number(terms[1]), ` = ${format(value)}`)];
    }
    if (rule === "softmax") {
      const largest = Math.max(...terms.map((term) => this.read(term))), sum = terms.reduce((total, term) => total + Math.exp(this.read(term) - largest), 0);
      return [make("p", { class: "formula" }, "e^(", number(terms[this.at]), ` − ${format(largest)}) / ${format(sum)} = ${format(value)}`), make("p", { class: "muted" }, RULES.softmax)];
    }
    return [make("p", { class: "formula" }, rule === "moved" ? "" : `${rule}(`, number(terms[0]), rule === "moved" ? "" : `) = ${format(value)}`),
      make("p", { class: "muted" }, (RULES[rule] || "") + (this.op.alpha === undefined ? "" : `; a = ${format(this.op.alpha)}`))];
  }

  read(term) { return term.at < 0 ? 0 : this.model.network.values[this.op.inputs[term.input]].data[term.at]; }

  // A sum of products: by input channel where kernels are grids, else its largest terms.
  sum({ terms, bias, columns = 0, rows = 0, firstChannel = 0 }, value) {
    const subtotal = (some) => some.reduce((sum, term) => sum + this.read(term) * term.factor, 0);
    const area = columns * rows, total = subtotal(terms);
    const parts = [];
    if (area > 1) {
      parts.push(make("p", { class: "muted" }, "Left: the patch of the input; click a number to see where it comes from. Right: the kernel; type another number to change a weight. Numbers at the same place are multiplied, and all products are added."));
      const channels = Array.from({ length: terms.length / area }, (_, c) => ({ c, terms: terms.slice(c * area, (c + 1) * area) }));
      channels.forEach((channel) => { channel.sum = subtotal(channel.terms); });
      const order = [...channels].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
      const shown = this.allChannels ? channels : order.slice(0, SHOWN_CHANNELS).sort((a, b) => a.c - b.c);
      for (const { c, terms: own, sum } of shown) parts.push(this.kernel(firstChannel + c, own, sum, columns));
      const rest = channels.length - shown.length;
      if (rest) {
        parts.push(this.others(`${rest} other input channels: ${format(total - subtotal(shown.flatMap((each) => each.terms)))} `));
      }
    } else {
      const shown = this.allChannels ? terms : [...terms].sort((a, b) => Math.abs(this.read(b) * b.factor) - Math.abs(this.read(a) * a.factor)).slice(0, SHOWN_TERMS);
      const body = make("tbody", {}, ...shown.map((term) => make("tr", {},
        make("td", {}, `${term.at < 0 ? "border" : this.placeText(this.model.network.values[this.op.inputs[0]].shape, term.at)}`),
        make("td", { class: "number" }, this.term(term.input, term.at)), make("td", { class: "number" }, term.weight === undefined ? format(term.factor) : this.weight(term)),
        make("td", { class: "number" }, format(this.read(term) * term.factor)))));
      parts.push(make("div", { class: "scroll", tabindex: "0" }, make("table", {}, make("thead", {}, make("tr", {},
        ...["input", "value", "weight", "product"].map((text) => make("th", {}, text)))), body)));
      if (shown.length < terms.length) {
        parts.push(this.others(`${terms.length - shown.length} other terms: ${format(total - subtotal(shown))} `));
      }
    }
    parts.push(make("p", { class: "formula" }, `sum of products ${format(total)} + bias ${term(bias)} = ${format(value)}`));
    return parts;
  }

  // What the terms that are not shown add up to, and a button that shows them.
  others(text) {
    const showAll = () => {
      this.allChannels = true;
      this.refresh();
      this.tiles.focus({ preventScroll: true });
    };
    return make("p", {}, text, make("button", { class: "plain", onclick: showAll }, "show them"));
  }

  // The patch of one input channel, its kernel, and the sum of their products.
  kernel(channel, terms, sum, columns) {
    const style = `grid-template-columns: repeat(${columns}, auto)`;
    return make("div", { class: "kernel" }, make("h4", {}, `input channel ${channel}: the products add up to ${format(sum)}`),
      make("div", { class: "scroll product", tabindex: "0" },
        make("div", { class: "grid", style }, ...terms.map((term) => make("span", { class: "cell" }, this.term(term.input, term.at)))),
        make("span", { class: "times", title: "each number times the one at the same place" }, "⊙"),
        make("div", { class: "grid", style }, ...terms.map((term) => make("span", { class: "cell" }, this.weight(term))))));
  }
}
