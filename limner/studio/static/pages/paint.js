// Paint: draw or erase part of an image, and have the rest completed.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ClassChoice, Starter, why, WithRun } from "../parts/choose.js";
import { Canvases, draw, pixelsOf } from "../parts/frames.js";
import { getBlob, useAct } from "../parts/load.js";
import { Act, Aloud, Drop, duration, Numeric, Page, Problem, Word } from "../parts/ui.js";
import { Board, TOOLS } from "./paint/board.js";
import { blank, fitted, maskOf, pixelsAsked, PRESETS } from "./paint/picture.js";

export default function Paint({ rest }) {
  return html`<${Page} title="Paint" purpose="Erase part of an image, or draw a beginning; the model completes it, each time differently.">
    <${WithRun} page="paint" name=${rest[0]} can=${(can) => can.complete} cannot="cannot complete images" start=${html`<${Starter}
        words="Completing takes a model that draws pixel by pixel, and there is none here yet. One of digits learns in half a minute."
        button="Train a PixelCNN on digits" body=${{ model: "patch-pixelcnn", source: "digits", recipe: "demo", minutes: 0.5 }} />`}>
      ${(run) => html`<${Table} key=${run.run} run=${run} />`}<//><//>`;
}

function Table({ run }) {
  const [picture, setPicture] = useState(() => blank(run.shape));
  const [tool, setTool] = useState("erase");
  const [ink, setInk] = useState(run.shape[0] === 3 ? "#ffffff" : "255");
  const [size, setSize] = useState(1);
  const [number, setNumber] = useState("0");
  const path = `/api/runs/${encodeURIComponent(run.run)}`;
  const load = useAct(async (source) => {
    const pixels = fitted(await pixelsOf(source), run.shape);
    setPicture((old) => ({ ...old, pixels }));
  });
  const fetchTest = async (i) => {
    setNumber(i);
    if (/^\d+$/.test(i)) await load.run(await getBlob(`${path}/images/test/${i}.png`).catch((error) => Promise.reject(error)));
  };
  useEffect(() => {
    fetchTest("0").then(() => setPicture((old) => ({ ...old, missing: PRESETS["lower half"](run.shape) })));
  }, [run.run]);
  const missing = picture.missing.some(Boolean);
  return html`<div class="columns paint"><section class="card" aria-labelledby="board"><h2 id="board">The image</h2>
      <${Board} picture=${picture} onPicture=${setPicture} tool=${tool} ink=${ink} size=${size} shape=${run.shape} />
      <div class="line" role="group" aria-label="Tools">${Object.entries(TOOLS).map(([key, text]) => html`<button type="button" key=${key}
        aria-pressed=${tool === key} title=${text.about} onClick=${() => setTool(key)}>${text.name}</button>`)}</div>
      <p class="note">${TOOLS[tool].about} On the keyboard: arrow keys move over the image, the space bar uses the tool.</p>
      <div class="line brush"><label>Brush <input type="range" min="1" max=${Math.max(3, Math.round(run.shape[2] / 5))} value=${size}
        aria-valuetext=${`${size} pixels`} onInput=${(e) => setSize(Number(e.currentTarget.value))} /></label>
        <label>Ink ${run.shape[0] === 3
          ? html`<input type="color" value=${ink} onInput=${(e) => setInk(e.currentTarget.value)} />`
          : html`<input type="range" min="0" max="255" value=${ink} aria-valuetext=${`${Math.round(ink / 2.55)} percent white`}
              onInput=${(e) => setInk(e.currentTarget.value)} />`}</label></div>
      <div class="line" role="group" aria-label="What is missing">${Object.entries(PRESETS).map(([name, of]) => html`<button type="button" key=${name}
        onClick=${() => setPicture((old) => ({ ...old, missing: of(run.shape) }))}>${name}</button>`)}</div>
      <details><summary>Another image</summary><${Numeric} label="Test image number" value=${number} min="0" onChange=${fetchTest}
          hint="Images that it never learned from." />
        <${Drop} label="Choose your own" hint="or drop one here" accept="image/*" onFile=${load.run} />
        <div class="line"><button type="button" onClick=${() => setPicture({ ...blank(run.shape), missing: PRESETS.all(run.shape) })}>An empty sheet</button></div></details>
      <${Problem} error=${load.error} /></section>
    <${Completions} run=${run} picture=${picture} no=${why(run, "complete") || (missing ? "" : "nothing is missing yet: erase a part of the image")} path=${path} /></div>`;
}

