// The commands that this studio has started: what they do, what came of them, and how to stop them.
import { Failure, State, address, html, useAction, useNews } from "./page.js";

export function Commands() {
  const commands = [...useNews().commands.values()].filter((each) => each.kind !== "plan").reverse();
  const running = commands.filter((each) => each.state === "running").length;
  if (!commands.length) return null;
  return html`<details class="commands"><summary>Commands <span class="muted">${running} running</span></summary>
    ${commands.map((each) => html`<${Line} key=${each.number} command=${each} />`)}</details>`;
}

export function Line({ command }) {
  const { act, isBusy, error } = useAction();
  const isRunning = command.state === "running";
  return html`<div class="command"><${State} of=${command.is_stopping ? "stopping" : command.state} /> <code>${command.command}</code>
    ${isRunning && !command.is_stopping ? html` <button disabled=${isBusy} onClick=${() => act(`/api/${address("commands", command.number, "stop")}`)}>stop</button>` : null}
    ${command.page ? html` <a href=${command.page} target="_blank" rel="noopener">page</a>` : null}
    ${command.progress ? html` <span class="muted">${command.progress}</span>` : null}
    <${Failure} text=${error || command.error} /></div>`;
}
