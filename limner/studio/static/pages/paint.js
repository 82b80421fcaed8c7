// Paint: draw or erase part of an image, and have the rest completed.
import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { Starter, why, WithRun } from "../parts/choose.js";
import { pixelsOf } from "../parts/frames.js";
import { getBlob, useAct } from "../parts/load.js";
import { Drop, Numeric, Page, Problem } from "../parts/ui.js";
import { Board, TOOLS } from "./paint/board.js";
import { Completions } from "./paint/completions.js";
import { blank, fitted, PRESETS } from "./paint/picture.js";

const FIRST = { model: "patch-pixelcnn", source: "digits", recipe: "demo", minutes: 0.5 };

export default function Paint({ rest }) {
  const start = html`<${Starter} button="Train a PixelCNN on digits" body=${FIRST}
    words="Completing takes a model that draws pixel by pixel, and there is none here yet. One of digits learns in half
      a minute." />`;
  return html`<${Page} title="Paint"
      purpose="Erase part of an image, or draw a beginning; the model completes it, each time differently.">
    <${WithRun} page="paint" name=${rest[0]} can=${(can) => can.complete} cannot="cannot complete images"
      start=${start}>${(run) => html`<${Table} key=${run.run} run=${run} />`}<//><//>`;
}

function Table({ run }) {
  const [picture, setPicture] = useState(() => blank(run.shape));
  const load = useAct(async (source) => {
    const pixels = fitted(await pixelsOf(await source), run.shape);
    setPicture((old) => ({ ...old, pixels }));
  });
  const test = (i) => load.run(getBlob(`/api/runs/${encodeURIComponent(run.run)}/images/test/${i}.png`));
  const hide = (name) => setPicture((old) => ({ ...old, missing: PRESETS[name](run.shape) }));
  useEffect(() => {
    test(0);
    hide("lower half");
  }, [run.run]);
  const nothing = picture.missing.some(Boolean) ? "" : "nothing is missing yet: erase a part of the image";
  const empty = () => setPicture({ ...blank(run.shape), missing: PRESETS.all(run.shape) });
  return html`<div class="columns paint">
    <section class="card" aria-labelledby="board"><h2 id="board">The image</h2>
      <${Tools} run=${run} picture=${picture} setPicture=${setPicture} />
      <div class="line" role="group" aria-label="What is missing">${Object.keys(PRESETS).map((name) => html`<button
        type="button" key=${name} onClick=${() => hide(name)}>${name}</button>`)}</div>
      <details><summary>Another image</summary><${Other} test=${test} load=${load.run} empty=${empty} /></details>
      <${Problem} error=${load.error} /></section>
    <${Completions} run=${run} picture=${picture} no=${why(run, "complete") || nothing} /></div>`;
}

/** The board, and what is used on it. */
function Tools({ run, picture, setPicture }) {
  const [channels, , width] = run.shape;
  const [tool, setTool] = useState("erase");
  const [ink, setInk] = useState(channels === 3 ? "#ffffff" : "255");
  const [size, setSize] = useState(1);
  const inks = channels === 3 ? { type: "color" } : { type: "range", min: 0, max: 255 };
  const about = channels === 3 ? undefined : `${Math.round(ink / 2.55)} percent white`;
  return html`<${Board} picture=${picture} onPicture=${setPicture} tool=${tool} ink=${ink} size=${size}
      shape=${run.shape} />
    <div class="line" role="group" aria-label="Tools">${Object.entries(TOOLS).map(([key, text]) => html`<button
      type="button" key=${key} aria-pressed=${tool === key} title=${text.about}
      onClick=${() => setTool(key)}>${text.name}</button>`)}</div>
    <p class="note">${TOOLS[tool].about} On the keyboard: arrow keys move over the image, the space bar uses the
      tool.</p>
    <div class="line brush"><label>Brush <input type="range" min="1" max=${Math.max(3, Math.round(width / 5))}
        value=${size} aria-valuetext=${`${size} pixels`}
        onInput=${(e) => setSize(Number(e.currentTarget.value))} /></label>
      <label>Ink <input ...${inks} value=${ink} aria-valuetext=${about}
        onInput=${(e) => setInk(e.currentTarget.value)} /></label></div>`;
}

/** Where other images come from. */
function Other({ test, load, empty }) {
  const [number, setNumber] = useState("0");
  const change = (text) => {
    setNumber(text);
    if (/^\d+$/.test(text)) test(text);
  };
  return html`<${Numeric} label="Test image number" value=${number} min="0" onChange=${change}
      hint="Images that it never learned from." />
    <${Drop} label="Choose your own" hint="or drop one here" accept="image/*" onFile=${load} />
    <div class="line"><button type="button" onClick=${empty}>An empty sheet</button></div>`;
}
