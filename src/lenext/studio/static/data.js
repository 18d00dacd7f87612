// The data browser: classes and their counts, images page by page, an image as training augments it.
import { Failure, html, query, useAnswer, useEffect, useState } from "./page.js";

const DRAWS = 12;
const KEYS = [["flip", "true, false or auto"], ["shift", "pixels"], ["random_crop", "0.01 to 1"], ["color_jitter", "0 to 1"], ["cutout", "pixels"], ["random_erasing", "0 to 1"]];

export function Data({ search }) {
  const choices = useAnswer("/api/choices").value;
  const [typed, type] = useState(search.get("source") || "digits");
  const source = search.get("source") || "";
  const { value: data, error } = useAnswer(source ? `/api/data?${query({ source })}` : "");
  const [split, setSplit] = useState("train");
  const [label, setLabel] = useState("");
  const [page, setPage] = useState(0);
  const [chosen, choose] = useState(null);
  useEffect(() => { setSplit("train"); setLabel(""); setPage(0); choose(null); }, [source]);
  const is_open = data?.source === source;
  const listed = useAnswer(is_open ? `/api/data/images?${query({ source, split, label, page })}` : "");
  const image = (row, where = split) => `/data/image?${query({ source, split: where, row })}`;
  const open = (event) => { event.preventDefault(); location.hash = `#/data?${query({ source: typed.trim() })}`; };
  return html`<div class="title"><h1>Data</h1></div>
    <form class="tools" onSubmit=${open}><label>data <input value=${typed} list="sources" onInput=${(event) => type(event.target.value)} /></label><button class="main">open</button>
      <datalist id="sources">${choices?.datasets.map((each) => html`<option value=${each.name}>${each.about}</option>`)}</datalist>
      ${is_open ? html`<a class="button" href="#/train?${query({ data: source })}">train on it</a><a class="button" href="#/audits?${query({ source })}">audit it</a>` : null}</form>
    <${Failure} text=${error} />
    ${source && !data && !error ? html`<p role="status"><span class="spinner"></span> reading ${source} …</p>` : null}
    ${is_open ? html`<p><bdi>${data.name}</bdi>: ${Object.entries(data.splits).map(([name, counts]) => `${counts.reduce((a, b) => a + b, 0).toLocaleString("en")} ${name}`).join(", ")}; ${data.shape.join(" × ")}, ${data.classes.length} classes</p>
      ${data.notes.map((note) => html`<p class="notice">${note}</p>`)}
      <div class="tools">
        <label>split <select value=${split} onChange=${(event) => { setSplit(event.target.value); setPage(0); choose(null); }}>${Object.keys(data.splits).map((name) => html`<option>${name}</option>`)}</select></label>
        <label>class <select value=${label} onChange=${(event) => { setLabel(event.target.value); setPage(0); choose(null); }}><option value="">all</option>${data.classes.map((each, at) => html`<option value=${each}>${each} (${data.splits[split]?.[at] ?? 0})</option>`)}</select></label>
        <button disabled=${page === 0} onClick=${() => setPage(page - 1)}>previous</button><button disabled=${!listed.value || page + 1 >= listed.value.pages} onClick=${() => setPage(page + 1)}>next</button>
        <span class="muted" role="status">${listed.value ? `page ${page + 1} of ${listed.value.pages}` : ""}</span>
      </div>
      <${Failure} text=${listed.error} />
      <div class="images">${listed.value?.images.map((each) => html`<button class="plain image" key=${`${split}${each.row}`} aria-pressed=${chosen?.row === each.row} onClick=${() => choose(each)}><img src=${image(each.row)} alt="${each.label}, sample ${each.sample}" loading="lazy" width="72" height="72" /><bdi>${each.label}</bdi></button>`)}</div>
      ${chosen ? html`<${Augmented} key=${chosen.row} source=${source} split=${split} chosen=${chosen} original=${image(chosen.row)} choices=${choices} />` : html`<p class="muted">Choose an image to see it as training augments it.</p>`}` : null}`;
}

function Augmented({ source, split, chosen, original, choices }) {
  const [recipe, setRecipe] = useState("");
  const [keys, setKeys] = useState({});
  const path = (draw) => `/data/augmented?${query({ source, split, row: chosen.row, recipe, ...keys, draw })}`;
  const [failure, fail] = useState("");
  async function explain() {  // an image that does not come has a reason
    const response = await fetch(path(0));
    fail(response.ok ? "" : (await response.json()).error);
  }
  const change = (action) => { action(); fail(""); };
  return html`<h2><bdi>${chosen.label}</bdi>, sample <bdi>${chosen.sample}</bdi></h2>
    <div class="tools"><label>augmented as <select value=${recipe} onChange=${(event) => change(() => setRecipe(event.target.value))}><option value="">lenet</option>${choices?.networks.filter((each) => each.name !== "lenet").map((each) => html`<option>${each.name}</option>`)}${choices?.recipes.map((each) => html`<option>${each.name}</option>`)}</select></label>
      ${KEYS.map(([key, about]) => html`<label>${key.replaceAll("_", " ")} <input class="short" value=${keys[key] || ""} placeholder=${about} title=${about} onChange=${(event) => change(() => setKeys({ ...keys, [key]: event.target.value.trim() }))} /></label>`)}</div>
    <${Failure} text=${failure} />
    <div class="images large"><figure><img src=${original} alt="as stored" width="112" height="112" /><figcaption>as stored</figcaption></figure>
      ${Array.from({ length: DRAWS }, (_, draw) => html`<figure><img src=${path(draw)} alt="augmented, draw ${draw + 1}" width="112" height="112" onError=${draw ? null : explain} /><figcaption>draw ${draw + 1}</figcaption></figure>`)}</div>
    <p class="muted">Each epoch draws anew. Mixup and cutmix blend several images and are not shown.</p>`;
}
