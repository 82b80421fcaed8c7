// The canvas to draw on: each pixel a square, what is missing hatched.
import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { touched } from "./picture.js";

export const TOOLS = {
  erase: { name: "Erase", about: "What you erase is missing, and will be completed." },
  draw: { name: "Draw", about: "Draw with the ink; what you draw is kept as it is." },
  keep: { name: "Give back", about: "What was erased comes back and is kept." },
};
const KEYS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** Diagonal lines, as a tile that can be repeated. */
function hatch(size = 14) {
  const tile = new OffscreenCanvas(size, size);
  const context = tile.getContext("2d");
  context.fillStyle = "#cfd3da";
  context.fillRect(0, 0, size, size);
  context.strokeStyle = "#7b8494";
  context.lineWidth = 2;
  for (const shift of [-size, 0, size]) {
    context.moveTo(shift - 1, size + 1);
    context.lineTo(shift + size + 1, -1);
  }
  context.stroke();
  return tile;
}

function paint(canvas, { pixels, missing }, side, cursor) {
  const { width, height } = pixels;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(pixels, 0, 0);
  context.drawImage(small, 0, 0, width * side, height * side);
  context.fillStyle = context.createPattern(hatch(), "repeat");
  missing.forEach((gone, i) => gone && context.fillRect((i % width) * side, Math.floor(i / width) * side, side, side));
  if (!cursor) return;
  context.strokeStyle = "#e0701a";
  context.lineWidth = 3;
  context.strokeRect(cursor.column * side + 1.5, cursor.row * side + 1.5, side - 3, side - 3);
}

export function Board({ picture, onPicture, tool, ink, size, shape }) {
  const [, height, width] = shape;
  const side = Math.max(4, Math.floor(384 / Math.max(width, height)));
  const canvas = useRef(null);
  const [cursor, setCursor] = useState(null);
  useEffect(() => paint(canvas.current, picture, side, cursor), [picture, cursor, side]);
  const use = (row, column) => onPicture((old) => touched(old, { row, column, tool, ink: String(ink), size }));
  const point = (event) => {
    const { left, top, width: wide, height: high } = canvas.current.getBoundingClientRect();
    use(Math.floor(((event.clientY - top) / high) * height), Math.floor(((event.clientX - left) / wide) * width));
  };
  const press = (event) => {
    const at = cursor ?? { row: 0, column: 0 };
    if (event.key === " ") {
      event.preventDefault();
      use(at.row, at.column);
    } else if (KEYS[event.key]) {
      event.preventDefault();
      const [down, right] = KEYS[event.key];
      setCursor({ row: (at.row + down + height) % height, column: (at.column + right + width) % width });
    }
  };
  const down = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    setCursor(null);
    point(event);
  };
  const gone = picture.missing.filter(Boolean).length;
  const at = cursor ? `; at row ${cursor.row + 1}, column ${cursor.column + 1}` : "";
  return html`<canvas class="board" ref=${canvas} width=${width * side} height=${height * side} tabindex="0"
    role="application" aria-label=${`Image of ${width} by ${height} pixels, ${gone} missing${at}`}
    onPointerDown=${down} onPointerMove=${(e) => e.buttons && point(e)} onKeyDown=${press}
    onFocus=${(e) => e.currentTarget.matches(":focus-visible") && setCursor(cursor ?? { row: 0, column: 0 })}
    onBlur=${() => setCursor(null)}></canvas>`;
}
