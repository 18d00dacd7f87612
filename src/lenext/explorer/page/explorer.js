// The page: an input that is drawn, dropped or photographed; what the network makes of it; and what-if.
"use strict";

const PAD = 280; // pixels of the drawing pad's longer side
const SLOW = 70; // milliseconds; a slower network answers when the pen rests
const SHOWN_CLASSES = 10;
const MAX_PIXELS = 64e6, MAX_CANVAS_PIXELS = 16e6; // some browsers draw no larger canvas

// The bytes of an entry as numbers.
function unpacked(bytes, { type, shape, start, scales }) {
  const count = size(shape);
  if (type === "uint8") return { shape, data: new Uint8ClampedArray(bytes.buffer, bytes.byteOffset + start, count) };
  const data = new Float32Array(count);
  if (type === "int8") {
    const levels = new Int8Array(bytes.buffer, bytes.byteOffset + start, count), each = count / shape[0];
    for (let k = 0; k < count; k++) data[k] = levels[k] * scales[Math.floor(k / each)];
  } else { // plane by plane, the lowest byte first; fp24 has no lowest byte
    const given = type === "fp24" ? 3 : 4, to = new Uint8Array(data.buffer);
    for (let plane = 0; plane < given; plane++) {
      for (let k = 0; k < count; k++) to[4 * k + plane + 4 - given] = bytes[start + plane * count + k];
    }
  }
  return { shape, data };
}

async function decompressed(text) {
  const letters = atob(text), packed = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k++) packed[k] = letters.charCodeAt(k);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A network of the page with its weights.
async function modelOf(description, entries, bytes) {
  const arrays = new Map(); // a layer that runs twice has its weights once
  const array = (entry) => arrays.get(entry) || arrays.set(entry, unpacked(bytes, entries[entry])).get(entry);
  const steps = description.steps.map((step) => ({ ...step, ...Object.fromEntries(Object.entries(step.tensors).map(([role, entry]) => [role, array(entry)])) }));
  const { graph } = description, model = { ...description, steps, changed: new Set() };
  if (!graph || !runtime) return { ...model, network: new Network(steps) };
  const weights = Object.fromEntries(graph.weights.map((entry) => [`w${entry}`, array(entry)]));
  return { ...model, network: await FastNetwork.open(steps, new Uint8Array(unpacked(bytes, entries[graph.entry]).data), weights) };
}

class Explorer {
  constructor(page, bytes, models) {
    this.page = page;
    this.bytes = bytes;
    this.entries = page.entries;
    this.models = models;
    this.settings = this.models[0].settings;
    const [height, width] = this.settings.storedSize, { channels } = this.settings;
    this.blankValue = this.settings.brightness < 0.5 ? 0 : 255;
    this.blank = { shape: [channels, height, width], data: new Uint8ClampedArray(channels * height * width).fill(this.blankValue) };
    this.base = this.blank;
    this.covers = [];
    this.noise = 0;
    this.map = "none";
    this.tool = "draw";
    this.milliseconds = 0;
    this.inspector = new Inspector(byId("inspector"), (model, step) => this.changed(model, step));
    this.buildPad();
    this.buildControls();
    this.buildExamples();
    this.diagrams = this.models.map((model, at) => new Diagram(model, byId(`diagram-${at}`), (step) => this.openLayer(model, step), at && page.alike ? this.models[0] : null));
    if (page.confusion) this.buildConfusion();
    readColours();
    if (page.examples.length) this.takeExample(0);
    else this.update();
  }

  // Opens the layer that the page's address names, such as explorer.html#conv1.
  openLinked() {
    const name = location.hash.slice(1), step = this.models[0].steps.findIndex((op) => op.module === name);
    if (name && step >= 0) this.openLayer(this.models[0], step);
  }

  // ------------------------------------------------------------------ the input

