// One run: its state, live curves, what can be done with it, a pad to try it, its recipe and log.
import { Failure, Progress, State, ask, duration, html, percent, place as address, useAnswer, useEffect, useNews, useRef, useState } from "./page.js";
import { Pad } from "./pad.js";

const CHARTS = [
  { title: "Accuracy", percent: true, series: [["training", "train_accuracy", "--a"], ["training, measured again", "evaluated_train_accuracy", "--c"], ["validation", "val_accuracy", "--b"]] },
  { title: "Loss", series: [["training", "train_loss", "--a"], ["training, measured again", "evaluated_train_loss", "--c"], ["validation", "val_loss", "--b"]] },
  { title: "Learning rate", series: [["learning rate", "learning_rate", "--c"]] },
];

export function Run({ name }) {
  const news = useNews();
  const row = news.runs.get(name);
  const { value: run, error } = useAnswer(row ? `/api/${address("runs", name)}` : "", [row?.changed, row?.state]);
  const [started, setStarted] = useState({});
  const [failure, fail] = useState("");
  const [epochs, setEpochs] = useState("");
  const starting = [...news.commands.values()].find((each) => each.kind === "train" && each.run === name && (each.state === "running" || each.state === "failed"));

  function act(path, body = {}, key = "other") {
    fail("");
    ask(`/api/${address("runs", name)}/${path}`, body).then((answer) => setStarted({ ...started, [key]: answer }), (problem) => fail(problem.message));
  }

  if (!row) {
    if (starting?.state === "failed") return html`<h1><bdi>${name}</bdi></h1><${Failure} text=${starting.error} /><p><a href="#/train">back to the form</a></p>`;
    if (starting) return html`<h1><bdi>${name}</bdi></h1><p role="status"><span class="spinner"></span> getting ready: data, network, and a few timed steps</p><p class="muted"><code>${starting.command}</code></p>`;
    return html`<h1><bdi>${name}</bdi></h1><p>${news.connected ? "There is no such run; it may have been deleted." : "…"} <a href="#/runs">All runs</a></p>`;
  }
  const file = (each) => `/${address("runs", name, each)}?${row.changed}`;
  const written = (verb, page) => (command) => html`<p role="status">${verb} is written: <a href=${file(page)} target="_blank" rel="noopener">open it</a></p>`;
  const samples = run ? Object.entries(run.samples).map(([split, count]) => `${count.toLocaleString("en")} ${split}`).join(", ") : "";
  return html`<div class="title"><h1><bdi>${name}</bdi></h1><p><${State} of=${row.state} /> <bdi>${row.network}</bdi> on <bdi>${row.data}</bdi>${samples ? `; ${samples}` : ""}</p></div>
    <${Failure} text=${row.error || error || failure} />
    ${starting?.state === "failed" && row.state !== "training" ? html`<${Failure} text=${`the last command failed: ${starting.error}`} />` : null}
    <dl class="tiles">
      <div><dt>test accuracy</dt><dd>${percent(row.test) || "–"}</dd></div>
      <div><dt>validation accuracy</dt><dd>${percent(row.validation) || "–"}</dd></div>
      <div><dt>epochs</dt><dd>${row.done ?? "–"} of ${row.epochs ?? "–"}</dd></div>
      <div><dt>training time</dt><dd>${duration(row.seconds ?? run?.records.reduce((sum, each) => sum + (each.seconds || 0), 0)) || "–"}</dd></div>
      ${run?.test_reads ? html`<div><dt>test set read</dt><dd>${run.test_reads} ×</dd></div>` : null}
    </dl>
    ${row.state === "training" && row.epochs ? html`<progress max=${row.epochs} value=${row.done} aria-label="epochs"></progress>` : null}
    <div class="tools">
      ${row.state === "training" ? html`<button onClick=${() => act("stop")}>stop</button>` : null}
      ${row.state === "stopped" ? html`<button class="main" onClick=${() => act("resume", {}, "resume")}>resume</button>` : null}
      ${row.state === "finished" ? html`<form class="inline" onSubmit=${(event) => { event.preventDefault(); act("resume", { epochs: epochs.trim() || String(2 * row.epochs) }, "resume"); }}><label>train up to <input type="number" min=${row.epochs + 1} placeholder=${2 * row.epochs} value=${epochs} onInput=${(event) => setEpochs(event.target.value)} /> epochs</label><button>continue</button></form>` : null}
      ${["report", "explore"].map((verb) => {
        const page = verb === "report" ? "report.html" : "explorer.html";
        const there = run?.pages.includes(page);
        return html`<span class="group">${there ? html`<a class="button" href=${file(page)} target="_blank" rel="noopener">${verb === "report" ? "report" : "explorer"}</a>` : null}<button disabled=${row.state === "training" || !row.done} onClick=${() => act(`pages/${verb}`, {}, verb)}>write the ${verb === "report" ? "report" : "explorer"}${there ? " anew" : ""}</button></span>`;
      })}
      <a class="button" href="#/train?from=${encodeURIComponent(`${news.folder}/${name}`)}">train another like it</a>
    </div>
    <${Progress} started=${started.report} done=${written("The report", "report.html")} />
    <${Progress} started=${started.explore} done=${written("The explorer", "explorer.html")} />
    ${run?.records.length ? html`<div class="charts">${CHARTS.map((chart) => html`<${Curves} key=${chart.title} chart=${chart} records=${run.records} />`)}</div>` : html`<p class="muted">${row.state === "training" ? "The first epoch is not over yet; curves begin with it." : "There are no curves: no epoch was ended."}</p>`}
    ${run?.can_draw ? html`<h2>Try it</h2><${Pad} name=${name} />` : null}
    ${run?.by_class.length ? html`<details><summary>Metrics by class, of the test set</summary><div class="scroll" tabindex="0" role="region" aria-label="metrics by class"><table><thead><tr><th>class</th><th class="right">images</th><th class="right">precision</th><th class="right">recall</th><th class="right">F1</th></tr></thead><tbody>${run.by_class.map((each) => html`<tr><td><bdi>${each.class}</bdi></td><td class="right">${each.images}</td>${["precision", "recall", "f1"].map((key) => html`<td class="right">${Number(each[key]).toFixed(3)}</td>`)}</tr>`)}</tbody></table></div></details>` : null}
    ${run?.figures.length ? html`<details><summary>Figures</summary><div class="figures">${run.figures.map((each) => html`<img src=${file(each)} alt=${each.replace(".png", "").replaceAll("_", " ")} loading="lazy" />`)}</div></details>` : null}
    ${run ? html`<details><summary>Recipe</summary><pre tabindex="0">${run.recipe}</pre></details>
      <details open=${row.state === "training"}><summary>Log</summary><pre tabindex="0" class="log">${run.log}</pre></details>
      <p class="muted">${run.path}</p>` : null}`;
}

