// One run: its state, live curves, what can be done with it, a pad to try it, its recipe and log.
import { Failure, Progress, State, Working, address, duration, html, percent, query, useAction, useAnswer, useKept, useNews } from "./page.js";
import { Line } from "./commands.js";
import { Curves } from "./curves.js";
import { Pad } from "./pad.js";

const PAGES = { report: "report.html", explore: "explorer.html" };
const NAMES = { report: "report", explore: "explorer" };

export function Run({ name }) {
  const news = useNews();
  const row = news.runs.get(name);
  const { value: run, error } = useAnswer(row ? `/api/${address("runs", name)}` : "", [row?.changed, row?.state]);
  const command = [...news.commands.values()].filter((each) => each.kind === "train" && each.name === name).at(-1);
  if (!row) return html`<h1><bdi>${name}</bdi></h1><${Missing} command=${command} isKnown=${news.isComplete} />`;
  const file = (each) => `/${address("runs", name, each)}?${row.changed}`;
  const samples = Object.entries(run?.samples || {}).map(([split, count]) => `${count.toLocaleString("en")} ${split}`);
  return html`<div class="title"><h1><bdi>${name}</bdi></h1>
      <p><${State} of=${row.state} /> <bdi>${row.network}</bdi> on <bdi>${row.data}</bdi>${samples.length ? `; ${samples.join(", ")}` : ""}</p></div>
    <${Failure} text=${row.error || error} />
    <${Failure} text=${command?.state === "failed" ? `the last command failed: ${command.error}` : ""} />
    <${Tiles} row=${row} run=${run} />
    <${Actions} row=${row} run=${run} command=${command} file=${file} />
    ${run?.records.length ? html`<${Curves} records=${run.records} epochs=${row.epochs} />` : html`<p class="muted">There are no curves before the end of the first epoch.</p>`}
    ${run ? html`<${Trial} run=${run} /><${Details} run=${run} file=${file} />` : null}`;
}

function Missing({ command, isKnown }) {
  if (command?.state === "failed") return html`<${Failure} text=${command.error} /><p><a href="#/train">back to the form</a></p>`;
  if (command?.state === "running") return html`<${Working}>preparing the data and the network, and timing a few steps … ${command.progress}<//><${Line} command=${command} />`;
  return html`<p>${isKnown ? "There is no such run; it may have been deleted." : "…"} <a href="#/runs">All runs</a></p>`;
}

function Tiles({ row, run }) {
  const times = (run?.records || []).map((each) => each.seconds).filter((each) => typeof each === "number");
  const mean = times.reduce((sum, each) => sum + each, 0) / times.length;
  const best = (run?.records || []).find((each) => each.val_accuracy !== null && each.val_accuracy === row.validation);
  const tiles = [
    ["test accuracy", percent(row.test)],
    [`validation accuracy${best ? `, best (epoch ${best.epoch})` : ""}`, percent(row.validation)],
    ["epochs", row.epochs ? `${row.done} of ${row.epochs}` : ""],
    ["training time", duration(row.seconds)],
  ];
  if (row.state === "training" && times.length) tiles.push(["time left, about", duration(mean * (row.epochs - row.done))]);
  if (run?.test_reads) tiles.push(["test set was read", run.test_reads === 1 ? "once" : `${run.test_reads} times`]);
  return html`<dl class="tiles">${tiles.map(([title, text]) => html`<div key=${title}><dt>${title}</dt><dd>${text || "–"}</dd></div>`)}</dl>
    ${row.state === "training" && row.epochs ? html`<progress max=${row.epochs} value=${row.done} aria-label="epochs"></progress>` : null}`;
}

