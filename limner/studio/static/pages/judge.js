// Judge: several runs side by side, by the same yardstick.
import { html, useState } from "../vendor/htm-preact.js";
import { Starter, useRuns } from "../parts/choose.js";
import { get, Refused, send, useAct, useLoad } from "../parts/load.js";
import { isOpen, jobOf, remember, useEvents, useJobs } from "../parts/live.js";
import { Act, figure, Page, Picture, Problem, Word } from "../parts/ui.js";
import { Whiskers } from "./judge/whiskers.js";

const MOST = 8;

export default function Judge() {
  const { runs, error } = useRuns();
  return html`<${Page} title="Judge" purpose="Which model knows these images best, and which draws the best ones? The two are not the same.">
    <${Problem} error=${error} />
    ${runs && !runs.length && html`<${Starter} words="There is nothing to compare yet." button="Train a first model on digits"
      body=${{ model: "vae", source: "digits", recipe: "demo", minutes: 0.5 }} />`}
    ${runs?.length > 0 && html`<${Choose} runs=${runs} />`}<//>`;
}

/** Which runs: those in the address, else the newest few of the newest one's images. */
function chosenIn(runs) {
  const asked = new URLSearchParams(location.hash.split("?")[1] ?? "").getAll("run");
  const same = runs.filter((run) => run.data === runs[0].data && run.step);
  const found = asked.length === 1 ? [...asked, ...same.map(({ run }) => run).filter((run) => run !== asked[0])] : asked;
  return (found.length ? found : same.map(({ run }) => run)).slice(0, asked.length > 1 ? MOST : 4);
}

function Choose({ runs }) {
  const [chosen, setChosen] = useState(() => chosenIn(runs));
  const turn = (run) => setChosen(chosen.includes(run) ? chosen.filter((one) => one !== run) : [...chosen, run]);
  return html`<fieldset class="card choose"><legend>Compare</legend>${runs.map(({ run, model, data }) => {
      const full = chosen.length >= MOST && !chosen.includes(run);
      return html`<label key=${run} title=${full ? `${MOST} at most` : undefined}><input type="checkbox" checked=${chosen.includes(run)}
        disabled=${full} onChange=${() => turn(run)} /> ${run} <span class="note">${model} on ${data}</span></label>`;
    })}${chosen.length >= MOST && html`<span class="why">${MOST} runs at most: take one away to choose another.</span>`}</fieldset>
    ${chosen.length ? html`<${Table} key=${chosen.join(" ")} names=${chosen} />` : html`<p class="note">Choose one run or more.</p>`}`;
}

function Table({ names }) {
  const query = names.map((name) => `run=${encodeURIComponent(name)}`).join("&");
  const { value, error, again } = useLoad(() => get(`/api/compare?${query}`), query);
  useEvents((message) => {
    if (message.type === "run" && names.includes(message.run) && ["evaluation", "finished"].includes(message.what)) again();
  });
  if (!value) return html`<${Problem} error=${error} />`;
  const { runs, words } = value;
  return html`<${Problem} error=${error} />
    <section class="card" aria-labelledby="numbers"><h2 id="numbers">In numbers</h2>
      ${words?.map((word) => html`<p class="note">${word}</p>`)}
      <${Whiskers} runs=${runs} />
      <div class="scroll" tabindex="0" role="region" aria-label="Table of the runs"><table class="plain compare"><thead><tr>
        <th scope="col">Run</th><th scope="col"><${Word} is="likelihood">Likelihood<//>, <${Word} is="nats" /></th>
        <th scope="col"><${Word} is="bits/dim" /></th>
        <th scope="col"><${Word} is="Frechet">Distance<//> of samples</th><th scope="col"><${Word} is="precision">Precision<//></th>
        <th scope="col"><${Word} is="recall">Recall<//></th><th scope="col">Not measured yet</th></tr></thead>
        <tbody>${runs.map((run) => html`<${Row} key=${run.run} run=${run} />`)}</tbody></table></div>
      <p class="note">± is the <${Word} is="standard error" />. ≤: the true value is no larger, that is at least as good.
        Of the distance, 1 would be as near as other real images are.</p></section>
    <section class="card" aria-labelledby="side"><h2 id="side">Samples side by side</h2>
      ${runs.map((run) => html`<${Samples} key=${run.run} run=${run} />`)}</section>`;
}

const measured = (value, error, digits = 4) => html`<span class="number">${figure(value, digits)}${error !== undefined && error !== null ? html` <span class="note">± ${figure(error, 2)}</span>` : ""}</span>`;

function Row({ run }) {
  const { likelihood: l, fidelity: f, missing = [] } = run;
  const none = (column) => html`<td data-column=${column}>–</td>`;
  return html`<tr><th scope="row"><a href=${`#/runs/${encodeURIComponent(run.run)}`}>${run.run}</a><span class="note">${run.model} on ${run.data}</span></th>
    <td data-column="Likelihood"><span>${l ? html`${l.bound === "lower" ? "≤ " : ""}${measured(l.nats_per_image, l.nats_standard_error)} <${Word} is=${l.bound === "lower" ? "bound" : "exact"} />`
      : run.bound ? "not measured" : html`<${Word} is="none" />`}</span></td>
    <td data-column="bits/dim">${l ? measured(l.bits_per_dim) : "–"}</td>
    ${f ? html`<td data-column="Distance">${measured(f.frechet_ratio ?? f.frechet, f.frechet_ratio_standard_error, 3)}</td><td data-column="Precision">${measured(f.precision, f.precision_standard_error, 2)}</td>
      <td data-column="Recall">${measured(f.recall, f.recall_standard_error, 2)}</td>` : ["Distance", "Precision", "Recall"].map(none)}
    <td data-column="Not measured">${missing.length ? html`<span><${Measure} run=${run} missing=${missing} /></span>` : "nothing"}</td></tr>`;
}

function Measure({ run, missing }) {
  const job = jobOf(useJobs(), run.run, ["evaluate"]);
  const measure = useAct(async () => remember(await send("POST", `/api/runs/${encodeURIComponent(run.run)}/evaluate`, {
    split: "test",
    fidelity: missing.includes("fidelity"),
  })));
  const going = isOpen(job);
  const fraction = job?.progress?.fraction;
  return html`<${Act} busy=${measure.busy || going} title=${`Measure ${run.run}: ${missing.join(" and ")}`} onClick=${() => measure.run()}>
      ${going ? `${job.progress?.stage ?? "waiting"} …` : `Measure ${missing.join(" and ")}`}<//>
    ${going && html`<progress aria-label=${`Progress of measuring ${run.run}`} value=${fraction} max="1"></progress>`}
    <${Problem} error=${measure.error ?? (job?.state === "failed" ? new Refused(job.error) : null)} />`;
}

function Samples({ run }) {
  const { value, error } = useLoad(() => send("POST", `/api/runs/${encodeURIComponent(run.run)}/samples`, { n: 12, seed: 0 }), run.run);
  return html`<figure class="side"><figcaption><strong>${run.run}</strong> ${run.likelihood_words}</figcaption>
    <${Problem} error=${error} /><div class="strip">${value?.images.map((src, i) => html`<${Picture} key=${i} src=${src}
      alt=${`Sample ${i + 1} of ${run.run}`} />`)}</div></figure>`;
}