// Curves that grow while the run trains: uPlot is drawn once, and given new data.
function Curves({ chart, records }) {
  const frame = useRef(null), plot = useRef(null);
  const [theme, setTheme] = useState(0);
  const [hovered, hover] = useState(null);
  const series = chart.series.filter(([, key]) => records.some((each) => typeof each[key] === "number"));
  const data = [records.map((each) => each.epoch), ...series.map(([, key]) => records.map((each) => typeof each[key] === "number" ? each[key] : null))];
  const show = (value) => value === null || value === undefined ? "–" : chart.percent ? `${(100 * value).toFixed(2)} %` : String(Number(value.toPrecision(4)));

  useEffect(() => {
    const style = getComputedStyle(document.documentElement), colour = (name) => style.getPropertyValue(name).trim();
    const place = frame.current, size = () => ({ width: Math.max(240, place.clientWidth), height: 220 });
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
    plot.current = new uPlot({
      ...size(), legend: { show: false }, cursor: { points: { size: 6 }, drag: { x: false, y: false } }, hooks: { setCursor: [(self) => hover(self.cursor.idx)] }, scales: { x: { time: false } },
      axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] }, { ...axis, size: 58, values: (_, ticks) => ticks.map((each) => chart.percent ? `${Number((100 * each).toPrecision(4))} %` : String(Number(each.toPrecision(4)))) }],
      series: [{ label: "epoch" }, ...series.map(([label, , name]) => ({ label, stroke: colour(name), width: 2, points: { show: records.length < 3, size: 6 } }))],
    }, data, place);
    const resize = new ResizeObserver(() => plot.current.setSize(size()));
    resize.observe(place);
    const repaint = new MutationObserver(() => setTheme((each) => each + 1));
    repaint.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => { resize.disconnect(); repaint.disconnect(); plot.current.destroy(); };
  }, [series.length, theme, records.length < 3]);
  useEffect(() => { plot.current.setData(data); }, [records.length]);

  const at = records[hovered ?? records.length - 1] || records[records.length - 1];
  return html`<figure><figcaption>${chart.title}</figcaption><div ref=${frame}></div>
    <p class="legend">epoch ${at.epoch}${series.map(([label, key, name]) => html`<span><i style=${{ background: `var(${name})` }}></i>${label} ${show(at[key])}</span>`)}</p></figure>`;
}