function Completions({ run, picture, no, path }) {
  const [n, setN] = useState("6");
  const [seed, setSeed] = useState(0);
  const [label, setLabel] = useState("");
  const [shown, setShown] = useState(null);
  const canvases = useRef(new Canvases());
  const going = useRef(null);
  const count = Number(n);
  const wrong = no || (Number.isInteger(count) && count > 0 && count <= 16 ? "" : "how many: a whole number from 1 to 16");
  const act = useAct(async () => {
    setShown({ n: count });
    canvases.current.clear();
    const question = { image: { pixels: pixelsAsked(picture, run.shape) }, mask: maskOf(picture, run.shape), n: count, seed };
    if (label !== "") question.label = label;
    setSeed(seed + 1);
    going.current = draw(`${path}/complete`, question, {
      row: (message, bytes) => {
        canvases.current.row(message, bytes);
        setShown((old) => ({ ...old, row: message.row }));
      },
      images: (message, bytes) => canvases.current.images(message, bytes, run.shape),
    });
    const done = await going.current.done;
    setShown((old) => ({ ...old, done }));
  });
  useEffect(() => () => going.current?.stop(), []);
  const [, height, width] = run.shape;
  return html`<section class="card" aria-labelledby="ways"><h2 id="ways">Completed</h2>
    <div class="line bottom"><div class="short"><${Numeric} label="How many ways" value=${n} onChange=${setN} min="1" max="16" /></div>
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} any="whatever fits" /></div>
    <div class="line"><${Act} kind="main" why=${wrong} busy=${act.busy} onClick=${() => act.run()}>${act.busy ? "Completing …" : "Complete it"}<//>
      ${act.busy && html`<${Act} onClick=${() => going.current?.stop()}>Stop<//>`}</div>
    <${Problem} error=${act.error} />
    ${shown && html`<ul class="sheet ways">${[...Array(shown.n).keys()].map((i) => html`<li key=${i}><canvas class="pixels" ref=${canvases.current.hold(i)}
        width=${width} height=${height} role="img" aria-label=${`Completion ${i + 1}`}></canvas></li>`)}</ul>
      <${Aloud}>${shown.done ? `${shown.n} completions in ${duration(shown.done.seconds)}` : shown.row >= 0 ? `row ${shown.row + 1} of ${height}` : "begins …"}<//>`}
    ${shown?.done && html`<${Honest} done=${shown.done} />`}
    ${!shown && html`<p class="note">What is hatched is missing. The model keeps the rest and draws the missing part from what it knows.</p>`}</section>`;
}

/** What is exact about these completions, and what is approximated. */
function Honest({ done }) {
  return html`<div class="honest"><p><strong>${done.exact ? html`<${Word} is="exact">Exact<//>.` : "Approximated."}</strong>${" "}
      ${done.exact
        ? "All that is missing comes after what is given, in the order in which the model draws: these are true draws of the model, given the rest."
        : "Some of what is given comes later than what is missing, in the order in which the model draws. Many attempts are drawn side by side, and those that fit the given part best are kept."}</p>
    <p class="note">${done.conditional}${done.exact ? "" : ` · ${done.particles} attempts, worth ${Math.round(done.effective_samples ?? 0)} independent ones; ${done.distinct ?? "–"} different results`}</p>
    ${done.advice && html`<p class="note">${done.advice}</p>`}</div>`;
}
