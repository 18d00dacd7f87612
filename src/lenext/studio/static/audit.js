// Audits: their list and start; the review of one, finding by finding, by mouse or keys.
import { Failure, Progress, address, ask, html, query, useAction, useAnswer, useKept, useLayoutEffect, useNews, useRef, useState } from "./page.js";

const DECISIONS = ["keep", "relabel", "drop"];

export function Audits({ search }) {
  const news = useNews();
  const [source, setSource] = useState(search.get("source") || "");
  const [labels, setLabels] = useState(true);
  const [started, setStarted] = useKept("audit", "");
  const { act, isBusy, error } = useAction();
  const states = [...news.commands.values()].filter((each) => each.kind === "audit").map((each) => each.state).join();
  const { value, error: problem } = useAnswer("/api/audits", [states]);
  const start = (event) => {
    event.preventDefault();
    act("/api/audits", { data: source.trim(), labels }, (answer) => setStarted(answer.number));
  };
  const done = (command) => html`<p role="status">The audit is done: <a href="#/${address("audits", command.name)}">review it</a></p>`;
  const link = (audit) => audit.state === "done" ? html`<a href="#/${address("audits", audit.name)}"><bdi>${audit.name}</bdi></a>` : html`<bdi>${audit.name}</bdi>`;
  return html`<div class="title"><h1>Audits</h1><p class="muted">An audit looks for broken, odd, duplicate and wrongly labelled images.
      You review what it finds; your decisions are kept in a file, and the data stay as they are.</p></div>
    <form class="tools" onSubmit=${start}>
      <label>data <input class="long" value=${source} placeholder="a name or a path" onInput=${(event) => setSource(event.target.value)} /></label>
      <label class="check"><input type="checkbox" checked=${labels} onChange=${(event) => setLabels(event.target.checked)} /> search for wrong labels (trains three small networks)</label>
      <button class="main" disabled=${isBusy}>start the audit</button></form>
    <${Failure} text=${error || problem} />
    <${Progress} number=${started} done=${done} />
    ${value?.audits.length ? html`<div class="scroll" tabindex="0" role="region" aria-label="audits"><table><thead><tr><th>audit</th><th>data</th><th>state</th><th class="right">findings</th><th class="right">decided</th><th></th></tr></thead><tbody>
      ${value.audits.map((each) => html`<tr key=${each.name}><td>${link(each)}</td><td><bdi title=${each.data}>${each.data}</bdi></td><td>${each.state}</td>
        <td class="right">${each.findings}</td><td class="right">${each.decided}</td>
        <td>${each.state === "done" ? html`<a href="/${address("audits", each.name, "audit.html")}" target="_blank" rel="noopener">all on one page</a>` : null}</td></tr>`)}</tbody></table></div>` : null}
    ${value && !value.audits.length ? html`<p class="muted">No audits yet.</p>` : null}`;
}

export function Audit({ name }) {
  const { value: audit, error } = useAnswer(`/api/${address("audits", name)}`);
  if (error) return html`<h1><bdi>${name}</bdi></h1><${Failure} text=${error} /><p><a href="#/audits">All audits</a></p>`;
  return audit ? html`<${Review} name=${name} audit=${audit} />` : html`<p role="status"><span class="spinner"></span> opening the data …</p>`;
}

const sampleOf = (split, sample) => `${split} ${sample}`;

function Review({ name, audit }) {
  const before = Object.fromEntries(audit.findings.filter((each) => each.decision).map((each) => [sampleOf(each.split, each.sample), { decision: each.decision, label: each.new_label }]));
  const [decided, setDecided] = useState(before);
  const [kind, setKind] = useState("");
  const [isHiding, hide] = useState(true);
  const [at, move] = useState(0);
  const [failure, fail] = useState("");
  const busy = useRef(false), isAnswered = useRef(false);
  const kinds = [...new Set(audit.findings.map((each) => each.kind))];
  const shown = audit.findings.filter((each) => (!kind || each.kind === kind) && (!isHiding || !(sampleOf(each.split, each.sample) in before)));
  const place = Math.min(at, shown.length - 1), current = shown[place];
  const step = (by) => move(Math.max(0, Math.min(place + by, shown.length - 1)));

  async function decide(split, sample, decision, label = "") {
    if (busy.current) return;  // a key that is held, or comes before the next finding is seen, decides nothing
    busy.current = true;
    fail("");
    try {
      await ask(`/api/${address("audits", name)}/decisions`, { split, sample, decision, label });
      setDecided((earlier) => {
        const later = { ...earlier, [sampleOf(split, sample)]: { decision, label } };
        if (!decision) delete later[sampleOf(split, sample)];
        return later;
      });
      if (decision && sample === current.sample) step(1);
    } catch (problem) { fail(problem.message); }
    isAnswered.current = true;
  }
  const decideHere = (decision, label) => current?.takes_decision && decide(current.split, current.sample, decision, label);

  useLayoutEffect(() => {
    if (isAnswered.current) busy.current = isAnswered.current = false;
    const actions = {
      k: () => decideHere("keep"), d: () => decideHere("drop"), u: () => decideHere(""), r: () => document.getElementById("new-label")?.focus(),
      ArrowRight: () => step(1), ArrowLeft: () => step(-1),
    };
    const press = (event) => {
      const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping || !actions[event.key]) return;
      event.preventDefault();
      actions[event.key]();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  });

  const counts = DECISIONS.map((each) => `${Object.values(decided).filter((one) => one.decision === each).length} ${each}`).join(", ");
  const undecided = shown.filter((each) => each.takes_decision && !decided[sampleOf(each.split, each.sample)]).length;
  const choose = (action) => (event) => { action(event.target); move(0); event.target.blur(); };  // the keys work again
  return html`<div class="title"><h1>Audit of <bdi>${audit.data}</bdi></h1>
      <p class="muted">${audit.findings.length.toLocaleString("en")} findings; decided: ${counts}</p></div>
    <div class="tools">
      <label>kind <select value=${kind} onChange=${choose((target) => setKind(target.value))}><option value="">all</option>
        ${kinds.map((each) => html`<option value=${each}>${each} (${audit.findings.filter((one) => one.kind === each).length})</option>`)}</select></label>
      <label class="check"><input type="checkbox" checked=${isHiding} onChange=${choose((target) => hide(target.checked))} /> hide those decided before</label>
      <button disabled=${place <= 0} onClick=${() => step(-1)}>previous (←)</button>
      <button disabled=${place >= shown.length - 1} onClick=${() => step(1)}>next (→)</button>
      <span class="muted" role="status">${shown.length ? `${place + 1} of ${shown.length}; ${undecided} to decide` : ""}</span></div>
    <${Failure} text=${failure} />
    ${current ? html`<${Finding} key=${place} audit=${audit} finding=${current} decided=${decided} decide=${decide} />` : html`<p>Nothing is left to review here; untick “hide those decided before” to see them again.</p>`}
    <${Outcome} audit=${audit} isBegun=${Object.keys(decided).length > 0} />`;
}

