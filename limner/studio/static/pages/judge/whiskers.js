// Likelihoods on one scale, each with its standard error; a bound points to where the true value may be.
import { html } from "../../vendor/htm-preact.js";
import { figure } from "../../parts/ui.js";

export function Whiskers({ runs }) {
  const known = runs.filter(({ likelihood }) => likelihood);
  const data = new Set(known.map((run) => run.data));
  if (known.length < 2 || data.size > 1) return null; // nats of different images cannot be compared
  const ends = known.flatMap(({ likelihood: l }) => [l.nats_per_image - 2 * (l.nats_standard_error ?? 0), l.nats_per_image + 2 * (l.nats_standard_error ?? 0)]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const room = (high - low) * 0.12 || 1;
  const at = (value) => (100 * (value - low + room)) / (high - low + 2 * room);
  return html`<figure class="whiskers"><div class="rows">${known.map(({ run, likelihood: l }) => {
    const error = l.nats_standard_error ?? 0;
    const [left, right] = [at(l.nats_per_image - error), at(l.nats_per_image + error)];
    return html`<div class="row" key=${run}><span class="name">${run}</span><span class="scale" role="img" aria-label=${`${run}: ${l.bound === "lower" ? "at most " : ""}${figure(l.nats_per_image)} nats, standard error ${figure(error, 2)}`}>
      <i class="whisker" style=${{ left: `${left}%`, width: `${right - left}%` }}></i>
      <i class=${l.bound === "lower" ? "dot bound" : "dot"} style=${{ left: `${at(l.nats_per_image)}%` }}></i></span>
      <span class="number">${l.bound === "lower" ? "≤ " : ""}${figure(l.nats_per_image)}</span></div>`;
  })}</div><figcaption>Negative log-likelihood of test images in nats: further left is better. The bar is one standard error each way;
    a triangle is a bound: the true value lies there or to the left of it.</figcaption></figure>`;
}
