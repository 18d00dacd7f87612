// Audits: their list and start; the review of one, finding by finding, by mouse or keys.
import { Failure, Progress, ask, html, place, query, useAnswer, useEffect, useNews, useState } from "./page.js";

const REVIEWED = new Set(["suspect label", "contradiction", "across splits", "duplicate", "near duplicate"]);

export function Audits() {
  const news = useNews();
  const [source, setSource] = useState(new URLSearchParams(location.hash.split("?")[1] || "").get("source") || "");
  const [labels, setLabels] = useState(true);
  const [started, setStarted] = useState(null);
  const [failure, fail] = useState("");
  const ended = started && news.commands.get(started.number)?.state;
  const { value, error } = useAnswer("/api/audits", [started, ended]);
  const start = (event) => { event.preventDefault(); fail(""); ask("/api/audits", { data: source.trim(), labels }).then(setStarted, (problem) => fail(problem.message)); };
  return html`<div class="title"><h1>Audits</h1><p class="muted">An audit looks for broken, odd, duplicate and wrongly labelled images. You review what it finds; your decisions are kept in a file, and the data stay as they are.</p></div>
    <form class="tools" onSubmit=${start}><label>data <input value=${source} placeholder="a name or a path" onInput=${(event) => setSource(event.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${labels} onChange=${(event) => setLabels(event.target.checked)} /> search for wrong labels (trains three small networks)</label>
      <button class="main" disabled=${ended === "running"}>start the audit</button></form>
    <${Failure} text=${failure || error} />
    <${Progress} started=${started} done=${(command) => html`<p role="status">The audit is done: <a href="#/${place("audits", command.run)}">review it</a></p>`} />
    ${value?.audits.length ? html`<table><thead><tr><th>audit</th><th>data</th><th>state</th></tr></thead><tbody>${value.audits.map((each) => html`<tr><td>${each.is_done ? html`<a href="#/${place("audits", each.name)}"><bdi>${each.name}</bdi></a>` : html`<bdi>${each.name}</bdi>`}</td><td><bdi>${each.data}</bdi></td><td>${each.is_done ? "done" : "not ended"}</td></tr>`)}</tbody></table>` : html`<p class="muted">No audits yet.</p>`}`;
}