  buildPad() {
    const [height, width] = this.settings.storedSize, scale = PAD / Math.max(height, width);
    this.pad = byId("pad");
    this.ink = make("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    this.inkContext = this.ink.getContext("2d", { willReadFrequently: true });
    byId("pad-frame").style.aspectRatio = `${width} / ${height}`;
    const place = (event) => {
      const box = this.pad.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * this.ink.width, ((event.clientY - box.top) / box.height) * this.ink.height];
    };
    this.pad.addEventListener("pointerdown", (event) => {
      if (!event.isPrimary || event.button !== 0) return;
      this.pad.setPointerCapture(event.pointerId);
      this.last = place(event);
      this.stroke(this.last);
    });
    this.pad.addEventListener("pointermove", (event) => { if (this.last && event.isPrimary && event.buttons) this.stroke(place(event)); });
    this.pad.addEventListener("pointerup", () => { this.last = null; this.update(); });
    this.pen = [this.ink.width / 2, this.ink.height / 2]; // of the keyboard
    this.pad.addEventListener("keydown", (event) => {
      const step = this.ink.width / 28, moves = { ArrowRight: [step, 0], ArrowLeft: [-step, 0], ArrowDown: [0, step], ArrowUp: [0, -step] };
      if (event.key === " ") this.penDown = !this.penDown;
      else if (moves[event.key]) this.pen = this.pen.map((value, axis) => clamp(value + moves[event.key][axis], 0, axis ? this.ink.height : this.ink.width));
      else return;
      event.preventDefault();
      event.stopPropagation();
      if (this.penDown) { this.last = this.last || this.pen; this.stroke(this.pen); } else this.last = null;
      const cursor = byId("pen");
      Object.assign(cursor.style, { left: `${(100 * this.pen[0]) / this.ink.width}%`, top: `${(100 * this.pen[1]) / this.ink.height}%` });
      cursor.hidden = false;
    });
  }

  stroke(to) {
    if (this.tool === "cover") {
      const side = Math.max(this.ink.width, this.ink.height) / 5;
      if (this.last && this.last !== to) this.covers.pop(); // it moves with the pointer
      this.covers.push([(to[0] - side / 2) / this.ink.width, (to[1] - side / 2) / this.ink.height, side / this.ink.width, side / this.ink.height]);
    } else {
      const context = this.inkContext;
      context.globalCompositeOperation = this.tool === "erase" ? "destination-out" : "source-over";
      context.strokeStyle = this.settings.channels === 3 ? byId("colour").value : `rgb(${255 - this.blankValue} ${255 - this.blankValue} ${255 - this.blankValue})`;
      context.lineWidth = Number(byId("brush").value);
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      context.moveTo(...(this.last || to));
      context.lineTo(to[0] + 0.01, to[1]);
      context.stroke();
    }
    this.last = to;
    this.update();
  }

