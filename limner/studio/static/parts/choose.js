// Which run a page works with: those that can do it, and why the others cannot.
import { html, useEffect } from "../vendor/htm-preact.js";
import { get, send, useAct, useLoad } from "./load.js";
import { remember, useEvents } from "./live.js";
import { Act, Choice, Problem } from "./ui.js";

const HAVE_WEIGHTS = new Set(["running", "finished", "unfinished"]);

/** {runs, families, error}: what there is, asked again when a run appears or goes. */
export function useRuns() {
  const { value, error, again } = useLoad(async () => {
    const [runs, families] = await Promise.all([get("/api/runs"), get("/api/families")]);
    return { runs, families: Object.fromEntries(families.map((family) => [family.name, family])) };
  });
  useEvents((message) => {
    if (message.type === "run" && message.what !== "metrics") again();
  });
  return { ...value, error, again };
}

const whyNot = (run, families, can, words) => {
  if (!HAVE_WEIGHTS.has(run.status)) return "nothing trained yet";
  return can(families[run.model]?.can ?? {}) ? "" : words;
};

/**
 * The run named in the address, else the newest that `can(family's abilities)`; shown as a list to choose from.
 * `children(run)` is drawn with all that the server says of it; `start` is offered where no run can.
 */
export function WithRun({ page, name, can, cannot, start, children }) {
  const { runs, families, error } = useRuns();
  const able = (runs ?? []).filter((run) => !whyNot(run, families, can, cannot));
  const chosen = name ?? able[0]?.run;
  const one = useLoad(async () => (chosen ? get(`/api/runs/${encodeURIComponent(chosen)}`) : null), chosen ?? "");
  useEvents((message) => {
    if (message.type === "run" && message.run === chosen && ["sheet", "finished"].includes(message.what)) one.again();
  });
  if (error) return html`<${Problem} error=${error} />`;
  if (!runs) return html`<p class="note">…</p>`;
  if (!chosen) return start;
  const options = runs.map((run) => {
    const why = whyNot(run, families, can, cannot);
    return [run.run, `${run.run} · ${run.model}${why ? ` (${why})` : ""}`, Boolean(why) && run.run !== chosen];
  });
  const go = (run) => (location.hash = `#/${page}/${encodeURIComponent(run)}`);
  return html`<div class="picker"><${Choice} label="Run" value=${chosen} options=${options} onChange=${go} /></div>
    <${Problem} error=${one.error} />
    ${one.value?.run === chosen && children(one.value)}`;
}

/** Begin a training and go to where it can be watched. */
export function useStart() {
  return useAct(async (body) => {
    const job = remember(await send("POST", "/api/runs", body));
    location.hash = `#/runs/${encodeURIComponent(job.run)}`;
    return job;
  });
}

/** An offer to train what a page needs where there is nothing yet. */
export function Starter({ words, button, body }) {
  const start = useStart();
  return html`<div class="empty"><p>${words}</p>
    <${Act} kind="main" busy=${start.busy} onClick=${() => start.run(body)}>${start.busy ? "Starting …" : button}<//>
    <${Problem} error=${start.error} /></div>`;
}

/** The server's word on why a run cannot do something; "" where it can. */
export const why = (run, what) => (run.can?.[what]?.ok ? "" : (run.can?.[what]?.why ?? `run ${run.run} cannot`));

/** Class names of a conditional run as a choice; `any` is offered first where given. */
export function ClassChoice({ run, value, onChange, any, label = "Class", hint }) {
  if (!run.classes) return null;
  const names = run.label_names?.length ? run.label_names : [...Array(run.classes).keys()].map(String);
  const options = [...(any ? [["", any]] : []), ...names.map((text, i) => [i, text])];
  useEffect(() => {
    if (!any && value === "") onChange(0);
  }, [run.run]);
  return html`<${Choice} label=${label} hint=${hint} value=${value} options=${options}
    onChange=${(chosen) => onChange(chosen === "" ? "" : Number(chosen))} />`;
}
