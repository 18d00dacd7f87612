// A pad to draw on, or to drop an image into; the run's network answers.
import { Failure, address, html, percent, useEffect, useRef, useState } from "./page.js";

const SIDE = 280, PEN = 22;

export function Pad({ name }) {
  const canvas = useRef(null), state = useRef({ last: null, busy: false, again: false, drawn: true, drawing: 0 });
  const [answer, setAnswer] = useState(null);
  const [failure, fail] = useState("");

  function clear() {
    const context = canvas.current.getContext("2d");
    context.fillStyle = "black";
    context.fillRect(0, 0, SIDE, SIDE);
    Object.assign(state.current, { drawn: true, file: null, again: false, drawing: state.current.drawing + 1 });
    setAnswer(null);
    fail("");
  }
  useEffect(clear, []);

  // One question at a time: while it is answered, later strokes wait for the next one.
  async function predict() {
    const now = state.current;
    if (now.busy) { now.again = true; return; }
    now.busy = true;
    const { drawing } = now, show = (action) => { if (drawing === now.drawing) action(); };  // not after `clear`
    try {
      const image = now.file || await new Promise((done) => canvas.current.toBlob(done, "image/png"));
      const path = `/api/${address("runs", name)}/predict?drawn=${now.drawn ? 1 : 0}`;
      const response = await fetch(path, { method: "POST", headers: { "content-type": image.type || "image/png" }, body: image });
      const content = await response.json();
      show(() => { setAnswer(response.ok ? content : null); fail(response.ok ? "" : content.error); });
    } catch { show(() => fail("the studio does not answer")); }
    now.busy = false;
    if (now.again) { now.again = false; predict(); }
  }

  function point(event) {
    const frame = canvas.current.getBoundingClientRect();
    return [(event.clientX - frame.left) / frame.width * SIDE, (event.clientY - frame.top) / frame.height * SIDE];
  }

  function draw(event) {
    if (!state.current.last) return;
    const context = canvas.current.getContext("2d"), to = point(event);
    Object.assign(context, { strokeStyle: "white", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(...state.current.last);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    state.current.last = to;
    predict();
  }

  function start(event) {
    if (!state.current.drawn) clear();  // a photograph is not drawn on
    Object.assign(state.current, { last: point(event), file: null, drawn: true });
    canvas.current.setPointerCapture(event.pointerId);
    draw(event);
  }

  async function open(file) {
    if (!file) return;
    if (!file.type.startsWith("image/")) { fail(`${file.name}: no image`); return; }
    try {
      const bitmap = await createImageBitmap(file), scale = Math.min(SIDE / bitmap.width, SIDE / bitmap.height);
      const width = scale * bitmap.width, height = scale * bitmap.height;
      clear();
      canvas.current.getContext("2d").drawImage(bitmap, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
    } catch { fail(`${file.name}: it cannot be read as an image`); return; }
    Object.assign(state.current, { file, drawn: false });
    predict();
  }

  function choose(event) { open(event.target.files[0]); event.target.value = ""; }

  function drop(event) { event.preventDefault(); open(event.dataTransfer.files[0]); }

  return html`<div class="pad" onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
    <canvas ref=${canvas} width=${SIDE} height=${SIDE} role="img" aria-label="drawing pad; images can also be opened as files"
      onPointerDown=${start} onPointerMove=${draw} onPointerUp=${() => { state.current.last = null; }} onPointerCancel=${() => { state.current.last = null; }}></canvas>
    <div class="answers">
      <div class="tools"><button onClick=${clear}>clear</button>
        <label class="file"><input type="file" accept="image/*" onChange=${choose} /><span>open image</span></label></div>
      <${Failure} text=${failure} />
      ${answer ? html`<ol aria-live="polite" aria-label="answer">${answer.classes.map((each, at) => html`<li class=${at ? "" : "best"}>
        <bdi title=${each}>${each}</bdi><meter min="0" max="1" value=${answer.probabilities[at]} aria-label=${each}></meter>
        <span>${percent(answer.probabilities[at], 1)}</span></li>`)}</ol>` : html`<p class="muted">Draw, or drop an image here. For a network of grey images, what is drawn is centred and scaled as MNIST's digits are; an image file is prepared as in training.</p>`}
    </div></div>`;
}
