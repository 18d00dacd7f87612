// The curves of a run, which grow while it trains.
import { html, percent, useEffect, useRef, useState } from "./page.js";

const TRAINING = ["training", "--a", [6, 4]], AGAIN = ["training, measured again", "--c", [2, 3]], VALIDATION = ["validation", "--b", []];
const CHARTS = [
  { title: "Accuracy", isShare: true, lines: { train_accuracy: TRAINING, evaluated_train_accuracy: AGAIN, val_accuracy: VALIDATION } },
  { title: "Loss", lines: { train_loss: TRAINING, evaluated_train_loss: AGAIN, val_loss: VALIDATION } },
  { title: "Learning rate", lines: { learning_rate: ["learning rate", "--c", []] } },
];
const EPOCHS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const HEIGHT = 220;  // pixels

export function Curves({ records, epochs }) {
  return html`<div class="charts">${CHARTS.map((chart) => html`<${Chart} key=${chart.title} chart=${chart} records=${records} epochs=${epochs} />`)}</div>`;
}

const finite = (value) => typeof value === "number" ? value : null;

function Chart({ chart, records, epochs }) {
  const frame = useRef(null), plot = useRef(null);
  const [theme, setTheme] = useState(0);
  const [hovered, hover] = useState(null);
  const lines = Object.entries(chart.lines).filter(([key]) => records.some((each) => finite(each[key]) !== null));
  const data = [records.map((each) => each.epoch), ...lines.map(([key]) => records.map((each) => finite(each[key])))];
  const isShort = records.length < 3;

  function show(value) {
    if (typeof value !== "number") return value ?? "–";  // a number that is not finite comes as text
    return chart.isShare ? percent(value) : String(Number(value.toPrecision(4)));
  }

  useEffect(() => {
    const place = frame.current, style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const size = () => ({ width: Math.max(240, place.clientWidth), height: HEIGHT });
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--muted"), grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const label = (value) => chart.isShare ? `${Number((100 * value).toPrecision(4))} %` : String(Number(value.toPrecision(4)));
    const series = lines.map(([, [, name, dash]]) => ({ stroke: colour(name), width: 2, dash, points: { show: isShort, size: 6 } }));
    plot.current = new uPlot({
      ...size(), legend: { show: false }, scales: { x: { time: false, range: [1, Math.max(2, epochs, records.length)] } }, series: [{}, ...series],
      cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      axes: [{ ...axis, incrs: EPOCHS, label: "epoch", labelSize: 20, labelFont: axis.font }, { ...axis, size: 58, values: (_, ticks) => ticks.map(label) }],
      hooks: { setCursor: [(self) => hover(self.cursor.idx)] },
    }, data, place);
    const resize = new ResizeObserver(() => plot.current.setSize(size()));
    resize.observe(place);
    const repaint = () => setTheme((each) => each + 1);
    const chosen = new MutationObserver(repaint), system = matchMedia("(prefers-color-scheme: dark)");
    chosen.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    system.addEventListener("change", repaint);
    return () => {
      resize.disconnect();
      chosen.disconnect();
      system.removeEventListener("change", repaint);
      plot.current.destroy();
    };
  }, [lines.length, theme, isShort, epochs]);
  useEffect(() => { plot.current.setData(data); }, [records]);

  const at = records[hovered ?? records.length - 1] || records[records.length - 1];
  return html`<figure><figcaption>${chart.title}</figcaption><div ref=${frame}></div>
    <p class="legend">epoch ${at.epoch}${lines.map(([key, [label, name, dash]]) => html`
      <span><i class=${dash.length ? "dashed" : ""} style=${{ borderColor: `var(${name})` }}></i>${label} ${show(at[key])}</span>`)}</p></figure>`;
}
