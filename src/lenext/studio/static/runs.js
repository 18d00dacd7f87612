// The table of runs: sorted by a column, filtered by words, grouped by a column; runs can be compared.
import { Failure, Progress, State, ask, duration, html, percent, useNews, useState } from "./page.js";

const COLUMNS = [
  { key: "name", title: "run" },
  { key: "network", title: "network" },
  { key: "data", title: "data" },
  { key: "state", title: "state" },
  { key: "done", title: "epochs", right: true, show: (run) => run.epochs ? `${run.done}/${run.epochs}` : "" },
  { key: "validation", title: "validation", right: true, show: (run) => percent(run.validation) },
  { key: "test", title: "test", right: true, show: (run) => percent(run.test) },
  { key: "seconds", title: "time", right: true, show: (run) => duration(run.seconds) },
  { key: "changed", title: "changed", right: true, show: (run) => time(run.changed) },
];
const GROUPS = ["network", "data", "state", "optimizer"];

function time(seconds) {
  const at = new Date(1000 * seconds), two = (value) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

const empty = (value) => value === null || value === undefined || value === "";

function compare(key, rising) {
  return (one, two) => {
    const [a, b] = [one[key], two[key]];
    if (empty(a) || empty(b)) return empty(a) - empty(b);  // rows without a value are last in both directions
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return rising ? order : -order;
  };
}

// A run matches when it has every word; `key:word` looks in one column, and `test>0.9` compares a number.
export function matches(run, words) {
  return words.every((word) => {
    const number = word.match(/^(\w+)([<>])=?([\d.]+)%?$/);
    if (number && number[1] in run) {
      const limit = Number(number[3]) / (word.endsWith("%") ? 100 : 1), value = run[number[1]];
      return typeof value === "number" && (number[2] === ">" ? value >= limit : value <= limit);
    }
    const [key, text] = word.includes(":") ? word.split(/:(.*)/) : ["", word];
    const values = key in run ? [run[key]] : [run.name, run.network, run.data, run.state, run.optimizer];
    return values.some((value) => String(value ?? "").toLowerCase().includes((key in run ? text : word).toLowerCase()));
  });
}

export function Runs() {
  const news = useNews();
  const [sort, setSort] = useState({ key: "changed", rising: false });
  const [filter, setFilter] = useState("");
  const [group, setGroup] = useState("");
  const [chosen, choose] = useState(new Set());
  const [comparison, setComparison] = useState(null);
  const [failure, fail] = useState("");

  const words = filter.split(/\s+/).filter(Boolean);
  const rows = [...news.runs.values()].filter((run) => matches(run, words)).sort(compare(sort.key, sort.rising));
  const groups = new Map();
  for (const run of rows) {
    const key = group ? String(run[group] ?? "") : "";
    groups.set(key, [...(groups.get(key) || []), run]);
  }
  const selected = [...chosen].filter((name) => news.runs.has(name));

  function toggle(name) {
    const next = new Set(chosen);
    next.has(name) ? next.delete(name) : next.add(name);
    choose(next);
  }

  function startComparison() {
    fail("");
    ask("/api/compare", { runs: selected }).then(setComparison, (error) => fail(error.message));
  }

  const training = rows.filter((run) => run.state === "training").length;
  return html`<div class="title"><h1>Runs</h1><p class="muted">${news.folder || ""}</p></div>
    <div class="tools">
      <label>filter <input type="search" value=${filter} placeholder="words, data:mnist, test>98%" onInput=${(event) => setFilter(event.target.value)} /></label>
      <label>group by <select value=${group} onChange=${(event) => setGroup(event.target.value)}><option value="">nothing</option>${GROUPS.map((key) => html`<option>${key}</option>`)}</select></label>
      <button disabled=${selected.length < 2} onClick=${startComparison}>compare ${selected.length || ""}</button>
      <span class="muted" role="status">${rows.length} of ${news.runs.size} runs${training ? `, ${training} in training` : ""}</span>
    </div>
    <${Failure} text=${failure} />
    <${Progress} started=${comparison} done=${(command) => html`<p role="status">The comparison is written: <a href=${command.page} target="_blank" rel="noopener">open it</a></p>`} />
    ${news.runs.size === 0 ? html`<p>No runs yet. <a href="#/train">Train a network</a>.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="table of runs"><table class="runs">
      <thead><tr><th><span class="hidden-text">compare</span></th>${COLUMNS.map((column) => html`<th class=${column.right ? "right" : ""} aria-sort=${sort.key === column.key ? (sort.rising ? "ascending" : "descending") : "none"}>
        <button class="plain" onClick=${() => setSort({ key: column.key, rising: sort.key === column.key ? !sort.rising : !column.right })}>${column.title}${sort.key === column.key ? (sort.rising ? " ↑" : " ↓") : ""}</button></th>`)}</tr></thead>
      ${[...groups].map(([title, runs]) => html`<tbody key=${title}>
        ${group ? html`<tr class="group-row"><th colspan=${COLUMNS.length + 1} scope="rowgroup">${title || "none"} <span class="muted">${runs.length}</span></th></tr>` : null}
        ${runs.map((run) => html`<tr key=${run.name}>
          <td><input type="checkbox" aria-label="compare ${run.name}" checked=${chosen.has(run.name)} onChange=${() => toggle(run.name)} /></td>
          ${COLUMNS.map((column) => html`<td class=${column.right ? "right" : ""}>${cell(column, run)}</td>`)}
        </tr>`)}
      </tbody>`)}
    </table></div>`}`;
}

function cell(column, run) {
  if (column.key === "name") return html`<a href="#/runs/${encodeURIComponent(run.name)}"><bdi>${run.name}</bdi></a>`;
  if (column.key === "state") return html`<span title=${run.error || ""}><${State} of=${run.state} /></span>`;
  return column.show ? column.show(run) : html`<bdi>${run[column.key]}</bdi>`;
}
