// Sample: new images, row by row as they are drawn.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ClassChoice, Starter, why, WithRun } from "../parts/choose.js";
import { Canvases, draw } from "../parts/frames.js";
import { send, useAct } from "../parts/load.js";
import { Act, Aloud, Check, Drop, duration, Numeric, Page, Problem } from "../parts/ui.js";

export default function Sample({ rest, query }) {
  return html`<${Page} title="Sample" purpose="The model draws new images, none of which was in its data.">
    <${WithRun} page="sample" name=${rest[0]} can=${(can) => can.sample} cannot="draws no samples" start=${html`<${Starter}
        words="There is no model here yet that could draw. One of handwritten digits learns in half a minute, pixel by pixel."
        button="Train a PixelCNN on digits" body=${{ model: "patch-pixelcnn", source: "digits", recipe: "demo", minutes: 0.5 }} />`}>
      ${(run) => html`<${Drawing} key=${run.run} run=${run} query=${query} />`}<//><//>`;
}

function whole(text, low, high, name) {
  const n = Number(text);
  return Number.isInteger(n) && n >= low && n <= high ? "" : `${name} is a whole number from ${low} to ${high}`;
}

function Drawing({ run, query }) {
  const [n, setN] = useState(query.n ?? "16");
  const [seed, setSeed] = useState(query.seed ?? "0");
  const [label, setLabel] = useState(query.label === undefined ? "" : Number(query.label));
  const [means, setMeans] = useState(query.means === "true");
  const [shown, setShown] = useState(null); // what is on the canvases: {n, labels, done}
  const canvases = useRef(new Canvases());
  const going = useRef(null);
  const no = why(run, "sample") || whole(n, 1, 64, "How many") || whole(seed, 0, 2 ** 32, "The seed");
  const drawn = useAct(async (of) => {
    going.current?.stop();
    setShown({ n: Number(n), row: -1 });
    const question = { n: Number(n), seed: Number(of), means };
    if (label !== "") question.label = label;
    canvases.current.clear();
    const work = draw(`/api/runs/${encodeURIComponent(run.run)}/sample`, question, {
      begin: ({ streams }) => setShown((old) => ({ ...old, streams })),
      row: (message, bytes) => {
        canvases.current.row(message, bytes);
        setShown((old) => ({ ...old, row: message.row }));
      },
      images: (message, bytes) => {
        canvases.current.images(message, bytes, run.shape);
        setShown((old) => ({ ...old, labels: message.labels ?? old.labels }));
      },
    });
    going.current = work;
    const done = await work.done;
    setShown((old) => ({ ...old, done, stopped: !done }));
  });
  useEffect(() => {
    if (!no) drawn.run(seed);
    return () => going.current?.stop();
  }, []);
  const again = () => {
    const next = String(Number(seed) + 1);
    setSeed(next);
    drawn.run(next);
  };
  return html`<div class="columns"><form class="card" aria-label="What to draw" onSubmit=${(e) => { e.preventDefault(); if (!no) drawn.run(seed); }}>
      <${Numeric} label="How many" value=${n} onChange=${setN} min="1" max="64" />
      <${Numeric} label="Seed" value=${seed} onChange=${setSeed} min="0" hint="The number that chance starts from: the same seed draws the same images." />
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} any="any class" />
      ${run.can.means?.ok && html`<${Check} label="Means only" hint="The centre of what each could be: smoother, and no true sample."
        checked=${means} onChange=${setMeans} />`}
      <div class="line"><${Act} kind="main" why=${no} busy=${drawn.busy} onClick=${() => drawn.run(seed)}>${drawn.busy ? "Drawing …" : "Draw"}<//>
        ${drawn.busy ? html`<${Act} onClick=${() => going.current?.stop()}>Stop<//>` : html`<${Act} why=${no ? "see above" : ""} onClick=${again}>Others<//>`}</div>
      <${Problem} error=${drawn.error} /></form>
    <section class="card" aria-label="The samples">${shown && html`<${Sheet} run=${run} shown=${shown} canvases=${canvases.current} />`}
      <${Restore} query=${query} /></section></div>`;
}

function Sheet({ run, shown, canvases }) {
  const { n, labels, done } = shown;
  const [, height, width] = run.shape;
  const names = run.label_names ?? [];
  const label = (i) => (labels ? (names[labels[i]] ?? String(labels[i])) : "");
  const save = done?.png;
  return html`<ul class="sheet">${[...Array(n).keys()].map((i) => html`<li key=${i}><canvas class="pixels" ref=${canvases.hold(i)} width=${width} height=${height}
      role="img" aria-label=${`Sample ${i + 1}${labels ? `, class ${label(i)}` : ""}`}></canvas>
      ${done && html`<a class="save" href=${`${save}&i=${i}&scale=8`} download aria-label=${`Save sample ${i + 1} as PNG`}>${label(i) || "PNG"}</a>`}</li>`)}</ul>
    <div class="line spread"><${Aloud}>${
      done ? `${n} images in ${done.seconds < 1 ? `${Math.round(1000 * done.seconds)} ms` : duration(done.seconds)}, seed ${done.settings.seed}`
      : shown.stopped ? "Stopped." : shown.row >= 0 ? `row ${shown.row + 1} of ${height}` : "drawing …"}<//>
    ${done && html`<a class="button" href=${save} download>Save the sheet as PNG</a>`}</div>
    ${done && shown.streams && html`<p class="note">Drawn a row at a time, each value given all those before it: that is how this model works.</p>`}`;
}

let restored = { words: "", count: 0 }; // the last PNG that was dropped

/** A PNG that the studio made tells how: dropped here, everything is set as it was. */
function Restore({ query }) {
  const [found, setFound] = useState(null);
  const read = useAct(async (file) => {
    setFound(null);
    const answer = await send("POST", "/api/read-png", new Blob([file], { type: "image/png" }));
    setFound(answer);
    const { settings, run_here: here } = answer;
    if (!here || settings.kind === "completion") return;
    const query = new URLSearchParams({ n: settings.n, seed: settings.seed, means: String(Boolean(settings.means)) });
    if (settings.label !== undefined && settings.label !== null) query.set("label", settings.label);
    restored = { words: answer.words, count: restored.count + 1 };
    query.set("restored", restored.count); // so that the page begins anew even where nothing else changes
    location.hash = `#/sample/${encodeURIComponent(settings.run)}?${query}`;
  });
  const [words] = useState(query.restored === String(restored.count) ? restored.words : "");
  return html`<div class="restore"><${Drop} label="Choose a PNG that was saved here" accept="image/png" onFile=${read.run}
      hint="or drop it: run, seed and settings are in the file, and are set as they were.">
    <p role="status">${found?.words ?? words}</p><${Problem} error=${read.error} /><//></div>`;
}