  buildControls() {
    const tools = document.querySelectorAll("[data-tool]");
    tools.forEach((button) => button.addEventListener("click", () => {
      this.tool = button.dataset.tool;
      tools.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
    }));
    byId("clear").addEventListener("click", () => this.clear());
    byId("centre").addEventListener("change", () => this.update());
    byId("noise").addEventListener("input", () => { this.noise = Number(byId("noise").value); this.update(); });
    byId("file").addEventListener("change", (event) => { this.takeFile(event.target.files[0]); event.target.value = ""; });
    byId("camera").addEventListener("click", () => this.photograph());
    byId("undo").addEventListener("click", () => this.restore());
    document.querySelectorAll("[name=map]").forEach((radio) => radio.addEventListener("change", () => { this.map = radio.value; this.explainInput(); }));
    document.addEventListener("paste", (event) => {
      const item = Array.from(event.clipboardData.items).find((each) => each.type.startsWith("image/"));
      if (item) this.takeFile(item.getAsFile());
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => { event.preventDefault(); if (event.dataTransfer.files[0]) this.takeFile(event.dataTransfer.files[0]); });
    document.querySelectorAll("[data-view]").forEach((tab) => tab.addEventListener("click", () => this.view(tab.dataset.view)));
    document.querySelectorAll("[data-theme]").forEach((button) => button.addEventListener("click", () => {
      document.documentElement.dataset.theme = button.dataset.theme;
      document.querySelectorAll("[data-theme]").forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
      readColours();
      this.update();
    }));
    byId("present").addEventListener("click", () => this.present());
    document.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); this.update(); });
  }

  // Keys for a projector: the whole page without a mouse.
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isField = event.target.matches("input:not([type=checkbox], [type=radio]), select, textarea");
    if (event.key === "Escape") { this.stopCamera(); this.closeLayer(); return; }
    if (isField) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key, isNetwork = !document.querySelector("[data-panel=network]").hidden;
    const everywhere = { p: () => this.present(), n: () => this.view("network"), m: () => this.page.confusion && this.view("confusion"), "?": () => { byId("keys").open = !byId("keys").open; } };
    const layers = Array.from(document.querySelectorAll("#diagram-0 button.layer")), at = layers.indexOf(document.activeElement);
    const onNetwork = {
      c: () => this.clear(), e: () => this.takeExample((this.example ?? -1) + 1), d: () => this.pad.focus(),
      ArrowDown: () => layers[Math.min(at + 1, layers.length - 1)]?.focus(),
      ArrowUp: () => layers[Math.max(at - 1, 0)]?.focus(),
    };
    const isOwn = event.target.matches(".scroll, .scroll *, summary, [type=radio]"); // they take arrows themselves
    const action = everywhere[name] || (isNetwork && !(name.startsWith("Arrow") && isOwn) && onNetwork[name]);
    if (!action) return;
    event.preventDefault();
    action();
  }

  present() {
    const on = document.documentElement.classList.toggle("present");
    byId("present").setAttribute("aria-pressed", String(on));
    if (this.inspector.step !== null) this.inspector.refresh();
  }

  view(name) {
    this.stopCamera();
    document.querySelectorAll("[data-view]").forEach((tab) => tab.setAttribute("aria-pressed", String(tab.dataset.view === name)));
    document.querySelectorAll("[data-panel]").forEach((panel) => { panel.hidden = panel.dataset.panel !== name; });
  }

  clear() {
    this.say("");
    this.setBase(this.blank);
  }

  say(text) { byId("message").textContent = text; }

  // Replaces the image, and all that was drawn on it; `truth` is its class and `example` its number, where known.
  setBase(pixels, truth = null, example = null) {
    this.stopCamera();
    this.covers = [];
    this.inkContext.clearRect(0, 0, this.ink.width, this.ink.height);
    Object.assign(this, { base: pixels, truth, example });
    byId("examples").querySelectorAll("button").forEach((button, at) => button.setAttribute("aria-pressed", String(at === example)));
    this.update();
  }

  async takeFile(file) {
    if (!file) return;
    const url = URL.createObjectURL(file);
    try {
      const image = new Image();
      await new Promise((done, failed) => { // its size, before it is decoded
        image.onload = done;
        image.onerror = () => failed(new Error("the browser cannot read it as an image"));
        image.src = url;
      });
      if (image.naturalWidth * image.naturalHeight > MAX_PIXELS) throw new Error(`it has ${image.naturalWidth} × ${image.naturalHeight} pixels; shrink it to at most 64 million`);
      const share = Math.min(1, Math.sqrt(MAX_CANVAS_PIXELS / (image.naturalWidth * image.naturalHeight)));
      const smaller = share < 1 ? { resizeWidth: Math.floor(image.naturalWidth * share), resizeQuality: "high" } : {};
      const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none", ...smaller });
      this.takeDrawable(bitmap, bitmap.width, bitmap.height);
      this.say(`${file.name || "pasted image"}: ${image.naturalWidth} × ${image.naturalHeight} pixels`);
    } catch (error) {
      const reason = error instanceof DOMException ? "the browser cannot read it as an image" : error.message;
      this.say(`${file.name || "the image"}: ${reason}`);
    } finally { URL.revokeObjectURL(url); }
  }

  takeDrawable(source, width, height) {
    const canvas = make("canvas", { width, height }), context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
    context.drawImage(source, 0, 0);
    const pixels = fromCanvas(context.getImageData(0, 0, width, height), this.settings.channels);
    this.setBase(fitted(pixels, this.settings.storedSize, this.settings.fit));
  }

  async photograph() {
    const video = byId("video"), button = byId("camera");
    if (this.stream) {
      this.takeDrawable(video, video.videoWidth, video.videoHeight);
      return;
    }
    button.disabled = true;
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: true });
      video.srcObject = stream;
      video.hidden = false;
      await video.play();
      this.stream = stream;
      button.textContent = "take photo";
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      video.hidden = true;
      this.say("the camera cannot be used: there is none, or the browser has no permission for it");
    } finally { button.disabled = false; }
  }

  stopCamera() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    byId("video").hidden = true;
    byId("camera").textContent = "camera";
  }

  buildExamples() {
    byId("examples").replaceChildren(...this.page.examples.map((sample, at) => (
      this.sampleButton(sample, `example: ${this.page.classes[sample.label]}`, () => this.takeExample(at)))));
    byId("examples-heading").hidden = !this.page.examples.length;
  }

  sampleButton(sample, label, onclick) {
    const canvas = make("canvas", { "aria-hidden": "true" });
    drawPixels(canvas, this.pixelsOf(sample));
    return make("button", { class: "example", "aria-label": label, onclick }, canvas);
  }

  pixelsOf({ pixels, row }) {
    const each = size(this.blank.shape), { data } = unpacked(this.bytes, this.entries[pixels]);
    return { shape: this.blank.shape, data: data.subarray(row * each, (row + 1) * each) };
  }

  takeExample(at) {
    const { examples } = this.page;
    if (examples.length) this.takeSample(examples[at % examples.length], at % examples.length);
  }

  takeSample(sample, example = null) {
    this.say("");
    this.setBase(this.pixelsOf(sample), sample.label, example);
  }

  // The stored pixels: what was chosen, with ink over it, squares that cover it, and noise.
  pixels() {
    const [channels, height, width] = this.blank.shape, plane = height * width;
    const result = { shape: this.blank.shape, data: Uint8ClampedArray.from(this.base.data) };
    const ink = this.inkPixels();
    if (ink) {
      for (let p = 0; p < plane; p++) {
        const share = ink.alpha.data[p] / 255;
        for (let c = 0; c < channels; c++) result.data[c * plane + p] = result.data[c * plane + p] * (1 - share) + ink.colour(c, p) * share;
      }
    }
    for (const [left, top, wide, tall] of this.covers) {
      for (let y = Math.max(0, Math.round(top * height)); y < Math.min(height, Math.round((top + tall) * height)); y++) {
        for (let x = Math.max(0, Math.round(left * width)); x < Math.min(width, Math.round((left + wide) * width)); x++) {
          for (let c = 0; c < channels; c++) result.data[c * plane + y * width + x] = 255 * this.settings.mean[c];
        }
      }
    }
    if (this.noise) {
      this.normals = this.normals || normals(result.data.length);
      for (let k = 0; k < result.data.length; k++) result.data[k] += this.noise * this.normals[k];
    }
    return result;
  }

  // The ink at the size of the stored pixels; null where nothing is drawn.
  inkPixels() {
    const { width, height } = this.ink, { data } = this.inkContext.getImageData(0, 0, width, height), plane = width * height;
    const channel = (k) => {
      const values = new Uint8ClampedArray(plane);
      for (let p = 0; p < plane; p++) values[p] = data[4 * p + k];
      return { shape: [1, height, width], data: values };
    };
    const drawn = channel(3);
    if (!drawn.data.some((value) => value)) return null;
    const isDigit = this.base === this.blank && byId("centre").checked && this.settings.channels === 1;
    const alpha = fitted(isDigit ? centredInk(drawn) : drawn, this.settings.storedSize, "crop");
    if (this.settings.channels === 1) return { alpha, colour: () => 255 - this.blankValue };
    const weighted = [0, 1, 2].map((k) => { // colours count where there is ink
      const values = channel(k);
      values.data.forEach((value, p) => { values.data[p] = (value * drawn.data[p]) / 255; });
      return fitted(values, this.settings.storedSize, "crop");
    });
    return { alpha, colour: (c, p) => Math.min(255, (255 * weighted[c].data[p]) / Math.max(alpha.data[p], 1)) };
  }

  // ------------------------------------------------------------------ computing and showing

  // Computes at the next frame; a slow network waits until the pen rests.
  update() {
    clearTimeout(this.timer);
    clearTimeout(this.occlusionTimer);
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      this.drawPad();
      if (this.milliseconds > SLOW) this.timer = setTimeout(() => this.compute(), 150);
      else this.compute();
    });
  }

  drawPad() {
    this.shown = this.pixels();
    drawPixels(this.pad, this.shown);
  }

  compute() {
    const started = performance.now();
    const images = this.models.map((model) => prepared(this.shown, model.settings));
    if (runtime) return this.computeFast(images, started);
    this.models.forEach((model, at) => model.network.run(images[at]));
    return this.showComputed(started);
  }

  // The same by onnxruntime-web, which answers later; of several images that wait, the last one is shown.
  async computeFast(images, started) {
    const turn = this.turn = (this.turn || 0) + 1;
    for (let at = 0; at < images.length && turn === this.turn; at++) await this.models[at].network.compute(images[at]);
    if (turn === this.turn) this.showComputed(started);
  }

  showComputed(started) {
    const computed = performance.now() - started, count = this.models.reduce((sum, model) => sum + model.steps.length, 0);
    byId("time").textContent = `${computed.toFixed(1)} ms for all ${count} operations`;
    this.show();
    this.milliseconds = performance.now() - started;
  }

  changed(model, step) {
    if (runtime) { this.computeFast(this.models.map((each) => each.network.values[0]), performance.now()); return; }
    const { weight } = model.steps[step], first = weight ? model.steps.findIndex((op) => op.weight === weight) : step;
    model.network.run(model.network.values[0], first);
    this.show();
  }

  // Takes back all changes of weights, and switches all channels on.
  restore() {
    this.models.forEach((model, at) => {
      for (const step of model.changed) model.steps[step].weight.data.set(unpacked(this.bytes, this.entries[this.page.networks[at].steps[step].tensors.weight]).data);
      model.changed.clear();
      model.network.off.clear();
    });
    this.pad.focus();
    this.compute();
  }

  show() {
    byId("changes").hidden = !this.models.some((each) => each.changed.size || each.network.off.size);
    this.showAnswer();
    this.diagrams.forEach((diagram) => diagram.refresh());
    this.inspector.refresh();
    this.explainInput();
  }

  showAnswer() {
    const answers = this.models.map((model) => model.network.probabilities()), { classes } = this.page;
    const most = (label) => Math.max(...answers.map((answer) => answer[label]));
    const best = answers.map((answer) => answer.indexOf(Math.max(...answer)));
    const labels = classes.map((_, label) => label), order = [...labels].sort((a, b) => most(b) - most(a)).slice(0, SHOWN_CLASSES);
    byId("answer").replaceChildren(...(classes.length <= SHOWN_CLASSES ? labels : order).map((label) => make("li", { class: label === best[0] ? "best" : "" },
      make("span", { class: "class", dir: "auto" }, classes[label]),
      make("span", { class: "bars" }, ...answers.map((answer, at) => make("span", { class: `bar bar-${at}`, style: `width:${(100 * answer[label]).toFixed(2)}%` }))),
      make("span", { class: "share", "data-value": String(answers[0][label]) }, answers.map((answer) => percent(answer[label])).join(" · ")))));
    const verdict = (label) => (label < 0 ? "none: the values are too large to compute with" : this.truth === null ? classes[label]
      : label === this.truth ? `${classes[label]}, which is correct` : `${classes[label]}, but it is ${classes[this.truth]}`);
    const text = best.length === 1 ? verdict(best[0]) : best.map((label, at) => `${verdict(label)} (${this.models[at].name})`).join("; ");
    if (byId("verdict").textContent !== text) byId("verdict").textContent = text; // it is read aloud
  }

  openLayer(model, step, at = null) {
    const diagram = this.diagrams[this.models.indexOf(model)];
    this.diagrams.filter((each) => each !== diagram).forEach((each) => each.mark(null));
    document.body.classList.add("inspecting");
    diagram.reveal(step);
    this.inspector.open(model, step, at);
    this.inspector.tiles.focus({ preventScroll: true });
    if (matchMedia("(max-width: 1139px)").matches) byId("inspector").scrollIntoView({ behavior: "smooth", block: "start" });
  }

  closeLayer() {
    const { step, model } = this.inspector;
    if (step === null) return;
    this.inspector.close();
    document.body.classList.remove("inspecting");
    this.diagrams.forEach((diagram) => diagram.mark(null));
    document.querySelector(`#diagram-${this.models.indexOf(model)} [data-step="${step}"]`)?.focus();
  }

  // ------------------------------------------------------------------ what the answer depends on

  // Draws a map of the network's input over the image, which has the size of the stored pixels.
  drawMap(values, height, width) {
    const isSame = this.settings.resize === "interpolate", [tall, wide] = isSame ? [height, width] : this.settings.storedSize;
    const map = { shape: [1, height, width], data: values };
    drawHeat(byId("heat"), (isSame ? map : placed(map, [tall, wide])).data, tall, wide);
  }

  explainInput() {
    const heat = byId("heat"), [channels, height, width] = this.models[0].network.values[0].shape;
    clearTimeout(this.occlusionTimer);
    this.occlusion = (this.occlusion || 0) + 1;
    heat.hidden = this.map === "none";
    byId("map-text").textContent = "";
    if (this.map === "none") return;
    const { network } = this.models[0], answer = network.probabilities(), label = Math.max(0, answer.indexOf(Math.max(...answer)));
    if (this.map === "saliency") {
      const gradient = network.gradient(label).data, plane = height * width;
      const values = Float32Array.from({ length: plane }, (_, p) => {
        let largest = 0;
        for (let c = 0; c < channels; c++) largest = Math.max(largest, Math.abs(gradient[c * plane + p]));
        return largest;
      });
      this.drawMap(values, height, width);
      byId("map-text").textContent = `${this.ofFirst()}Strong colour: a small change of this pixel changes the logit of “${this.page.classes[label]}” most, up or down.`;
    } else this.occlude(label, answer[label], height, width);
  }

  // Names the network that a map is of, where there are two.
  ofFirst() { return this.models.length > 1 ? `${this.models[0].name}: ` : ""; }

  // Covers a square at one place after another, and shows how much probability is lost; in steps, so that the page reacts.
  occlude(label, before, height, width) {
    const { network, steps } = this.models[0], image = network.values[0], heat = new Float32Array(height * width), counts = new Float32Array(height * width);
    const side = Math.max(2, Math.round(Math.max(height, width) / 6)), stride = Math.max(1, Math.floor(side / 2)), squares = [];
    for (let y = 0; y < height; y += stride) for (let x = 0; x < width; x += stride) squares.push([y, x]);
    const second = this.second = this.second || (runtime ? network.twin() : new Network(steps)), { mean, scale, shift } = this.settings; // keeps what is shown
    const colour = Array.from({ length: image.shape[0] }, (_, c) => {
      const own = Math.min(c, scale.length - 1);
      return 255 * mean[Math.min(c, mean.length - 1)] * scale[own] + shift[own];
    });
    second.off = network.off;
    const turn = this.occlusion = (this.occlusion || 0) + 1;
    const step = async () => {
      const until = performance.now() + 30;
      while (squares.length && performance.now() < until && turn === this.occlusion) {
        const [top, left] = squares.shift(), covered = { shape: image.shape, data: Float32Array.from(image.data) };
        const each = (visit) => { for (let y = top; y < Math.min(top + side, height); y++) for (let x = left; x < Math.min(left + side, width); x++) visit(y * width + x); };
        for (let c = 0; c < image.shape[0]; c++) each((p) => { covered.data[c * height * width + p] = colour[c]; });
        const answer = runtime ? await second.compute(covered) : second.run(covered), lost = before - answer[label];
        each((p) => { heat[p] += lost; counts[p] += 1; });
      }
      if (turn !== this.occlusion) return;
      this.drawMap(heat.map((value, p) => value / (counts[p] || 1)), height, width);
      if (squares.length) this.occlusionTimer = setTimeout(step, 0);
    };
    byId("map-text").textContent = `${this.ofFirst()}Red: covering this place lowers the probability of “${this.page.classes[label]}”. Green: covering it raises it.`;
    this.occlusionTimer = setTimeout(step, 150); // when the pen rests
  }

  // ------------------------------------------------------------------ the confusion matrix

  buildConfusion() {
    const { counts, cells } = this.page.confusion, { classes } = this.page;
    const head = make("tr", {}, make("th", {}, "true \\ predicted"), ...classes.map((name) => make("th", { scope: "col", title: name }, name)));
    const rows = counts.map((row, a) => make("tr", {}, make("th", { scope: "row", title: classes[a] }, classes[a]), ...row.map((count, b) => {
      const samples = cells[`${a},${b}`] || [], share = count / Math.max(1, row.reduce((sum, each) => sum + each, 0));
      const style = `--share:${Math.sqrt(share).toFixed(3)}`;
      if (!samples.length) return make("td", { style, class: a === b ? "right" : "" }, String(count || ""));
      return make("td", { style, class: a === b ? "right" : "" }, make("button", {
        "aria-label": `${count} images of ${classes[a]} predicted as ${classes[b]}`, onclick: () => this.showCell(a, b, count, samples),
      }, String(count)));
    })));
    byId("matrix").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }

  showCell(a, b, count, samples) {
    const { classes } = this.page;
    byId("cell-heading").textContent = `${classes[a]} predicted as ${classes[b]}: ${count} image${count === 1 ? "" : "s"}${samples.length < count ? `, ${samples.length} shown` : ""}`;
    byId("cell-images").replaceChildren(...samples.map((sample) => this.sampleButton(sample, `open this image of ${classes[a]}`, () => {
      this.takeSample(sample);
      this.view("network");
      this.pad.focus();
    })));
  }
}

let explorer = null;

async function start() {
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old for the page: it has no DecompressionStream; use Chrome 111, Firefox 121, Safari 16.4 or newer");
  const page = JSON.parse(byId("page").textContent), bytes = await decompressed(byId("arrays").textContent);
  if (byId("runtime-program")) {
    await startRuntime().catch((error) => { // the networks are computed all the same
      runtime = null;
      byId("slow").textContent = `This browser cannot run onnxruntime-web (${error.message}); the page computes by itself, more slowly.`;
      byId("slow").hidden = false;
    });
  }
  const models = [];
  for (const each of page.networks) models.push(await modelOf(each, page.entries, bytes));
  explorer = new Explorer(page, bytes, models);
  cancelAnimationFrame(explorer.frame); // computed now instead, for the layer that is opened
  explorer.drawPad();
  await explorer.compute();
  explorer.openLinked();
}

start().catch((error) => {
  byId("failure").textContent = `The explorer cannot start: ${error.message}.`;
  byId("failure").hidden = false;
});