function Actions({ row, run, command, file }) {
  const { act, isBusy, error } = useAction();
  const [epochs, setEpochs] = useKept(`epochs of ${row.name}`, "");
  const [pages, setPages] = useKept(`pages of ${row.name}`, {});
  const isAtWork = command?.state === "running" && row.state !== "training";
  const [stopped, setStopped] = useKept(`stop of ${row.name}`, 0);
  const isStopping = row.state === "training" && stopped === row.started;
  const path = (...parts) => `/api/${address("runs", row.name, ...parts)}`;
  const goOn = (event) => {
    event.preventDefault();
    act(path("resume"), row.state === "finished" ? { epochs: epochs.trim() || String(2 * row.epochs) } : {});
  };
  const write = (verb) => act(path("pages", verb), {}, (answer) => setPages({ ...pages, [verb]: answer.number }));
  const written = (verb) => () => html`<p role="status">The ${NAMES[verb]} is written:${" "}
    <a href=${file(PAGES[verb])} target="_blank" rel="noopener">open it</a></p>`;
  return html`<div class="tools">
      ${row.state === "training" ? html`<button disabled=${isBusy || isStopping} onClick=${() => act(path("stop"), {}, () => setStopped(row.started))}>${isStopping ? "stopping …" : "stop"}</button>` : null}
      ${row.state === "stopped" ? html`<button class="main" disabled=${isBusy || isAtWork} onClick=${goOn}>resume</button>` : null}
      ${row.state === "finished" ? html`<form class="inline" onSubmit=${goOn}>
        <label>train up to <input type="number" min=${row.epochs + 1} placeholder=${2 * row.epochs} value=${epochs} onInput=${(event) => setEpochs(event.target.value)} /> epochs in all</label>
        <button disabled=${isBusy || isAtWork}>continue</button></form>` : null}
      ${Object.keys(PAGES).filter((verb) => verb === "report" || !run?.has_own_network).map((verb) => html`<${PageButtons} verb=${verb} isThere=${run?.pages.includes(PAGES[verb])} isReady=${row.state !== "training" && row.done > 0 && !isBusy} link=${file(PAGES[verb])} write=${write} />`)}
      <a class="button" href="#/train?${query({ from: run?.path })}">train another like it</a>
    </div>
    ${isAtWork ? html`<${Working}>its command is at work: ${row.state === "finished" ? "it writes the results and the report" : "it reads the data, or saves what was learned"}<//>` : null}
    <${Failure} text=${error} />
    ${Object.keys(PAGES).map((verb) => html`<${Progress} key=${verb} number=${pages[verb]} done=${written(verb)} />`)}`;
}

function PageButtons({ verb, isThere, isReady, link, write }) {
  return html`<span class="group">
    ${isThere ? html`<a class="button" href=${link} target="_blank" rel="noopener">${NAMES[verb]}</a>` : null}
    <button disabled=${!isReady} onClick=${() => write(verb)}>write the ${NAMES[verb]}${isThere ? " anew" : ""}</button></span>`;
}

function Trial({ run }) {
  if (!run.has_weights) return null;
  if (run.has_own_network) {
    const words = (verb, image) => html`<pre tabindex="0">lenext ${verb} ${run.path} ${image} --network ${run.network}</pre>`;
    return html`<h2>Try it</h2><p class="muted">The network is your own. The studio itself runs no file of yours, only trainings do;
      to predict and to look inside, type:</p>${words("predict", "IMAGE")}${words("explore", "")}`;
  }
  return html`<h2>Try it</h2><${Pad} name=${run.name} />`;
}

function Details({ run, file }) {
  const numbers = ["precision", "recall", "f1"];
  return html`${run.by_class.length ? html`<details><summary>Metrics by class, of the test set</summary>
      <div class="scroll" tabindex="0" role="region" aria-label="metrics by class"><table>
        <thead><tr><th>class</th><th class="right">images</th>${numbers.map((each) => html`<th class="right">${each}</th>`)}</tr></thead>
        <tbody>${run.by_class.map((each) => html`<tr><td><bdi>${each.class}</bdi></td><td class="right">${each.images}</td>
          ${numbers.map((key) => html`<td class="right">${Number(each[key]).toFixed(3)}</td>`)}</tr>`)}</tbody></table></div></details>` : null}
    ${run.figures.length ? html`<details><summary>Figures</summary><div class="figures">${run.figures.map((each) => html`
      <img src=${file(each)} alt=${each.replace(".png", "").replaceAll("_", " ")} loading="lazy" />`)}</div></details>` : null}
    <details><summary>Recipe</summary><pre tabindex="0">${run.recipe}</pre></details>
    <details open=${run.state === "training"}><summary>Log</summary><pre tabindex="0" class="log">${run.log}</pre></details>
    <p class="muted">${run.path}</p>`;
}
