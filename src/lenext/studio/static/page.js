// What all pages of the studio share: markup, requests, and the news that the server sends.
import { h, render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import htm from "htm";

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

// Ask the server for JSON; an error has the server's own words.
export async function ask(path, body, signal) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, { ...options, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the studio does not answer; it may have ended: start `lenext studio` again");
  }
  if (response.ok) return response.json();
  const answer = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  throw new Error(answer.error);
}

export const place = (...parts) => parts.map(encodeURIComponent).join("/");
export const query = (values) => new URLSearchParams(Object.entries(values).filter(([, value]) => value !== "" && value !== undefined)).toString();

// The state of the server, by name, kept up to date by its events; pages subscribe to changes.
export const news = { runs: new Map(), commands: new Map(), connected: null };
const listeners = new Set();
let source = null;

function tell() { for (const listener of listeners) listener(); }

function keep(map, key) {
  return (event) => { for (const each of JSON.parse(event.data)) map.set(each[key], each); tell(); };
}

function drop(map) {
  return (event) => { for (const name of JSON.parse(event.data)) map.delete(name); tell(); };
}

// Listen while the page is seen: a browser has few connections to one host, and a hidden page needs none.
function listen() {
  if (document.hidden) { source?.close(); source = null; return; }
  if (source) return;
  source = new EventSource("/api/events");
  source.addEventListener("run", keep(news.runs, "name"));
  source.addEventListener("command", keep(news.commands, "number"));
  source.addEventListener("gone-run", drop(news.runs));
  source.addEventListener("gone-command", drop(news.commands));
  source.onopen = () => { news.connected = true; tell(); };
  source.onerror = () => { news.connected = false; tell(); };
}

export async function begin() {
  const { runs, folder } = await ask("/api/runs");
  for (const run of runs) news.runs.set(run.name, run);
  news.folder = folder;
  document.addEventListener("visibilitychange", listen);
  listen();
  tell();
}

export function useNews() {
  const [, turn] = useState(0);
  useEffect(() => {
    const listener = () => turn((each) => each + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return news;
}

// A command that was started here: undefined before it is heard of.
export const commandOf = (started) => started && (news.commands.get(started.number) || { ...started, state: "running" });

// Load what a path answers, again whenever a value in `on` changes.
export function useAnswer(path, on = []) {
  const [answer, set] = useState({});
  useEffect(() => {
    if (!path) { set({}); return undefined; }
    const control = new AbortController();
    const unless = (content) => control.signal.aborted || set(content);
    ask(path, undefined, control.signal).then((value) => unless({ value }), (error) => unless({ error: error.message }));
    return () => control.abort();
  }, [path, ...on]);
  return answer;
}

export const percent = (value) => typeof value === "number" ? `${(100 * value).toFixed(2)} %` : value ?? "";

export function duration(seconds) {
  if (typeof seconds !== "number") return "";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

export function Failure({ text }) {
  return text ? html`<p class="failure" role="alert">${text}</p>` : null;
}

export function State({ of }) {
  return html`<span class="state ${of}">${of}</span>`;
}

// The rest of a command that writes a page or a run: what it does, and what came of it.
export function Progress({ started, done }) {
  useNews();
  const command = commandOf(started);
  if (!command) return null;
  if (command.state === "failed") return html`<${Failure} text=${command.error} />`;
  if (command.state === "running") return html`<p class="muted" role="status"><span class="spinner"></span> ${command.kind} … ${command.progress || ""}</p>`;
  return done ? done(command) : html`<p role="status"><a href=${command.page} target="_blank" rel="noopener">open the page</a></p>`;
}
