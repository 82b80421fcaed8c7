// What a run is: its model, its images, its settings.
import { html } from "../../vendor/htm-preact.js";
import { sourceOf } from "../../parts/standing.js";
import { Word } from "../../parts/ui.js";

const MANY = 4;

export function Facts({ run }) {
  const rows = [
    ["Model", `${run.model}, recipe “${run.recipe}”`],
    ["Published", run.paper],
    ["Images", `${sourceOf(run)}: ${run.images}`],
    ["Training so far", html`${run.step ?? 0} <${Word} is="step">steps<//>`],
    [html`<${Word} is="weights">Weights<//>`, run.weights && html`<code>${run.weights.slice(0, 16)}</code>`],
    ["Changed from the recipe", changed(run.settings ?? {})],
    ["Report", run.report && html`<a href=${run.report} target="_blank" rel="noopener">all of it on one page (opens a
      new tab)</a>`],
  ].filter(([, text]) => text);
  return html`<dl class="facts">${rows.map(([term, text], i) => html`<div key=${i}><dt>${term}</dt>
      <dd>${text}</dd></div>`)}</dl>
    <details><summary>All its settings</summary>
      <pre tabindex="0"><code>${JSON.stringify(run.config, null, 2)}</code></pre></details>`;
}

function changed(settings) {
  const rows = Object.entries(settings).map(([key, { run, recipe }]) => html`<div key=${key}><code>${key}</code>:
    ${" "}${String(run)} <span class="note">(recipe: ${String(recipe)})</span></div>`);
  if (rows.length <= MANY) return rows.length ? rows : null;
  return html`<details><summary>${rows.length} settings</summary>${rows}</details>`;
}
