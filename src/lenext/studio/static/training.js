// The form of a training, made from the recipe's declarations; the plan with its time; the start.
import { Failure, Working, address, html, query, useAction, useAnswer, useEffect, useKept, useNews, useRef, useState } from "./page.js";

const MORE = [
  ["options", "options of the network", "KEY=VALUE, separated by spaces, e.g. activation=tanh"],
  ["weights", "start from weights", "a .pt, .pth or .safetensors file"],
  ["freeze", "freeze", "parts, separated by commas; backbone: all but the last layer"],
  ["test_data", "separate test data", "a name or a path"],
  ["label_column", "label column of a CSV", "its name, or its number from 0"],
  ["corrections", "corrections of labels", "the CSV that the review of an audit writes"],
];
const FROM_ADDRESS = { network: "network", data: "data", corrections: "corrections", from: "recipe", on_bad_image: "on_bad_image" };
const TYPING_MILLISECONDS = 300;

function formOf(search) {
  const given = Object.entries(FROM_ADDRESS).filter(([key]) => search.has(key)).map(([key, field]) => [field, search.get(key)]);
  return given.length ? { keys: {}, ...Object.fromEntries(given) } : null;
}

export function Training({ search }) {
  const commands = useNews().commands;
  const choices = useAnswer("/api/choices").value;
  const [saved, save] = useKept("form", { keys: {} });
  const [form, setForm] = useState(formOf(search) || saved);
  const [asked, setAsked] = useState({ network: form.network, recipe: form.recipe });
  const answer = useAnswer(`/api/form?${query(asked)}`), good = useRef(null);
  good.current = answer.value || good.current;  // the fields stay while a name is being typed
  const declared = { value: good.current, error: answer.error };
  const [planned, setPlanned] = useState({ number: "", form: null, training: "" });
  const planning = useAction(), starting = useAction();

  const change = (next) => { setForm(next); save(next); };
  const set = (key, value) => change({ ...form, [key]: value });
  const setKey = (key, value) => {
    const keys = { ...form.keys, [key]: value };
    if (value === "") delete keys[key];
    change({ ...form, keys });
  };
  useEffect(() => {  // ask for the form of a network when its name has been typed
    const names = { network: (form.network || "").trim(), recipe: (form.recipe || "").trim() };
    const timer = setTimeout(() => setAsked(names), TYPING_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [form.network, form.recipe]);

  const plan = planned.form === form ? commands.get(planned.number) : null;  // a plan is of the form as it was
  const makePlan = (event) => {
    event.preventDefault();
    planning.act("/api/plan", { ...form, previous: planned.number }, ({ number, training }) => setPlanned({ number, training, form }));
  };
  const start = () => starting.act("/api/trainings", form, (answer) => { location.hash = `#/${address("runs", answer.name)}`; });
  const outer = declared.value?.outer || {};
  const problem = planning.error || starting.error || (plan?.state === "failed" ? plan.error : "");
  const wrong = problem.match(/^([a-z_0-9]+)=/)?.[1];  // the key whose value is wrong
  return html`<div class="title"><h1>Train</h1>
      <p class="muted">Each field is an option of <code>lenext train</code>. A field that is left empty has the value shown in grey.</p></div>
    <form onSubmit=${makePlan}>
    <${Names} form=${form} set=${set} outer=${outer} choices=${choices} />
    <${More} form=${form} set=${set} outer=${outer} />
    <${Failure} text=${declared.error} />
    <${Keys} groups=${declared.value?.groups || []} keys=${form.keys} set=${setKey} wrong=${wrong} />
    <div class="actions"><div class="tools"><button class=${plan?.state === "done" ? "" : "main"} disabled=${planning.isBusy || plan?.state === "running"}>plan</button>
      <button type="button" class=${plan?.state === "done" ? "main" : ""} disabled=${plan?.state !== "done" || starting.isBusy} onClick=${start}>start training</button>
      <span class="muted">${plan ? "" : "The plan checks data, network and recipe, and times a few steps; then the training can be started."}</span></div>
      <${Failure} text=${problem === declared.error ? "" : problem} />
      ${plan?.state === "running" ? html`<${Working}>checking the data and the network, and timing a few steps … ${plan.progress}<//>` : null}</div>
    </form>
    ${plan?.state === "done" ? html`<${Plan} plan=${plan} command=${planned.training} />` : null}`;
}

function Field({ id, title, about, value, shown, list, set, isWrong }) {
  return html`<div class="field ${isWrong ? "wrong" : value ? "changed" : ""}"><label for=${id}>${title}</label>
    <input id=${id} aria-invalid=${isWrong ? "true" : null} value=${value || ""} placeholder=${shown || ""} list=${list} aria-describedby=${about ? `${id}-about` : null} onInput=${(event) => set(event.target.value)} />
    ${about ? html`<small id="${id}-about" class="muted">${about}</small>` : null}</div>`;
}

function Names({ form, set, outer, choices }) {
  const field = (key, title, shown, about, list) => html`<${Field} id=${key} title=${title} about=${about} value=${form[key]} shown=${shown} list=${list} set=${(value) => set(key, value)} />`;
  const options = (rows = []) => rows.map((each) => html`<option value=${each.name}>${each.about}</option>`);
  return html`<div class="fields">
      ${field("network", "network", outer.network, "", "networks")}
      ${field("data", "data", outer.data, "a name or a path", "datasets")}
      ${field("recipe", "recipe", "the network's own", "a name, a YAML file, or the folder of a run", "recipes")}
      ${field("name", "name of the run", "", "network-data by default, with a number")}
    </div>
    <datalist id="networks">${options(choices?.networks)}</datalist>
    <datalist id="datasets">${options(choices?.datasets)}</datalist>
    <datalist id="recipes">${options(choices?.recipes)}</datalist>`;
}

function More({ form, set, outer }) {
  return html`<details open=${MORE.some(([key]) => form[key])}><summary>Network, weights and data</summary><div class="fields">
    ${MORE.map(([key, title, about]) => html`<${Field} id=${key} title=${title} about=${about} value=${form[key]} shown=${outer[key]} set=${(value) => set(key, value)} />`)}
    <div class="field"><label for="on_bad_image">broken images</label><select id="on_bad_image" value=${form.on_bad_image || ""} onChange=${(event) => set("on_bad_image", event.target.value)}>
      <option value="">${outer.on_bad_image || "stop"}</option><option>skip</option></select><small class="muted">stop at one, or skip it</small></div>
    <label class="check"><input type="checkbox" checked=${!!form.pretrained} onChange=${(event) => set("pretrained", event.target.checked)} /> start from published ImageNet weights</label>
    </div></details>`;
}

function Keys({ groups, keys, set, wrong }) {
  const [find, setFind] = useKept("find", "");
  const plain = (text) => text.replaceAll("_", " ").toLowerCase();
  const words = plain(find).split(/\s+/).filter(Boolean);
  const isFound = (key, group) => words.every((word) => plain(`${key.name} ${key.about} ${group.title}`).includes(word));
  return html`<h2>Recipe</h2><div class="tools">
      <label>find an option <input type="search" value=${find} placeholder="e.g. epochs, flip" onInput=${(event) => setFind(event.target.value)} /></label>
      <span class="muted" role="status">${Object.keys(keys).length} changed</span></div>
    ${groups.length && !groups.some((group) => group.keys.some((each) => isFound(each, group))) ? html`<p class="muted">No option of the recipe has these words.</p>` : null}
    ${groups.map((group) => {
      const found = group.keys.filter((each) => isFound(each, group));
      const changed = group.keys.filter((each) => each.name in keys).length;
      const about = changed ? `${changed} changed` : found.map((each) => plain(each.name)).slice(0, 4).join(", ");
      return found.length ? html`<details key=${group.title} open=${words.length > 0 || changed > 0}><summary>${group.title} <span class="muted">${about}</span></summary>
        <div class="fields">${found.map((each) => html`<${Key} key=${each.name} declared=${each} value=${keys[each.name]} set=${(value) => set(each.name, value)} isWrong=${each.name === wrong} />`)}</div></details>` : null;
    })}`;
}

// The field of one key: a list where it has choices alone, else a text.
export function Key({ declared, value, set, isWrong }) {
  const id = `key-${declared.name}`, title = declared.name.replaceAll("_", " ");
  const about = declared.about + (declared.limits ? ` Range: ${declared.limits}.` : "");
  if (!declared.choices.length || declared.is_number) {
    return html`<${Field} id=${id} title=${title} about=${about} value=${value} shown=${declared.value} set=${set} isWrong=${isWrong} />`;
  }
  const others = declared.choices.filter((each) => each !== declared.value);
  return html`<div class="field ${value === undefined ? "" : "changed"}"><label for=${id}>${title}</label>
    <select id=${id} aria-describedby="${id}-about" value=${value ?? ""} onChange=${(event) => set(event.target.value)}>
      <option value="">${declared.value}</option>${others.map((each) => html`<option>${each}</option>`)}</select>
    <small id="${id}-about" class="muted">${about}</small></div>`;
}

function Plan({ plan, command }) {
  const top = useRef(null);
  useEffect(() => top.current.scrollIntoView({ block: "start" }), []);
  return html`<h2 ref=${top}>The plan</h2>
    <dl class="facts">${Object.entries(plan.result?.plan || {}).map(([name, text]) => html`<dt>${name}</dt><dd class=${name === "time" ? "strong" : ""}>${text}</dd>`)}</dl>
    ${(plan.result?.notes || []).map((note) => html`<p class="notice">${note}</p>`)}
    <p class="muted">The same on the command line:</p><pre tabindex="0">${command}</pre>`;
}
