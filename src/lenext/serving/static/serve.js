// The page of the service: an image in, the most probable classes out.

const TOP = 5;
const byId = (id) => document.getElementById(id);
const shown = byId("shown");
let image = null; // the file that is asked about
let asked = 0; // answers to earlier questions are not shown

function headers() {
  const key = byId("key").value;
  return key ? { authorization: `Bearer ${key}` } : {};
}

async function listModels() {
  const response = await fetch("/v2/models", { headers: headers() });
  byId("key-field").hidden = response.status !== 401 && !byId("key").value;
  if (!response.ok) return;
  const { models } = await response.json();
  byId("model").replaceChildren(...models.map((name) => new Option(name, name)));
  byId("model-field").hidden = models.length < 2;
}

async function draw(file, map) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    shown.hidden = true; // the service says what is wrong with it
    byId("hint").hidden = false;
    return;
  }
  const scale = Math.max(1, Math.floor(420 / Math.max(bitmap.width, bitmap.height)));
  [shown.width, shown.height] = [bitmap.width * scale, bitmap.height * scale];
  const context = shown.getContext("2d");
  context.imageSmoothingEnabled = scale === 1;
  context.drawImage(bitmap, 0, 0, shown.width, shown.height);
  if (map) await drawMap(context, map);
  shown.hidden = false;
  byId("hint").hidden = true;
}

// The map is of what the network sees: by default the centre, in the network's aspect.
async function drawMap(context, { png, fit }) {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const layer = new OffscreenCanvas(bitmap.width, bitmap.height);
  const inside = layer.getContext("2d");
  inside.drawImage(bitmap, 0, 0);
  const pixels = inside.getImageData(0, 0, layer.width, layer.height);
  for (let place = 0; place < pixels.data.length; place += 4) {
    const value = pixels.data[place];
    pixels.data.set([255, 150 - 0.35 * value, 0, (0.7 * value * value) / 255], place);
  }
  inside.putImageData(pixels, 0, 0);
  const choose = fit === "pad" ? Math.max : Math.min;
  const scale = choose(shown.width / layer.width, shown.height / layer.height);
  const [width, height] = [layer.width * scale, layer.height * scale];
  context.imageSmoothingEnabled = true;
  context.drawImage(layer, (shown.width - width) / 2, (shown.height - height) / 2, width, height);
}

function say(kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  return line;
}

function showAnswer(prediction, model, milliseconds) {
  const list = document.createElement("ol");
  prediction.classes.forEach((name, place) => {
    const share = prediction.probabilities[place];
    const [item, label, figure, bar] = ["li", "bdi", "span", "meter"].map((tag) => document.createElement(tag));
    item.className = place ? "" : "best";
    label.textContent = label.title = name;
    figure.textContent = `${(100 * share).toFixed(1)} %`;
    bar.value = share;
    bar.setAttribute("aria-label", `probability of ${name}`);
    item.append(label, figure, bar);
    list.append(item);
  });
  const title = document.createElement("h2");
  title.textContent = prediction.classes[0];
  const remarks = prediction.remarks.map((remark) => say("remark", remark));
  const facts = say("muted", `${model} · ${prediction.engine} · answered in ${milliseconds.toFixed(0)} ms`);
  byId("answer").replaceChildren(title, list, ...remarks, facts);
}

async function ask() {
  if (!image) return;
  const number = ++asked;
  const query = new URLSearchParams(byId("treatment").value);
  query.set("top", TOP);
  if (byId("model").value) query.set("model", byId("model").value);
  if (byId("explain").checked) query.set("explain", "gradcam");
  const began = performance.now();
  try {
    const response = await fetch(`/predict?${query}`, {
      method: "POST", body: image, headers: { ...headers(), "content-type": "application/octet-stream" },
    });
    const content = await response.json();
    if (number !== asked) return;
    await draw(image, response.ok && content[0].explanation && { ...content[0].explanation, fit: query.get("fit") });
    if (response.ok) showAnswer(content[0], response.headers.get("x-model"), performance.now() - began);
    else byId("answer").replaceChildren(say("failure", content.error));
    if (response.status === 401) byId("key-field").hidden = false;
  } catch {
    if (number === asked) byId("answer").replaceChildren(say("failure", "The service does not answer. Is it still running?"));
  }
}

function take(files) {
  const file = [...files].find((each) => each.type.startsWith("image/")) ?? files[0];
  if (!file) return;
  image = file;
  ask();
}

const drop = byId("drop");
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
drop.addEventListener("drop", (event) => { drop.classList.remove("over"); take(event.dataTransfer.files); });
window.addEventListener("paste", (event) => take(event.clipboardData.files));
byId("file").addEventListener("change", (event) => take(event.target.files));
byId("options").addEventListener("submit", (event) => event.preventDefault());
byId("options").addEventListener("change", (event) => (event.target.id === "key" ? listModels().then(ask) : ask()));
listModels();
