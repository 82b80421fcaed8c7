// Sample: new images, row by row as they are drawn.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ClassChoice, Starter, why, WithRun } from "../parts/choose.js";
import { Canvases, draw } from "../parts/frames.js";
import { useAct } from "../parts/load.js";
import { Act, Aloud, Check, Numeric, Page, Problem, took } from "../parts/ui.js";
import { Restore } from "./sample/restore.js";

const FIRST = { model: "patch-pixelcnn", source: "digits", recipe: "demo", minutes: 0.5 };

export default function Sample({ rest, query }) {
  const start = html`<${Starter} button="Train a PixelCNN on digits" body=${FIRST}
    words="No model here can draw yet. One of handwritten digits learns in half a minute, pixel by pixel." />`;
  return html`<${Page} title="Sample" purpose="The model draws new images, none of which was in its data.">
    <${WithRun} page="sample" name=${rest[0]} can=${(can) => can.sample} cannot="draws no samples" start=${start}>
      ${(run) => html`<${Drawing} key=${run.run} run=${run} query=${query} />`}<//><//>`;
}

function whole(text, low, high, name) {
  const n = Number(text);
  return Number.isInteger(n) && n >= low && n <= high ? "" : `${name} is a whole number from ${low} to ${high}`;
}

/** {shown, canvases, busy, error, run, stop}: draws what is asked for onto the canvases, and tells how far it is. */
function useDrawing(run) {
  const [shown, setShown] = useState(null); // {n, row, labels, done, stopped}
  const canvases = useRef(new Canvases());
  const going = useRef(null);
  const change = (what) => setShown((old) => ({ ...old, ...what }));
  const act = useAct(async (question) => {
    going.current?.stop();
    canvases.current.clear();
    setShown({ n: question.n, row: -1 });
    going.current = draw(`/api/runs/${encodeURIComponent(run.run)}/sample`, question, {
      begin: ({ streams }) => change({ streams }),
      row: (message, bytes) => {
        canvases.current.row(message, bytes);
        change({ row: message.row });
      },
      images: (message, bytes) => {
        canvases.current.images(message, bytes, run.shape);
        if (message.labels) change({ labels: message.labels });
      },
    });
    const done = await going.current.done;
    change({ done, stopped: !done });
  });
  useEffect(() => () => going.current?.stop(), []);
  return { ...act, shown, canvases: canvases.current, stop: () => going.current?.stop() };
}

function Drawing({ run, query }) {
  const [n, setN] = useState(query.n ?? "16");
  const [seed, setSeed] = useState(query.seed ?? "0");
  const [label, setLabel] = useState(query.label === undefined ? "" : Number(query.label));
  const [means, setMeans] = useState(query.means === "true");
  const drawing = useDrawing(run);
  const no = why(run, "sample") || whole(n, 1, 64, "How many") || whole(seed, 0, 2 ** 32, "The seed");
  const go = (from) =>
    drawing.run({ n: Number(n), seed: Number(from), means, ...(label === "" ? {} : { label }) });
  useEffect(() => {
    if (!no) go(seed);
  }, []);
  const others = () => {
    const next = String(Number(seed) + 1);
    setSeed(next);
    go(next);
  };
  const submit = (event) => {
    event.preventDefault();
    if (!no) go(seed);
  };
  return html`<div class="columns"><form class="card" aria-label="What to draw" onSubmit=${submit}>
      <${Numeric} label="How many" value=${n} onChange=${setN} min="1" max="64" />
      <${Numeric} label="Seed" value=${seed} onChange=${setSeed} min="0"
        hint="The number that chance starts from: the same seed draws the same images." />
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} any="any class" />
      ${run.can.means?.ok && html`<${Check} label="Means only" checked=${means} onChange=${setMeans}
        hint="The centre of what each could be: smoother, and no true sample." />`}
      <div class="line top">
        <${Act} kind="main" why=${no} busy=${drawing.busy} onClick=${() => go(seed)}>
          ${drawing.busy ? "Drawing …" : "Draw"}<//>
        ${drawing.busy ? html`<${Act} onClick=${drawing.stop}>Stop<//>`
          : html`<button type="button" disabled=${Boolean(no)} title=${no || "The next seed"}
              onClick=${others}>Others</button>`}
      </div>
      <${Problem} error=${drawing.error} /></form>
    <section class="card" aria-label="The samples">
      ${drawing.shown && html`<${Sheet} run=${run} shown=${drawing.shown} canvases=${drawing.canvases} />`}
      <${Restore} query=${query} /></section></div>`;
}

function progress({ n, done, stopped, row }, height) {
  if (done) return `${n} images in ${took(done.seconds)}, seed ${done.settings.seed}`;
  if (stopped) return "Stopped.";
  return row >= 0 ? `row ${row + 1} of ${height}` : "drawing …";
}

function Sheet({ run, shown, canvases }) {
  const { n, labels, done } = shown;
  const [, height, width] = run.shape;
  const label = (i) => (labels ? (run.label_names?.[labels[i]] ?? String(labels[i])) : "");
  const tile = (_, i) => html`<li key=${i}><canvas class="pixels" ref=${canvases.hold(i)} width=${width}
      height=${height} role="img" aria-label=${`Sample ${i + 1}${labels ? `, class ${label(i)}` : ""}`}></canvas>
    ${done && html`<a class="save" href=${`${done.png}&i=${i}&scale=8`} download
      aria-label=${`${label(i) || "PNG"}: save sample ${i + 1}`}>${label(i) || "PNG"}</a>`}</li>`;
  return html`<ul class="sheet">${Array.from({ length: n }, tile)}</ul>
    <div class="line spread"><${Aloud}>${progress(shown, height)}<//>
      ${done && html`<a class="button" href=${done.png} download>Save the sheet as PNG</a>`}</div>
    ${done && shown.streams && html`<p class="note">Drawn a row at a time, each value given all those before it: that is
      how this model works.</p>`}`;
}
