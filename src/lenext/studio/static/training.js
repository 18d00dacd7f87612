// The form of a training, made from the recipe's declarations; the plan with its time; the start.
import { Failure, ask, commandOf, html, place, query, useAnswer, useEffect, useNews, useRef, useState } from "./page.js";

const MORE = [
  ["options", "options of the network", "key=value, comma-separated, e.g. activation=tanh"],
  ["weights", "start from weights", "a .pt, .pth or .safetensors file"],
  ["freeze", "freeze", "parts, comma-separated; backbone: all but the last layer"],
  ["test_data", "separate test data", "a name or a path"],
  ["label_column", "label column of a CSV", "its name, or its number from 0"],
  ["corrections", "corrections of labels", "the CSV that the review of an audit writes"],
];

export function Training({ search }) {
  useNews();
  const choices = useAnswer("/api/choices").value;
  const [form, setForm] = useState({ network: search.get("network") || "", data: search.get("data") || "", recipe: search.get("from") || "", corrections: search.get("corrections") || "", keys: {} });
  const [asked, setAsked] = useState({ network: form.network, recipe: form.recipe });
  const declared = useAnswer(`/api/form?${query(asked)}`);
  const [planned, setPlanned] = useState(null);
  const [failure, fail] = useState("");
  const [find, setFind] = useState("");

  const set = (key, value) => { setForm({ ...form, [key]: value }); setPlanned(null); };
  const setKey = (key, value) => { const keys = { ...form.keys, [key]: value }; if (value === "") delete keys[key]; setForm({ ...form, keys }); setPlanned(null); };
  useEffect(() => {  // ask for the form of a network when its name has been typed
    const timer = setTimeout(() => setAsked({ network: form.network.trim(), recipe: form.recipe.trim() }), 300);
    return () => clearTimeout(timer);
  }, [form.network, form.recipe]);

  function send(path, then) {
    fail("");
    const options = Object.fromEntries((form.options || "").split(",").filter((each) => each.trim()).map((each) => each.split(/=(.*)/).slice(0, 2).map((part = "") => part.trim())));
    ask(path, { ...form, options }).then(then, (error) => fail(error.message));
  }
  const plan = commandOf(planned);
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const field = (key, title, about, list) => html`<label class="field"><span>${title}</span><input value=${form[key] || ""} list=${list} placeholder=${about} onInput=${(event) => set(key, event.target.value)} /></label>`;
  return html`<div class="title"><h1>Train</h1><p class="muted">Each field is an option of <code>lenext train</code>; what is left empty has the value shown.</p></div>
    <form onSubmit=${(event) => { event.preventDefault(); send("/api/plan", setPlanned); }}>
    <div class="fields">
      ${field("network", "network", declared.value?.network || "lenet", "networks")}
      ${field("data", "data", "digits; a name or a path", "datasets")}
      ${field("recipe", "recipe", "the network's own", "recipes")}
      ${field("name", "name of the run", "network-data, with a number")}
    </div>
    <datalist id="networks">${choices?.networks.map((each) => html`<option value=${each.name}>${each.about}</option>`)}</datalist>
    <datalist id="datasets">${choices?.datasets.map((each) => html`<option value=${each.name}>${each.about}</option>`)}</datalist>
    <datalist id="recipes">${choices?.recipes.map((each) => html`<option value=${each.name}>${each.about}</option>`)}</datalist>
    <details open=${MORE.some(([key]) => form[key])}><summary>Network, weights and data</summary>
      <div class="fields">${MORE.map(([key, title, about]) => field(key, title, about))}
      <label class="field"><span>broken images</span><select value=${form.on_bad_image || ""} onChange=${(event) => set("on_bad_image", event.target.value)}><option value="">stop</option><option>skip</option></select></label>
      <label class="check"><input type="checkbox" checked=${!!form.pretrained} onChange=${(event) => set("pretrained", event.target.checked)} /> start from published ImageNet weights</label></div>
    </details>
    <h2>Recipe</h2>
    <div class="tools"><label>find a key <input type="search" value=${find} placeholder="e.g. epochs, flip" onInput=${(event) => setFind(event.target.value)} /></label>
      <span class="muted" role="status">${Object.keys(form.keys).length} changed</span></div>
    <${Failure} text=${declared.error} />
    ${declared.value?.groups.map((group) => {
      const keys = group.keys.filter((each) => words.every((word) => `${each.name} ${each.about} ${group.title}`.replaceAll("_", " ").toLowerCase().includes(word)));
      const changed = group.keys.filter((each) => each.name in form.keys).length;
      return keys.length ? html`<details key=${group.title} open=${!!words.length || changed > 0}><summary>${group.title} <span class="muted">${changed ? `${changed} changed` : keys.map((each) => each.name).slice(0, 4).join(", ")}</span></summary>
        <div class="fields">${keys.map((each) => html`<${Key} key=${each.name} declared=${each} value=${form.keys[each.name]} set=${(value) => setKey(each.name, value)} />`)}</div></details>` : null;
    })}
    <div class="tools actions"><button class="main" disabled=${plan?.state === "running"}>plan</button>
      <button type="button" disabled=${plan?.state !== "done"} onClick=${() => send("/api/trainings", (answer) => { location.hash = `#/${place("runs", answer.run)}`; })}>start training</button></div>
    </form>
    <${Failure} text=${failure} />
    <div aria-live="polite">${plan ? html`<${Plan} plan=${plan} />` : html`<p class="muted">The plan checks the data, the network and the recipe, and times a few steps. Then the training can be started.</p>`}</div>`;
}

function Plan({ plan }) {
  const top = useRef(null);
  useEffect(() => { if (plan.state === "done") top.current.scrollIntoView({ block: "start" }); }, [plan.state]);
  if (plan.state === "failed") return html`<${Failure} text=${plan.error} />`;
  if (plan.state === "running") return html`<p role="status"><span class="spinner"></span> checking the data and the network, and timing a few steps … ${plan.progress || ""}</p>`;
  const facts = Object.entries(plan.result?.plan || {});
  return html`<h2 ref=${top}>The plan</h2><dl class="facts">${facts.map(([name, text]) => html`<dt>${name}</dt><dd class=${name === "time" ? "strong" : ""}>${text}</dd>`)}</dl>
    ${(plan.result?.notes || []).map((note) => html`<p class="notice">${note}</p>`)}
    <p class="muted">The same on the command line:</p><pre tabindex="0">${plan.command.replace(/ --dry-run --json$/, "")}</pre>`;
}

function Key({ declared, value, set }) {
  const id = `key-${declared.name}`, changed = value !== undefined;
  const range = declared.limits ? ` Range: ${declared.limits}.` : "";
  const input = declared.choices.length && !declared.is_number
    ? html`<select id=${id} aria-describedby="${id}-about" value=${value ?? ""} onChange=${(event) => set(event.target.value)}><option value="">${declared.value}</option>${declared.choices.filter((each) => each !== declared.value).map((each) => html`<option>${each}</option>`)}</select>`
    : html`<input id=${id} aria-describedby="${id}-about" value=${value ?? ""} placeholder=${declared.value} onInput=${(event) => set(event.target.value)} />`;
  return html`<div class="field ${changed ? "changed" : ""}"><label for=${id}>${declared.name.replaceAll("_", " ")}</label>${input}<small id="${id}-about" class="muted">${declared.about}${range}</small></div>`;
}
