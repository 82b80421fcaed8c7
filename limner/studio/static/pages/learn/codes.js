// A few numbers as bars around zero, with their spread where there is one.
import { html } from "../../vendor/htm-preact.js";

const MOST = 16;

export function Codes({ values, spread }) {
  const shown = values.slice(0, MOST);
  const reach = Math.max(3, ...shown.map((v, i) => Math.abs(v) + (spread?.[i] ?? 0)));
  const at = (v) => 50 + (50 * v) / reach;
  const row = (v, i) => html`<div key=${i}><dt>z<sub>${i + 1}</sub></dt><dd>
    <span class="scale" aria-hidden="true">${spread && html`<i class="whisker"
        style=${{ left: `${at(v - spread[i])}%`, width: `${(100 * spread[i]) / reach}%` }}></i>`}
      <i class="dot" style=${{ left: `${at(v)}%` }}></i></span>
    <span class="number">${v.toFixed(2)}${spread ? ` ± ${spread[i].toFixed(2)}` : ""}</span></dd></div>`;
  return html`<dl class="codes">${shown.map(row)}</dl>
    ${values.length > MOST && html`<p class="note">and ${values.length - MOST} more</p>`}`;
}
