// The table of runs: sorted by a column, filtered by words, grouped by a column; runs can be compared.
import { Failure, Progress, State, duration, html, percent, useAction, useKept, useNews } from "./page.js";

const COLUMNS = [
  { key: "name", title: "run" },
  { key: "network", title: "network" },
  { key: "data", title: "data" },
  { key: "state", title: "state" },
  { key: "done", title: "epochs", right: true, show: (run) => run.epochs ? `${run.done}/${run.epochs}` : "" },
  { key: "validation", title: "validation", right: true, show: (run) => percent(run.validation) },
  { key: "test", title: "test", right: true, show: (run) => percent(run.test) },
  { key: "seconds", title: "time", right: true, show: (run) => duration(run.seconds) },
  { key: "started", title: "started", right: true, show: (run) => dateAndTime(run.started) },
];
const GROUPS = ["network", "data", "state", "optimizer"];
const OPERATORS = { ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b };
const keyOf = (word) => COLUMNS.find((each) => each.title === word)?.key || word;

function dateAndTime(seconds) {
  const at = new Date(1000 * seconds), two = (value) => String(value).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

const isEmpty = (value) => value === null || value === undefined || value === "";

function compareBy(key, rising) {
  return (one, two) => {
    const [a, b] = [one[key], two[key]];
    if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b);  // rows without a value are last in both directions
    const areNumbers = typeof a === "number" && typeof b === "number";
    const order = areNumbers ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return rising ? order : -order;
  };
}

// A run matches a word in its texts, `column:word` in one column, and `test>98%` by a number.
function matches(run, word) {
  const comparison = word.match(/^(\w+)(>=|<=|>|<)([\d.]+)(%?)$/);
  if (comparison && keyOf(comparison[1]) in run) {
    const value = run[keyOf(comparison[1])], limit = Number(comparison[3]) / (comparison[4] ? 100 : 1);
    return typeof value === "number" && OPERATORS[comparison[2]](value, limit);
  }
  const [column, text] = word.split(/:(.*)/);
  const isColumn = text !== undefined && keyOf(column) in run;
  const values = isColumn ? [run[keyOf(column)]] : [run.name, run.network, run.data, run.state, run.optimizer];
  return values.some((value) => String(value ?? "").toLowerCase().includes((isColumn ? text : word).toLowerCase()));
}

export function Runs() {
  const news = useNews();
  const [sort, setSort] = useKept("sort", { key: "started", rising: false });
  const [filter, setFilter] = useKept("filter", "");
  const [group, setGroup] = useKept("group", "");
  const [chosen, choose] = useKept("chosen", []);
  const [comparison, setComparison] = useKept("comparison", "");
  const { act, isBusy, error } = useAction();

  const words = filter.replace(/\s*(>=|<=|[<>:])\s*/g, "$1").split(/\s+/).filter(Boolean);
  const rows = [...news.runs.values()].filter((run) => words.every((word) => matches(run, word)));
  rows.sort(compareBy(sort.key, sort.rising));
  const groups = new Map();
  for (const run of rows) {
    const title = group ? String(run[group] ?? "") : "";
    groups.set(title, [...(groups.get(title) || []), run]);
  }
  const selected = chosen.filter((name) => news.runs.has(name));
  const toggle = (name) => choose(chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name]);
  const compareChosen = () => act("/api/compare", { runs: selected }, (answer) => setComparison(answer.number));
  const written = (command) => html`<p role="status">The comparison is written:${" "}
    <a href=${command.page} target="_blank" rel="noopener">open it</a> (it is kept until the studio ends)</p>`;
  const training = rows.filter((run) => run.state === "training").length;
  return html`<div class="title"><h1>Runs</h1><p class="muted">${news.folder}</p></div>
    <div class="tools">
      <label>filter <input type="search" value=${filter} placeholder="words, data:mnist, test>98%" onInput=${(event) => setFilter(event.target.value)} /></label>
      <label>group by <select value=${group} onChange=${(event) => setGroup(event.target.value)}>
        <option value="">nothing</option>${GROUPS.map((key) => html`<option>${key}</option>`)}</select></label>
      <button disabled=${selected.length < 2 || isBusy} onClick=${compareChosen}>compare ${selected.length || ""}</button>
      <span class="muted" role="status">${rows.length} of ${news.runs.size} runs${training ? `, ${training} in training` : ""}</span>
    </div>
    ${rows.length || !words.length ? null : html`<p class="muted">No run matches. A word is looked for in all columns; network:lenet in one; test>98% and
      epochs>=20 compare. Columns: ${COLUMNS.map((each) => each.title).join(", ")}, optimizer.</p>`}
    <${Failure} text=${error} />
    <${Progress} number=${comparison} done=${written} />
    ${news.runs.size ? html`<div class="scroll" tabindex="0" role="region" aria-label="table of runs"><table class="runs">
      <${Head} sort=${sort} setSort=${setSort} />
      ${[...groups].map(([title, runs]) => html`<tbody key=${title}>
        ${group ? html`<tr class="group-row"><th colspan=${COLUMNS.length + 1} scope="rowgroup">${title || "none"} <span class="muted">${runs.length}</span></th></tr>` : null}
        ${runs.map((run) => html`<${Row} key=${run.name} run=${run} isChosen=${chosen.includes(run.name)} toggle=${toggle} />`)}
      </tbody>`)}
    </table></div>` : html`<p>No runs yet. <a href="#/train">Train a network</a>.</p>`}`;
}

function Head({ sort, setSort }) {
  const arrow = (key) => sort.key === key ? (sort.rising ? " ↑" : " ↓") : "";
  const order = (key) => sort.key === key ? (sort.rising ? "ascending" : "descending") : "none";
  const turn = ({ key, right }) => setSort({ key, rising: sort.key === key ? !sort.rising : !right });
  return html`<thead><tr><th><span class="hidden-text">compare</span></th>${COLUMNS.map((column) => html`
    <th class="${column.right ? "right" : ""} of-${column.key}" aria-sort=${order(column.key)}>
      <button class="plain" onClick=${() => turn(column)}>${column.title}${arrow(column.key)}</button></th>`)}</tr></thead>`;
}

function Row({ run, isChosen, toggle }) {
  const link = html`<a href="#/runs/${encodeURIComponent(run.name)}" title=${run.name}><bdi>${run.name}</bdi></a>`;
  const cell = (column) => {
    if (column.key === "name") return html`${link}${run.error ? html`<small class="reason">${run.error}</small>` : null}`;
    if (column.key === "state") return html`<${State} of=${run.state} />`;
    return column.show ? column.show(run) : html`<bdi title=${run[column.key]}>${run[column.key]}</bdi>`;
  };
  return html`<tr>
    <td><input type="checkbox" aria-label="compare ${run.name}" checked=${isChosen} onChange=${() => toggle(run.name)} /></td>
    ${COLUMNS.map((column) => html`<td class="${column.right ? "right" : ""} of-${column.key}">${cell(column)}</td>`)}</tr>`;
}