export function Audit({ name }) {
  const { value: audit, error } = useAnswer(`/api/${place("audits", name)}`);
  const [decided, setDecided] = useState({});
  const [kind, setKind] = useState("");
  const [open, setOpen] = useState(true);
  const [at, move] = useState(0);
  const [failure, fail] = useState("");
  const keyOf = (each) => `${each.split} ${each.sample}`;
  const decisionOf = (each) => decided[keyOf(each)] || { decision: each.decision, label: each.new_label };
  const all = audit?.findings || [];
  const kinds = [...new Set(all.map((each) => each.kind))];
  const shown = all.filter((each) => (!kind || each.kind === kind) && (!open || !each.decision || decided[keyOf(each)]));
  const current = shown[Math.min(at, shown.length - 1)];
  const canDecide = current && REVIEWED.has(current.kind) && current.row !== null;

  async function decide(decision, label = "") {
    if (!canDecide) return;
    fail("");
    try {
      await ask(`/api/${place("audits", name)}/decisions`, { split: current.split, sample: current.sample, decision, label });
      setDecided((before) => ({ ...before, [keyOf(current)]: { decision, label } }));
      if (decision) move((place) => Math.min(place + 1, shown.length - 1));
    } catch (problem) { fail(problem.message); }
  }
  useEffect(() => {
    const press = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
      const actions = { k: () => decide("keep"), d: () => decide("drop"), u: () => decide(""), ArrowRight: () => move(Math.min(at + 1, shown.length - 1)), ArrowLeft: () => move(Math.max(at - 1, 0)), r: () => document.getElementById("new-label")?.focus() };
      if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });
  if (error) return html`<h1><bdi>${name}</bdi></h1><${Failure} text=${error} /><p><a href="#/audits">All audits</a></p>`;
  if (!audit) return html`<p role="status"><span class="spinner"></span> opening the data …</p>`;
  const counts = {};
  const last = new Map(all.map((each) => [keyOf(each), decisionOf(each).decision]));
  for (const decision of last.values()) if (decision) counts[decision] = (counts[decision] || 0) + 1;
  const image = (split, row) => `/data/image?${query({ source: audit.data, split, row })}`;
  const now = current && decisionOf(current);
  return html`<div class="title"><h1>Audit of <bdi>${audit.data}</bdi></h1><p class="muted">${all.length.toLocaleString("en")} findings; decided: ${["keep", "relabel", "drop"].map((each) => `${counts[each] || 0} ${each}`).join(", ")}</p></div>
    <div class="tools"><label>kind <select value=${kind} onChange=${(event) => { setKind(event.target.value); move(0); }}><option value="">all</option>${kinds.map((each) => html`<option value=${each}>${each} (${all.filter((one) => one.kind === each).length})</option>`)}</select></label>
      <label class="check"><input type="checkbox" checked=${open} onChange=${(event) => { setOpen(event.target.checked); move(0); }} /> hide those decided before</label>
      <button disabled=${at <= 0} onClick=${() => move(at - 1)}>previous</button><button disabled=${at >= shown.length - 1} onClick=${() => move(at + 1)}>next</button>
      <span class="muted" role="status">${shown.length ? `${Math.min(at, shown.length - 1) + 1} of ${shown.length}` : "none left"}</span></div>
    <${Failure} text=${failure} />
    ${current ? html`<section class="finding" aria-live="polite"><h2>${current.kind}</h2><p class="muted">${audit.kinds[current.kind] || ""}</p>
      <div class="images large">${current.row === null ? null : html`<figure><img src=${image(current.split, current.row)} alt="${current.sample}" width="224" height="224" /><figcaption>${current.split} <bdi>${current.sample}</bdi>: <b><bdi>${current.label}</bdi></b></figcaption></figure>`}
        ${current.beside_row === null ? null : html`<figure><img src=${image(current.beside_split, current.beside_row)} alt="the other image" width="224" height="224" /><figcaption>${current.beside_split} <bdi>${current.beside_sample}</bdi></figcaption></figure>`}</div>
      <p>${current.row === null ? html`<b>${current.split} <bdi>${current.sample}</bdi></b>: ` : null}<bdi>${current.description}</bdi></p>
      ${canDecide ? html`<div class="tools"><button aria-pressed=${now.decision === "keep"} onClick=${() => decide("keep")}>keep (k)</button>
        <label>relabel (r) <select id="new-label" value=${now.decision === "relabel" ? now.label : ""} onChange=${(event) => { const label = event.target.value; event.target.blur(); if (label) decide("relabel", label); }}><option value="">choose a class</option>${audit.classes.filter((each) => each !== current.label).map((each) => html`<option>${each}</option>`)}</select></label>
        <button aria-pressed=${now.decision === "drop"} onClick=${() => decide("drop")}>drop (d)</button>
        <button disabled=${!now.decision} onClick=${() => decide("")}>undo (u)</button><span class="muted">${now.decision ? `decided: ${now.decision} ${now.label}` : ""}</span></div>` : html`<p class="muted">This finding is for your information; it takes no decision.</p>`}</section>` : html`<p>Nothing is left to review here.</p>`}
    ${Object.keys(counts).length ? html`<h2>Train with the decisions</h2><pre tabindex="0">${audit.command}</pre><p><a class="button" href="#/train?${query({ data: audit.data, corrections: audit.corrections })}">open the form</a></p>` : html`<p class="muted">Decisions go into ${audit.corrections}. Keys: k keep, d drop, r relabel, u undo, ← → move.</p>`}`;
}