function Finding({ audit, finding, decided, decide }) {
  const image = (split, row) => `/data/image?${query({ source: audit.data, split, row })}`;
  const { split, sample } = finding, now = decided[sampleOf(split, sample)];
  const picture = (at, id, row, label) => html`<figure><img src=${image(at, row)} alt="${at} ${id}" width="224" height="224" />
    <figcaption>${at} <bdi>${id}</bdi>${label ? html`: <b><bdi>${label}</bdi></b>` : null}</figcaption></figure>`;
  const hasBeside = finding.beside_row !== null, other = hasBeside ? decided[sampleOf(finding.beside_split, finding.beside_sample)] : null;
  const dropOther = () => decide(finding.beside_split, finding.beside_sample, other ? "" : "drop");
  return html`<section class="finding" aria-live="polite"><h2>${finding.kind}</h2><p class="muted">${audit.kinds[finding.kind] || ""}</p>
    <div class="images large ${audit.is_small ? "small" : ""}">
      ${finding.row === null ? null : picture(split, sample, finding.row, finding.label)}
      ${hasBeside ? picture(finding.beside_split, finding.beside_sample, finding.beside_row, "") : null}</div>
    <p>${finding.row === null ? html`<b>${split} <bdi>${sample}</bdi></b>: ` : null}<bdi>${finding.description}</bdi></p>
    ${finding.takes_decision ? html`<div class="tools">
        <button aria-pressed=${now?.decision === "keep"} onClick=${() => decide(split, sample, "keep")}>keep (k)</button>
        <${Relabel} classes=${audit.classes.filter((each) => each !== finding.label)} now=${now} relabel=${(label) => decide(split, sample, "relabel", label)} />
        <button aria-pressed=${now?.decision === "drop"} onClick=${() => decide(split, sample, "drop")}>drop (d)</button>
        ${hasBeside ? html`<button aria-pressed=${other?.decision === "drop"} onClick=${dropOther}>drop the other</button>` : null}
        <button disabled=${!now} onClick=${() => decide(split, sample, "")}>undo (u)</button>
        <span class="muted">${now ? `decided: ${now.decision} ${now.label}` : ""}</span></div>` : html`<p class="muted">This finding is for your information; it takes no decision.</p>`}</section>`;
}

// A class is chosen first and then given: in a list that is closed, arrow keys choose at once.
function Relabel({ classes, now, relabel }) {
  const [label, set] = useState(now?.decision === "relabel" ? now.label : "");
  const give = (event) => { event.preventDefault(); if (label) { document.activeElement?.blur(); relabel(label); } };
  const onEnter = (event) => { if (event.key === "Enter") give(event); };
  return html`<form class="inline" onSubmit=${give}><label>relabel (r) <select id="new-label" value=${label} onKeyDown=${onEnter} onChange=${(event) => set(event.target.value)}>
    <option value="">choose a class</option>${classes.map((each) => html`<option>${each}</option>`)}</select></label>
    <button disabled=${!label} aria-pressed=${now?.decision === "relabel"}>relabel</button></form>`;
}

function Outcome({ audit, isBegun }) {
  if (!isBegun) return html`<p class="muted">Decisions go into ${audit.corrections}. Keys: k keep, d drop, r relabel, u undo, ← → move.</p>`;
  const form = { network: audit.network, data: audit.data, corrections: audit.corrections, on_bad_image: audit.has_broken_files ? "skip" : "" };
  return html`<h2>Train with the decisions</h2><pre tabindex="0">${audit.command}</pre>
    <p><a class="button" href="#/train?${query(form)}">open the form</a></p>`;
}
