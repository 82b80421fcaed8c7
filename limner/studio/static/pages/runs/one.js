// One run: watch it learn, look back, stop it, go on, delete it.
import { html, useRef, useState } from "../../vendor/htm-preact.js";
import { why } from "../../parts/choose.js";
import { get, Refused, send, useAct, useLoad } from "../../parts/load.js";
import { isOpen, jobOf, remember, useEvents, useJobs } from "../../parts/live.js";
import { Act, Aloud, Ask, duration, figure, Page, Problem, Word } from "../../parts/ui.js";
import { Likelihood, Status } from "../../parts/standing.js";
import { Course } from "./course.js";
import { Sheets } from "./sheets.js";

export function OneRun({ name }) {
  const path = `/api/runs/${encodeURIComponent(name)}`;
  const known = useRef(false); // whether it has a folder: a training that waits has none
  const load = async () => {
    known.current ||= (await get("/api/runs")).some(({ run: one }) => one === name);
    if (!known.current) throw new Refused(`There is no run ${name}.`, 404);
    return get(path);
  };
  const { value: run, error, again } = useLoad(load, name, 5000);
  const job = jobOf(useJobs(), name);
  useEvents((message) => {
    if (message.type === "run" && message.run === name && message.what !== "deleted") again();
    if (message.type === "job" && message.job.run === name && !isOpen(message.job)) again();
  });
  const early = error?.status === 404 && isOpen(job); // it has no folder before it begins
  return html`<${Page} title=${name} purpose=${run?.summary ?? "A training."}>
    ${!early && html`<${Problem} error=${error} />`}
    ${job?.state === "failed" && html`<${Problem} error=${job.error} />`}
    ${(run || isOpen(job)) && html`<${Now} run=${run} job=${job} path=${path} again=${again} />`}
    ${run && html`<div class="columns even watch">
      <section class="card" aria-labelledby="drawn"><h2 id="drawn">What it draws</h2><${Sheets} run=${run}
        live=${isOpen(job) || run.status === "running"} /></section>
      <section class="card" aria-labelledby="course"><h2 id="course">How it learns</h2><${Course} run=${run} /></section></div>
    <section class="card" aria-labelledby="facts"><h2 id="facts">What it is</h2><${Facts} run=${run} /></section>`}<//>`;
}

/** What goes on now, and what can be done about it. */
function Now({ run, job, path, again }) {
  const open = isOpen(job);
  const progress = open ? (job.progress ?? run?.progress) : run?.progress;
  const act = useAct(async (what, body) => {
    const made = await send("POST", `${path}/${what}`, body);
    if (made?.id) remember(made);
    again();
  });
  const name = encodeURIComponent(run?.run ?? "");
  const walk = run?.can?.walk?.ok;
  return html`<section class="card now" aria-label="Now"><div class="line spread top"><div>
      <p class="line"><${Status} run=${run} job=${job} />
        ${run && html`<span><${Word} is="likelihood">Likelihood<//>: <${Likelihood} run=${run} /></span>`}</p>
      ${open && html`<${Moving} progress=${progress} state=${job.state} />`}
      ${job?.notes?.map((note) => html`<p class="note">${note}</p>`)}</div>
    <div class="line top">${open || run?.status === "running"
      ? html`<${Act} busy=${act.busy} why=${run?.can?.stop && !run.can.stop.ok && !open ? why(run, "stop") : ""}
          onClick=${() => act.run("stop")}>Stop and keep it<//>`
      : run && html`<${Resume} run=${run} act=${act} />`}
      ${run && html`<${Delete} run=${run} path=${path} busy=${open} />`}</div></div>
    ${run?.weights && html`<p class="line onward">
      ${run.can?.walk && html`<a class=${`button ${walk ? "main" : ""}`} hidden=${!walk} href=${`#/walk/${name}`}>Walk through what it can draw</a>`}
      <a class=${`button ${walk ? "" : "main"}`} hidden=${!run.can?.sample?.ok} href=${`#/sample/${name}`}>Draw samples</a>
      <a class="button" hidden=${!run.can?.complete?.ok} href=${`#/paint/${name}`}>Paint and complete</a>
      <a class="button" href=${`#/judge?run=${name}`}>Compare</a></p>`}
    <${Problem} error=${act.error} /></section>`;
}

function Moving({ progress, state }) {
  if (state === "waiting") return html`<p role="status">Waits until the training before it is done.</p>`;
  if (!progress || progress.fraction === undefined) return html`<p role="status">${progress?.stage ?? "It begins"} …</p><progress
    aria-label="Progress of the training"></progress>`;
  const percent = Math.floor(100 * progress.fraction);
  return html`<progress aria-label="Progress of the training" value=${progress.fraction} max="1"></progress>
    <p class="number">step ${progress.step ?? "–"}${progress.images_per_second ? ` · ${figure(progress.images_per_second, 3)} images a second` : ""}
      ${progress.seconds_left !== undefined ? ` · ${duration(progress.seconds_left)} left` : ""}</p>
    <${Aloud} shown=${false}>${`${percent - (percent % 10)} percent of the training done`}<//>`;
}

function Resume({ run, act }) {
  const [minutes, setMinutes] = useState("1");
  const no = run.can?.resume && !run.can.resume.ok ? why(run, "resume") : Number(minutes) > 0 ? "" : "more than 0 minutes";
  return html`<label class="line inline">Go on for <input class="tiny" type="number" min="0.05" step="any" value=${minutes}
    onInput=${(e) => setMinutes(e.currentTarget.value)} /> minutes</label>
    <${Act} busy=${act.busy} why=${no} onClick=${() => act.run("resume", { minutes: Number(minutes) })}>Go on<//>`;
}

function Delete({ run, path, busy }) {
  const [asked, setAsked] = useState(false);
  const remove = useAct(async () => {
    await send("DELETE", path);
    location.hash = "#/runs";
  });
  const no = busy || run.status === "running" ? "stop it first" : why(run, "delete");
  return html`<${Act} kind="bad" why=${no} busy=${remove.busy} onClick=${() => setAsked(true)}>Delete …<//>
    <${Ask} open=${asked} title=${`Delete ${run.run}?`} yes="Delete it for good" onNo=${() => setAsked(false)}
      onYes=${() => { setAsked(false); remove.run(); }}>
      <p>The model, its curves and its images are removed from the disk. This cannot be undone.</p><//>
    <${Problem} error=${remove.error} />`;
}

function Facts({ run }) {
  const changed = Object.entries(run.settings ?? {});
  const rows = [
    ["Model", html`${run.model}, recipe “${run.recipe}”`],
    ["Published", run.paper],
    ["Images", html`${run.data}: ${run.images}`],
    ["Training so far", html`<span class="number">${run.step ?? 0}</span> steps`],
    [html`<${Word} is="weights">Weights</>`, run.weights && html`<code>${run.weights.slice(0, 16)}</code>`],
    ["Changed from the recipe", changed.length > 0 && changed.map(([key, { run: is, recipe }]) => html`<div><code>${key}</code>:
      ${" "}${String(is)} <span class="note">(recipe: ${String(recipe)})</span></div>`)],
    ["Report", run.report && html`<a href=${run.report} target="_blank" rel="noopener">all of it on one page (opens a new tab)</a>`],
  ].filter(([, text]) => text);
  return html`<dl class="facts">${rows.map(([term, text]) => html`<div><dt>${term}</dt><dd>${text}</dd></div>`)}</dl>
    <details><summary>All its settings</summary><div class="scroll" tabindex="0"><pre><code>${JSON.stringify(run.config, null, 2)}</code></pre></div></details>`;
}
