// What all pages of the studio share: markup, requests, and the news that the server sends.
import { h, render } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { render, useEffect, useLayoutEffect, useRef, useState };

// Ask the server for JSON; an error has the server's own words.
export async function ask(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const options = body === undefined ? {} : { method: "POST", headers, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...options, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the studio does not answer; if it has ended, start lenext studio again and open its address");
  }
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  throw new Error(answer.error);
}

export const address = (...parts) => parts.map(encodeURIComponent).join("/");

export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
  return new URLSearchParams(given).toString();
}

// The state of the server, by name, kept up to date by its events; pages subscribe to changes.
export const news = { runs: new Map(), commands: new Map(), folder: "", isConnected: null, isComplete: false };
const subscribers = new Set();
let source = null;

function notify() { for (const subscriber of subscribers) subscriber(); }

const byKey = (rows, key) => new Map(rows.map((row) => [row[key], row]));

// Listen while the page is seen: a browser has few connections to one host, and a hidden page needs none.
function listen() {
  if (document.hidden) { source?.close(); source = null; return; }
  if (source) return;
  source = new EventSource("/api/events");
  const on = (name, action) => source.addEventListener(name, (event) => { action(JSON.parse(event.data)); notify(); });
  on("all", ({ run, command }) => {
    Object.assign(news, { runs: byKey(run, "name"), commands: byKey(command, "number"), isComplete: true });
  });
  on("run", (rows) => { for (const row of rows) news.runs.set(row.name, row); });
  on("command", (rows) => { for (const row of rows) news.commands.set(row.number, row); });
  on("gone-run", (names) => { for (const name of names) news.runs.delete(name); });
  on("gone-command", (numbers) => { for (const number of numbers) news.commands.delete(number); });
  source.onopen = () => { news.isConnected = true; notify(); };
  source.onerror = () => { news.isConnected = false; notify(); };
}

export async function begin() {
  const { runs, folder } = await ask("/api/runs");
  Object.assign(news, { runs: byKey(runs, "name"), folder });
  document.addEventListener("visibilitychange", listen);
  listen();
  notify();
}

export function useNews() {
  const [, turn] = useState(0);
  useEffect(() => {
    const subscriber = () => turn((each) => each + 1);
    subscribers.add(subscriber);
    return () => subscribers.delete(subscriber);
  }, []);
  return news;
}

// State that a page finds again when one comes back to it.
const kept = {};
export function useKept(name, initial) {
  const [value, set] = useState(name in kept ? kept[name] : initial);
  return [value, (next) => { kept[name] = next; set(next); }];
}

// Load what a path answers, again whenever a value in `on` changes; answers that come late are dropped.
export function useAnswer(path, on = []) {
  const [answer, set] = useState({});
  useEffect(() => {
    if (!path) { set({}); return undefined; }
    const control = new AbortController();
    const keep = (content) => control.signal.aborted || set(content);
    ask(path, undefined, control.signal).then((value) => keep({ value }), (error) => keep({ error: error.message }));
    return () => control.abort();
  }, [path, ...on]);
  return answer;
}

// An action of the user's: one at a time, with its error. `act(path, body, then)` asks the server.
export function useAction() {
  const [state, set] = useState({ isBusy: false, error: "" });
  const busy = useRef(false);
  async function act(path, body = {}, then = () => {}) {
    if (busy.current) return;
    busy.current = true;
    set({ isBusy: true, error: "" });
    let error = "";
    try {
      const answer = await ask(path, body);
      if (answer.number) { news.commands.set(answer.number, answer); notify(); }
      then(answer);
    } catch (problem) { error = problem.message; }
    busy.current = false;
    set({ isBusy: false, error });
  }
  return { ...state, act };
}

export const percent = (value, digits = 2) => typeof value === "number" ? `${(100 * value).toFixed(digits)} %` : value ?? "";

export function duration(seconds) {
  if (typeof seconds !== "number") return "";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60);
  if (whole < 60) return `${whole} s`;
  return whole < 3600 ? `${minutes} min ${whole % 60} s` : `${hours} h ${minutes % 60} min`;
}

export function Failure({ text }) {
  return text ? html`<p class="failure" role="alert">${text}</p>` : null;
}

export function State({ of }) {
  return html`<span class="state ${of}">${of}</span>`;
}

export function Working({ children }) {
  return html`<p role="status" class="muted"><span class="spinner"></span> ${children}</p>`;
}

// What a command does, and what came of it: `done` shows the latter.
export function Progress({ number, done }) {
  const command = useNews().commands.get(number);
  if (!command) return null;
  if (command.state === "failed") return html`<${Failure} text=${command.error} />`;
  if (command.state === "running") return html`<${Working}>${command.kind} … ${command.progress}<//>`;
  return command.state === "done" ? done(command) : null;
}
