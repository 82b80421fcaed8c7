// The table of what was measured, and a button for what was not yet.
import { html } from "../../vendor/htm-preact.js";
import { isOpen, jobOf, remember, useJobs } from "../../parts/live.js";
import { send, useAct } from "../../parts/load.js";
import { sourceOf } from "../../parts/standing.js";
import { Act, figure, Problem, Word } from "../../parts/ui.js";

export function Numbers({ runs }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of the runs">
    <table class="plain compare"><thead><tr>
      <th scope="col">Run</th>
      <th scope="col"><${Word} is="likelihood">Likelihood<//>, <${Word} is="nats" /></th>
      <th scope="col"><${Word} is="bits/dim" /></th>
      <th scope="col"><${Word} is="Frechet">Fréchet ratio<//></th>
      <th scope="col"><${Word} is="precision">Precision<//></th>
      <th scope="col"><${Word} is="recall">Recall<//></th>
      <th scope="col">Not measured yet</th></tr></thead>
    <tbody>${runs.map((run) => html`<${Row} key=${run.run} run=${run} />`)}</tbody></table></div>`;
}

function Measured({ value, error, digits = 4 }) {
  const known = error !== undefined && error !== null;
  return html`<span class="number">${figure(value, digits)}${known && html` <span class="note">±
    ${" "}${figure(error, 2)}</span>`}</span>`;
}

function Likelihood({ run: { likelihood: of, bound } }) {
  if (!of) return html`<span>${bound ? "not measured" : html`<${Word} is="none" />`}</span>`;
  return html`<span>${of.bound === "lower" ? "≤ " : ""}<${Measured} value=${of.nats_per_image}
    error=${of.nats_standard_error} /> <${Word} is=${of.bound === "lower" ? "bound" : "exact"} /></span>`;
}

function Row({ run }) {
  const { likelihood, fidelity: f, missing = [] } = run;
  const cell = (column, name, digits) => html`<td data-column=${column}>${f?.[name] === undefined ? "–"
    : html`<${Measured} value=${f[name]} error=${f[`${name}_standard_error`]} digits=${digits} />`}</td>`;
  return html`<tr><th scope="row"><a href=${`#/runs/${encodeURIComponent(run.run)}`}>${run.run}</a>
      <span class="note">${run.model} on ${sourceOf(run)}</span></th>
    <td data-column="Likelihood"><${Likelihood} run=${run} /></td>
    <td data-column="bits/dim">${likelihood ? html`<${Measured} value=${likelihood.bits_per_dim} />` : "–"}</td>
    ${cell("Fréchet ratio", "frechet_ratio", 3)}${cell("Precision", "precision", 2)}${cell("Recall", "recall", 2)}
    <td data-column="Not measured">${missing.length ? html`<${Measure} run=${run} missing=${missing} />`
      : "nothing"}</td>
  </tr>`;
}

function Measure({ run, missing }) {
  const job = jobOf(useJobs(), run.run, ["evaluate"]);
  const body = { split: "test", fidelity: missing.includes("fidelity") };
  const path = `/api/runs/${encodeURIComponent(run.run)}/evaluate`;
  const measure = useAct(async () => remember(await send("POST", path, body)));
  const going = isOpen(job);
  const what = `Measure ${missing.join(" and ")}`;
  return html`<span><${Act} busy=${measure.busy || going} aria-label=${`${what} of ${run.run}`}
      onClick=${() => measure.run()}>${going ? `${job.progress?.stage ?? "waiting"} …` : what}<//>
    ${going && html`<progress aria-label=${`Progress of measuring ${run.run}`} value=${job.progress?.fraction}
      max="1"></progress>`}
    <${Problem} error=${measure.error ?? (job?.state === "failed" ? job.error : null)} /></span>`;
}
