// The studio: its pages by address, and the frame around them.
import { Failure, begin, html, render, useEffect, useNews, useState } from "./page.js";
import { Audit, Audits } from "./audit.js";
import { Commands } from "./commands.js";
import { Data } from "./data.js";
import { Run } from "./run.js";
import { Runs } from "./runs.js";
import { Training } from "./training.js";

const PAGES = [["runs", "Runs"], ["train", "Train"], ["data", "Data"], ["audits", "Audits"]];
const THEMES = ["light", "dark", "auto"];
const LOST = "The studio does not answer. If it has ended, start lenext studio again and open its address.";

function decode(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

function currentPlace() {
  const [path, search = ""] = location.hash.slice(1).split("?");
  return { parts: path.split("/").filter(Boolean).map(decode), search: new URLSearchParams(search), hash: location.hash };
}

function Theme() {
  const [theme, set] = useState(localStorage.getItem("theme") || "auto");
  useEffect(() => {
    localStorage.setItem("theme", theme);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
  return html`<div class="group" role="group" aria-label="colours">${THEMES.map((each) => html`
    <button aria-pressed=${theme === each} onClick=${() => set(each)}>${each}</button>`)}</div>`;
}

function Content({ place }) {
  const [page = "runs", name] = place.parts;
  if (page === "runs" && name) return html`<${Run} key=${name} name=${name} />`;
  if (page === "runs") return html`<${Runs} />`;
  if (page === "train") return html`<${Training} key=${place.hash} search=${place.search} />`;
  if (page === "data") return html`<${Data} search=${place.search} />`;
  if (page === "audits" && name) return html`<${Audit} key=${name} name=${name} />`;
  if (page === "audits") return html`<${Audits} key=${place.hash} search=${place.search} />`;
  return html`<h1>There is no such page</h1><p><a href="#/runs">Runs</a></p>`;
}

function Studio() {
  const [place, go] = useState(currentPlace());
  const [failure, fail] = useState("");
  const { isConnected } = useNews();
  useEffect(() => {
    const move = () => { go(currentPlace()); document.querySelector("main")?.focus(); };
    window.addEventListener("hashchange", move);
    begin().catch((error) => fail(error.message));
    return () => window.removeEventListener("hashchange", move);
  }, []);
  const [page = "runs", name] = place.parts;
  useEffect(() => {
    const [, title] = PAGES.find(([key]) => key === page) || ["", "lenext"];
    document.title = `${name || title} · lenext studio`;
  }, [page, name]);
  return html`<header>
      <a class="brand" href="#/runs">lenext <b>studio</b></a>
      <nav aria-label="pages">${PAGES.map(([key, title]) => html`
        <a href="#/${key}" aria-current=${page === key ? "page" : null}>${title}</a>`)}</nav>
      <${Theme} />
    </header>
    <main tabindex="-1">
      <${Failure} text=${failure || (isConnected === false ? LOST : "")} />
      <${Content} place=${place} />
      <${Commands} />
    </main>`;
}

render(html`<${Studio} />`, document.getElementById("studio"));
