// Likelihoods on one scale, each with its standard error; a bound points to where the true value may be.
import { html } from "../../vendor/htm-preact.js";
import { figure } from "../../parts/ui.js";

export function Whiskers({ runs }) {
  const known = runs.filter(({ likelihood }) => likelihood);
  const data = new Set(known.map((run) => run.data));
  if (known.length < 2 || data.size > 1) return null; // nats of different images cannot be compared
  const ends = known.flatMap(({ likelihood: { nats_per_image: nats, nats_standard_error: error = 0 } }) => [
    nats - 2 * error,
    nats + 2 * error,
  ]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low) * 0.12 || 1;
  const at = (value) => (100 * (value - low + room)) / (high - low + 2 * room);
  return html`<figure class="whiskers">
    <div class="rows">${known.map((run) => html`<${Row} key=${run.run} run=${run} at=${at} />`)}</div>
    <figcaption>Negative log-likelihood of test images in nats: further left is better. The bar is one standard error
      each way; a triangle is a bound: the true value lies there or to the left of it.</figcaption></figure>`;
}

function Row({ run: { run, likelihood }, at }) {
  const { nats_per_image: nats, nats_standard_error: error = 0, bound } = likelihood;
  const lower = bound === "lower";
  const [left, right] = [at(nats - error), at(nats + error)];
  const about = `${run}: ${lower ? "at most " : ""}${figure(nats)} nats, standard error ${figure(error, 2)}`;
  return html`<div class="row"><span class="name" title=${run}>${run}</span>
    <span class="scale" role="img" aria-label=${about}>
      <i class="whisker" style=${{ left: `${left}%`, width: `${right - left}%` }}></i>
      <i class=${lower ? "dot bound" : "dot"} style=${{ left: `${at(nats)}%` }}></i></span>
    <span class="number">${lower ? "≤ " : ""}${figure(nats)}</span></div>`;
}
