// A plane of points: where the discriminator says real, what is real, and what the generator makes.
import { html, useEffect, useRef } from "../../vendor/htm-preact.js";

const SIDE = 440;

function paint(canvas, { field, samples }, data) {
  const context = canvas.getContext("2d");
  const [low, high] = field.range;
  const at = (v) => (SIDE * (v - low)) / (high - low);
  const cell = SIDE / field.side;
  field.values.forEach((real, i) => {
    // from orange (generated) over white to blue (real), pale enough to see points on it
    const far = Math.abs(2 * real - 1);
    const [r, g, b] = real > 0.5 ? [110, 165, 225] : [240, 180, 120];
    context.fillStyle = `rgb(${255 + (r - 255) * far} ${255 + (g - 255) * far} ${255 + (b - 255) * far})`;
    context.fillRect((i % field.side) * cell, Math.floor(i / field.side) * cell, cell + 1, cell + 1);
  });
  const dots = (points, colour, cross) => {
    context.fillStyle = context.strokeStyle = colour;
    context.lineWidth = 2;
    for (const [x, y] of points ?? []) {
      const [px, py] = [at(x), SIDE - at(y)];
      context.beginPath();
      if (cross) {
        context.moveTo(px - 4, py - 4);
        context.lineTo(px + 4, py + 4);
        context.moveTo(px + 4, py - 4);
        context.lineTo(px - 4, py + 4);
        context.stroke();
      } else {
        context.arc(px, py, 3, 0, 2 * Math.PI);
        context.fill();
      }
    }
  };
  dots(data, "#123c6e", false);
  dots(samples, "#a3360a", true);
}

export function Plane({ state, data }) {
  const canvas = useRef(null);
  useEffect(() => paint(canvas.current, state, data), [state, data]);
  const mean = state.judged.reduce((sum, v) => sum + v, 0) / Math.max(1, state.judged.length);
  const about = `Real and generated points. The discriminator finds the generated ones ${Math.round(100 * mean)} percent
    real on average`;
  return html`<figure>
    <canvas class="plane" ref=${canvas} width=${SIDE} height=${SIDE} role="img" aria-label=${about}></canvas>
    <figcaption>Blue dots are real, red crosses are generated. The ground shows what the discriminator says: blue where
      it says real, orange where it says generated, white where it cannot tell.</figcaption></figure>`;
}
