// The studio: its pages by address, and the frame around them.
import { Failure, begin, html, render, useEffect, useNews, useState } from "./page.js";
import { Runs } from "./runs.js";
import { Run } from "./run.js";
import { Training } from "./training.js";
import { Data } from "./data.js";
import { Audit, Audits } from "./audit.js";

const PAGES = [["runs", "Runs"], ["train", "Train"], ["data", "Data"], ["audits", "Audits"]];

function here() {
  const [path, search = ""] = location.hash.slice(1).split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), search: new URLSearchParams(search) };
}

function Theme() {
  const choose = (theme) => { document.documentElement.dataset.theme = theme; };
  return html`<div class="group" role="group" aria-label="colours">
    <button onClick=${() => choose("light")}>light</button><button onClick=${() => choose("dark")}>dark</button></div>`;
}

function Studio() {
  const [address, go] = useState(here());
  const [failure, fail] = useState("");
  const news = useNews();
  useEffect(() => {
    const move = () => { go(here()); document.querySelector("main")?.focus(); };
    window.addEventListener("hashchange", move);
    begin().catch((error) => fail(error.message));
    return () => window.removeEventListener("hashchange", move);
  }, []);
  const [page = "runs", name] = address.parts;
  useEffect(() => { document.title = `${name || (PAGES.find(([key]) => key === page) || ["", "lenext"])[1]} · lenext studio`; }, [page, name]);
  let content;
  if (page === "runs" && name) content = html`<${Run} key=${name} name=${name} />`;
  else if (page === "runs") content = html`<${Runs} />`;
  else if (page === "train") content = html`<${Training} search=${address.search} />`;
  else if (page === "data") content = html`<${Data} search=${address.search} />`;
  else if (page === "audits" && name) content = html`<${Audit} key=${name} name=${name} />`;
  else if (page === "audits") content = html`<${Audits} />`;
  else content = html`<h1>There is no such page</h1><p><a href="#/runs">Runs</a></p>`;
  return html`<header>
      <a class="brand" href="#/runs">lenext <b>studio</b></a>
      <nav aria-label="pages">${PAGES.map(([key, title]) => html`<a href="#/${key}" aria-current=${page === key ? "page" : null}>${title}</a>`)}</nav>
      <${Theme} />
    </header>
    <main tabindex="-1">
      <${Failure} text=${failure} />
      ${news.connected === false ? html`<${Failure} text="The studio does not answer. If it has ended, start \`lenext studio\` again and open its address." />` : null}
      ${content}
    </main>`;
}

render(html`<${Studio} />`, document.getElementById("studio"));
