// How a run stands, in a few words.
import { html } from "../vendor/htm-preact.js";
import { isOpen } from "./live.js";
import { figure, Word } from "./ui.js";

/** What a run learned from, without the folders above it. */
export const sourceOf = ({ data }) => String(data).split("/").at(-1);

/** How well, in one line: the likelihood with what it is, or that there is none. */
export function Likelihood({ run }) {
  const sign = run.bound === "lower" ? "≤ " : "";
  const kind = html`<${Word} is=${run.bound === "lower" ? "bound" : "exact"} />`;
  if (run.test_nats !== undefined)
    return html`<span class="number">${sign}${figure(run.test_nats)}</span> <${Word} is="nats" /> · ${kind}`;
  if (run.bound && run.validation_nats !== undefined)
    return html`<span class="number">${sign}${figure(run.validation_nats)}</span> <${Word} is="nats" /> · ${kind} · on
      ${" "}<${Word} is="validation" />`;
  if (run.bound) return html`<span class="note">not measured yet</span>`;
  return html`<${Word} is="none">none<//>`;
}

export function Status({ run, job }) {
  if (job?.state === "waiting") return html`<span class="badge">waiting, place ${job.place ?? 1}</span>`;
  if (isOpen(job) || run?.status === "running") return html`<span class="badge live">trains now</span>`;
  if (job?.state === "failed") return html`<span class="badge ill">failed</span>`;
  return html`<span class=${run?.status === "unreadable" ? "badge ill" : "badge"}>${run?.status}</span>`;
}
