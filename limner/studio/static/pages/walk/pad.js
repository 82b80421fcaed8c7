// The plane of two latents: a point of the square is an image.
import { html, useRef } from "../../vendor/htm-preact.js";
import { quantile, share } from "../../parts/normal.js";
import { useId } from "../../parts/ui.js";

const EDGE = 0.004; // the plane has no end: the pad stops where 0.4 % of each latent are left
const STEP = 0.02;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const kept = (p) => Math.min(1 - EDGE, Math.max(EDGE, p));

/** Places of the pad, each from 0 to 1, and latents: equal areas are equally probable where the prior is normal. */
function between({ plane, mean, spread }) {
  if (plane) return { toZ: (p) => p.map(quantile), toPad: (z) => z.map((v) => kept(share(v))) };
  return {
    toZ: (p) => p.map((q, i) => mean[i] + spread[i] * 6 * (q - 0.5)),
    toPad: (z) => z.map((v, i) => kept((v - mean[i]) / (6 * spread[i]) + 0.5)),
  };
}

export function Pad({ latents, path, label, z, onZ, run }) {
  const box = useRef(null);
  const id = useId("pad");
  const { toZ, toPad } = between(latents);
  const [x, y] = toPad(z);
  const point = (event) => {
    const { left, top, width, height } = box.current.getBoundingClientRect();
    onZ(toZ([kept((event.clientX - left) / width), kept(1 - (event.clientY - top) / height)]));
  };
  const move = (event) => {
    if (event.pointerType === "mouse" || event.buttons) point(event);
  };
  const press = (event) => {
    const way = KEYS[event.key];
    if (!way) return;
    event.preventDefault();
    const by = event.shiftKey ? 5 * STEP : STEP;
    onZ(toZ([kept(x + way[0] * by), kept(y + way[1] * by)]));
  };
  const query = new URLSearchParams({ side: 15, ...(label === undefined ? {} : { label }) });
  const plane = latents.plane && `${path}/plane.png?${query}&weights=${run.weights?.slice(0, 8)}`;
  return html`<div class="pad" ref=${box} tabindex="0" role="application" aria-label="Pad of two latents"
      aria-describedby=${id} onPointerMove=${move} onPointerDown=${point} onKeyDown=${press}>
      ${plane && html`<img class="pixels" src=${plane} alt="" draggable=${false} />`}
      <span class="here" style=${{ left: `${100 * x}%`, top: `${100 * (1 - y)}%` }}></span></div>
    <p class="unseen" id=${id}>The arrow keys move by a small step, with Shift by a larger one.</p>`;
}
