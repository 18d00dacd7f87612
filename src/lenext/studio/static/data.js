// The data browser: classes and their counts, images page by page, an image as training augments it.
import { Failure, Working, html, query, useAnswer, useEffect, useState } from "./page.js";
import { Key } from "./training.js";

const DRAWS = 12;
const OF_BATCHES = ["mixup", "cutmix"];  // they blend several images
const SMALL = 64;  // pixels a side, up to which images are shown in squares

export function Data({ search }) {
  const choices = useAnswer("/api/choices").value;
  const source = search.get("source") || "";
  const [typed, type] = useState(source || "digits");
  const { value: data, error } = useAnswer(source ? `/api/data?${query({ source })}` : "");
  const isOpen = data?.source === source;
  const open = (event) => { event.preventDefault(); location.hash = `#/data?${query({ source: typed.trim() })}`; };
  return html`<div class="title"><h1>Data</h1></div>
    <form class="tools" onSubmit=${open}>
      <label>data <input class="long" value=${typed} list="sources" onInput=${(event) => type(event.target.value)} /></label><button class="main">open</button>
      <datalist id="sources">${choices?.datasets.map((each) => html`<option value=${each.name}>${each.about}</option>`)}</datalist>
      ${isOpen ? html`<a class="button" href="#/train?${query({ data: source, network: data.preview })}">train on it</a><a class="button" href="#/audits?${query({ source })}">audit it</a>` : null}</form>
    <${Failure} text=${error} />
    ${source && !isOpen && !error ? html`<${Working}>reading ${source} …<//>` : null}
    ${isOpen ? html`<${Browser} key=${source} data=${data} choices=${choices} />` : null}`;
}

function Browser({ data, choices }) {
  const source = data.source;
  const [at, go] = useState({ split: "train", label: "", page: 0 });
  const [chosen, choose] = useState(null);
  const { value: listed, error } = useAnswer(`/api/data/images?${query({ source, ...at })}`);
  const move = (change) => { go({ ...at, page: 0, ...change }); choose(null); };
  const total = (counts) => counts.reduce((a, b) => a + b, 0).toLocaleString("en");
  const sizes = Object.entries(data.splits).map(([name, counts]) => `${total(counts)} ${name}`).join(", ");
  const isSmall = Math.max(...data.shape.slice(1)) <= SMALL ? "small" : "";
  return html`<p><bdi>${data.name}</bdi>: ${sizes}; ${data.is_folder ? `shown in ${data.shape.slice(1).join(" × ")} px` : data.shape.join(" × ")}, ${data.classes.length} classes</p>
    ${data.notes.map((note) => html`<p class="notice">${note}</p>`)}
    <div class="tools">
      <label>split <select value=${at.split} onChange=${(event) => move({ split: event.target.value, label: "" })}>${Object.keys(data.splits).map((name) => html`<option>${name}</option>`)}</select></label>
      <label>class <select value=${at.label} onChange=${(event) => move({ label: event.target.value })}><option value="">all</option>
        ${data.classes.map((each, place) => html`<option value=${each}>${each} (${data.splits[at.split][place]})</option>`)}</select></label>
      <button disabled=${at.page === 0} onClick=${() => move({ page: at.page - 1 })}>previous</button>
      <button disabled=${!listed || at.page + 1 >= listed.pages} onClick=${() => move({ page: at.page + 1 })}>next</button>
      <span class="muted" role="status">${listed ? `page ${listed.page + 1} of ${listed.pages}` : ""}</span>
    </div>
    <${Failure} text=${error} />
    <div class="images ${isSmall}">${listed?.images.map((each) => html`
      <button class="plain image" key=${`${listed.split} ${each.row}`} aria-pressed=${chosen?.row === each.row} onClick=${() => choose({ ...each, split: listed.split })}>
        <img src="/data/image?${query({ source, split: listed.split, row: each.row })}" alt="${each.label}, sample ${each.sample}" loading="lazy" width="72" height="72" /><bdi title=${each.label}>${each.label}</bdi></button>`)}</div>
    ${chosen ? html`<${Augmented} key=${`${chosen.split} ${chosen.row}`} data=${data} chosen=${chosen} choices=${choices} isSmall=${isSmall} />` : html`<p class="muted">Choose an image to see it as training augments it.</p>`}`;
}

function Augmented({ data, chosen, choices, isSmall }) {
  const [recipe, setRecipe] = useState(data.preview);
  const [keys, setKeys] = useState({});
  const [failure, fail] = useState("");
  const isNetwork = choices?.networks.some((each) => each.name === recipe);
  const declared = useAnswer(choices ? `/api/form?${query(isNetwork ? { network: recipe } : { recipe })}` : "").value;
  const fields = declared?.groups.find((group) => group.title === "Augmentation").keys.filter((each) => !OF_BATCHES.includes(each.name));
  const place = { source: data.source, split: chosen.split, row: chosen.row };
  const path = (draw) => `/data/augmented?${query({ ...place, recipe, ...keys, draw })}`;
  useEffect(() => {  // an image that does not come has a reason
    let isLate = false;
    fetch(path(0)).then((response) => response.ok ? { error: "" } : response.json(), () => ({ error: "" }))
      .then(({ error }) => { if (!isLate) fail(error); });
    return () => { isLate = true; };
  }, [recipe, JSON.stringify(keys)]);
  const set = (name, value) => { const next = { ...keys, [name]: value }; if (value === "") delete next[name]; setKeys(next); };
  return html`<h2><bdi>${chosen.label}</bdi>, sample <bdi>${chosen.sample}</bdi></h2>
    <div class="tools"><label>augmented as <select value=${recipe} onChange=${(event) => setRecipe(event.target.value)}>
      <optgroup label="networks">${choices?.networks.map((each) => html`<option>${each.name}</option>`)}</optgroup>
      <optgroup label="recipes">${choices?.recipes.map((each) => html`<option>${each.name}</option>`)}</optgroup></select> trains</label></div>
    <details><summary>Change the augmentation</summary><div class="fields">${fields?.map((each) => html`
      <${Key} key=${each.name} declared=${each} value=${keys[each.name]} set=${(value) => set(each.name, value)} />`)}</div></details>
    <${Failure} text=${failure} />
    <div class="images large ${isSmall}"><figure><img src="/data/image?${query(place)}" alt="as stored" width="112" height="112" /><figcaption>as stored</figcaption></figure>
      ${Array.from({ length: failure ? 0 : DRAWS }, (_, draw) => html`<figure><img src=${path(draw)} alt="augmented, draw ${draw + 1}" width="112" height="112" /><figcaption>at random, ${draw + 1}</figcaption></figure>`)}</div>
    <p class="muted">Each epoch draws anew. Mixup and cutmix blend several images and are not shown.</p>`;
}
