// A slider for each latent, those first that carry most.
import { html, useState } from "../../vendor/htm-preact.js";
import { figure, useId } from "../../parts/ui.js";

const FIRST = 10;

export function Sliders({ latents, z, onZ }) {
  const [all, setAll] = useState(false);
  const { carries, mean, spread, measure, dimensions } = latents;
  const order = dimensions > 2 ? latents.order : [...latents.order].sort(); // beside the pad: x, then y
  const shown = all ? order : order.slice(0, FIRST);
  const most = carries ? Math.max(...carries, 1e-9) : 1;
  const set = (i, value) => onZ(z.map((v, j) => (j === i ? value : v)));
  const slider = (i) => html`<${Slider} key=${i} i=${i} value=${z[i]} low=${mean[i] - 3 * spread[i]}
    high=${mean[i] + 3 * spread[i]} share=${carries ? carries[i] / most : null} onValue=${(v) => set(i, v)} />`;
  return html`<div class="sliders">${shown.map(slider)}
    ${order.length > FIRST && html`<button type="button" class="quiet" aria-expanded=${all}
      onClick=${() => setAll(!all)}>${all ? `Only the first ${FIRST}` : `All ${order.length}`}</button>`}
    ${!carries && html`<p class="note">This model has no encoder to measure by what each carries: they stand in their
      own order.</p>`}
    ${carries && dimensions > 2 && html`<p class="note">First comes what carries most (the thin bar: ${measure}). A
      latent that carries nothing moves nothing.</p>`}</div>`;
}

function Slider({ i, value, low, high, share, onValue }) {
  const id = useId("z");
  return html`<div class="slider"><label for=${id}>z<sub>${i + 1}</sub></label>
    <input type="range" id=${id} min=${low} max=${high} step=${(high - low) / 200} value=${value}
      aria-valuetext=${`z ${i + 1} = ${value.toFixed(2)}`} onInput=${(e) => onValue(Number(e.currentTarget.value))} />
    <output for=${id} class="number">${value.toFixed(2)}</output>
    ${share !== null && html`<span class="carries" title=${`${figure(100 * share, 2)} % of what the first carries`}>
      <i style=${{ width: `${100 * share}%` }}></i></span>`}</div>`;
}
