// Runs: all trainings, and the way to start one.
import { html } from "../vendor/htm-preact.js";
import { Starter, useRuns } from "../parts/choose.js";
import { isOpen, jobOf, useJobs } from "../parts/live.js";
import { Likelihood, sourceOf, Status } from "../parts/standing.js";
import { figure, Page, Picture, Problem, Sparkline, Word } from "../parts/ui.js";
import { NewRun } from "./runs/new.js";
import { OneRun } from "./runs/one.js";

const FIRST = { model: "vae", source: "digits", recipe: "demo", minutes: 0.5 };

export default function Runs({ rest, query }) {
  if (rest[0] === "new") return html`<${NewRun} query=${query} />`;
  if (rest[0]) return html`<${OneRun} name=${rest[0]} />`;
  return html`<${All} />`;
}

function All() {
  const { runs, error } = useRuns();
  const jobs = useJobs();
  const start = html`<a class="button main" href="#/runs/new">Train a model</a>`;
  return html`<${Page} title="Runs" beside=${runs?.length ? start : null}
      purpose="Each model that was trained here: what it draws, and how well it knows images it never saw.">
    <${Problem} error=${error} />
    ${runs && !runs.length && html`<${First} />`}
    <ul class="runs">${begun(runs ?? [], jobs).map((job) => html`<li key=${job.id}><${Begun} job=${job} /></li>`)}
      ${runs?.map((run) => html`<li key=${run.run}><${Card} run=${run}
      job=${jobOf(jobs, run.run)} /></li>`)}</ul>
  <//>`;
}

/** Trainings that have no folder yet: they wait, or begin just now. */
const begun = (runs, jobs) =>
  jobs.filter((job) => job.kind === "train" && isOpen(job) && !runs.some(({ run }) => run === job.run));

const Begun = ({ job }) => html`<article class="card run"><span class="thumb">no images yet</span>
  <div><h2><a href=${`#/runs/${encodeURIComponent(job.run)}`}>${job.run}</a></h2>
    <p class="note"><${Status} job=${job} /></p></div></article>`;

/** What a person who comes for the first time can do at once. */
function First() {
  return html`<div class="first">
    <${Starter} button="Teach it to write digits" body=${FIRST}
      words=${html`Nothing has been trained here yet. Half a minute is enough for a first <${Word} is="model">model<//>:
        it looks at 1,797 handwritten <${Word} is="digits">digits<//> and learns to draw its own. Watch them get
        sharper; then walk through all that it can draw with the pointer.`} />
    <p class="note">Or <a href="#/runs/new">choose your own images and model</a>, or look first at
      ${" "}<a href="#/learn">how such models work</a>.</p></div>`;
}

function Card({ run, job }) {
  const address = `#/runs/${encodeURIComponent(run.run)}`;
  const of = run.sparkline_of ?? "metric";
  return html`<article class="card run"><a class="thumb" href=${address} tabindex="-1" aria-hidden="true">
      ${run.thumbnail ? html`<${Picture} src=${run.thumbnail} alt="" loading="lazy" />`
        : html`<span>no images yet</span>`}</a>
    <div><h2><a href=${address}>${run.run}</a></h2>
      <p class="note">${run.model} on ${sourceOf(run)} · <${Status} run=${run} job=${job} /></p>
      <dl><div><dt><${Word} is="likelihood">Likelihood<//></dt><dd><${Likelihood} run=${run} /></dd></div>
      ${run.sparkline?.length > 1 && html`<div><dt>${of} of validation over time</dt><dd><${Sparkline}
        values=${run.sparkline} label=${`${of} on validation images: from ${figure(run.sparkline[0])} to
        ${figure(run.sparkline.at(-1))}`} /></dd></div>`}</dl></div></article>`;
}
