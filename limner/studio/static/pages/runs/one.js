// One run: watch it learn, look back, stop it, go on, delete it.
import { html, useRef } from "../../vendor/htm-preact.js";
import { why } from "../../parts/choose.js";
import { isOpen, jobOf, remember, useEvents, useJobs } from "../../parts/live.js";
import { get, Refused, send, useAct, useLoad } from "../../parts/load.js";
import { Likelihood, Status } from "../../parts/standing.js";
import { Act, Aloud, duration, figure, Page, Problem, Word } from "../../parts/ui.js";
import { Course } from "./course.js";
import { Delete, Resume } from "./deeds.js";
import { Facts } from "./facts.js";
import { Sheets } from "./sheets.js";

export function OneRun({ name }) {
  const path = `/api/runs/${encodeURIComponent(name)}`;
  const known = useRef(false); // whether it has a folder: a training that waits has none
  const load = async () => {
    known.current ||= (await get("/api/runs")).some(({ run: one }) => one === name);
    if (!known.current) throw new Refused(`There is no run ${name}.`, 404);
    return get(path);
  };
  const { value: run, error, again } = useLoad(load, name);
  const job = jobOf(useJobs(), name);
  const live = isOpen(job) || run?.status === "running";
  useEvents((message) => {
    if (message.type === "run" && message.run === name && message.what !== "deleted") again();
    if (message.type === "job" && message.job.run === name && !isOpen(message.job)) again();
    if (message.type === "run" && message.run === name && message.what === "deleted") location.hash = "#/runs";
  });
  const early = error?.status === 404 && isOpen(job);
  return html`<${Page} title=${name} purpose=${run?.summary ?? "A training."}>
    ${!early && html`<${Problem} error=${error} />`}
    ${job?.state === "failed" && html`<${Problem} error=${job.error} />`}
    ${(run || isOpen(job)) && html`<${Now} run=${run} job=${job} path=${path} again=${again} />`}
    ${run && html`<div class="columns even watch">
        <section class="card" aria-labelledby="drawn"><h2 id="drawn">What it draws</h2>
          <${Sheets} sheets=${run.sheets ?? []} live=${live} /></section>
        <section class="card" aria-labelledby="course"><h2 id="course">How it learns</h2>
          <${Course} run=${run} /></section></div>
      <section class="card" aria-labelledby="facts"><h2 id="facts">What it is</h2>
        <${Facts} run=${run} /></section>`}<//>`;
}

/** What goes on now, and what can be done about it. */
function Now({ run, job, path, again }) {
  const open = isOpen(job);
  const trains = open || run?.status === "running";
  const act = useAct(async (what, body) => {
    const made = await send("POST", `${path}/${what}`, body);
    if (made?.id) remember(made);
    again();
  });
  const stop = () => act.run("stop");
  return html`<section class="card now" aria-label="Now"><div class="line spread top">
      <div><p class="line"><${Status} run=${run} job=${job} />
          ${run && html`<span><${Word} is="likelihood">Likelihood<//>: <${Likelihood} run=${run} /></span>`}</p>
        ${open && html`<${Moving} progress=${job.progress ?? run?.progress} state=${job.state} />`}
        ${job?.notes?.length > 0 && html`<details><summary>What was noted at its start</summary>
          ${job.notes.map((note) => html`<p class="note" key=${note}>${note}</p>`)}</details>`}</div>
      <div class="line top">
        ${trains ? html`<${Act} busy=${act.busy} why=${open ? "" : why(run, "stop")} onClick=${stop}>
            Stop and keep it<//>`
          : run && html`<${Resume} run=${run} act=${act} />`}
        ${run && html`<${Delete} run=${run} path=${path} busy=${trains} />`}</div></div>
    ${run?.weights && html`<${Onward} run=${run} />`}
    <${Problem} error=${act.error} /></section>`;
}

/** Where to go from here: what this run can do. */
function Onward({ run }) {
  const name = encodeURIComponent(run.run);
  const ways = [
    ["walk", "Walk through what it can draw", `#/walk/${name}`],
    ["sample", "Draw samples", `#/sample/${name}`],
    ["complete", "Paint and complete", `#/paint/${name}`],
    ["", "Compare", `#/judge?run=${name}`],
  ].filter(([can]) => !can || run.can?.[can]?.ok);
  return html`<p class="line onward">${ways.map(([can, text, to], i) => html`<a key=${can} href=${to}
    class=${i === 0 && can ? "button main" : "button"}>${text}</a>`)}</p>`;
}

function Moving({ progress, state }) {
  if (state === "waiting") return html`<p role="status">Waits until the training before it is done.</p>`;
  const { stage = "It begins", fraction, step, images_per_second: rate, seconds_left: left } = progress ?? {};
  if (fraction === undefined)
    return html`<p role="status">${stage} …</p><progress aria-label="Progress of the training"></progress>`;
  const tenth = 10 * Math.floor(10 * fraction);
  const words = [
    step !== undefined && `step ${step}`,
    rate && `${figure(rate, 3)} images a second`,
    left !== undefined && `${duration(left)} left`,
  ].filter(Boolean);
  return html`<progress aria-label="Progress of the training" value=${fraction} max="1"></progress>
    <p class="number">${words.join(" · ")}</p>
    <${Aloud} shown=${false}>${`${tenth} percent of the training done`}<//>`;
}
