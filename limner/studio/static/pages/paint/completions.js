// The image completed several ways, and what is exact about them.
import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { ClassChoice } from "../../parts/choose.js";
import { Canvases, draw } from "../../parts/frames.js";
import { useAct } from "../../parts/load.js";
import { Act, Aloud, Numeric, Problem, took, Word } from "../../parts/ui.js";
import { maskOf, pixelsAsked } from "./picture.js";

const MOST = 16;

export function Completions({ run, picture, no }) {
  const [n, setN] = useState("6");
  const [seed, setSeed] = useState(0);
  const [label, setLabel] = useState("");
  const [particles, setParticles] = useState("256");
  const [gibbs, setGibbs] = useState("0");
  const [shown, setShown] = useState(null); // {n, row, done}
  const canvases = useRef(new Canvases());
  const going = useRef(null);
  const count = Number(n);
  const possible = Number.isInteger(count) && count > 0 && count <= MOST;
  const care = { particles: Number(particles), gibbs: Number(gibbs) };
  const able = Number.isInteger(care.particles) && care.particles >= count && Number.isInteger(care.gibbs);
  const wrong =
    no ||
    (possible ? "" : `how many: a whole number from 1 to ${MOST}`) ||
    (able ? "" : "attempts: a whole number, as many as completions or more");
  const act = useAct(async () => {
    setShown({ n: count });
    canvases.current.clear();
    setSeed(seed + 1);
    const question = { image: { pixels: pixelsAsked(picture, run.shape) }, mask: maskOf(picture, run.shape) };
    Object.assign(question, { n: count, seed }, care, label === "" ? {} : { label });
    going.current = draw(`/api/runs/${encodeURIComponent(run.run)}/complete`, question, {
      row: (message, bytes) => {
        canvases.current.row(message, bytes);
        setShown((old) => ({ ...old, row: message.row }));
      },
      images: (message, bytes) => canvases.current.images(message, bytes, run.shape),
    });
    const done = await going.current.done;
    setShown((old) => ({ ...old, done, stopped: !done }));
  });
  useEffect(() => () => going.current?.stop(), []);
  return html`<section class="card" aria-labelledby="ways"><h2 id="ways">Completed</h2>
    <div class="line bottom"><div class="short"><${Numeric} label="How many ways" value=${n} onChange=${setN} min="1"
        max=${MOST} /></div>
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} any="whatever fits" /></div>
    <details><summary>More care</summary><div class="line top">
      <${Numeric} label="Attempts (particles)" value=${particles} onChange=${setParticles} min="1" max="4096"
        hint="Where completions are approximated: more attempts, better ones." />
      <${Numeric} label="Corrections (Gibbs passes)" value=${gibbs} onChange=${setGibbs} min="0" max="20"
        hint="So many times each missing value is drawn anew, given all others. Slow." /></div></details>
    <div class="line"><${Act} kind="main" why=${wrong} busy=${act.busy} onClick=${() => act.run()}>
        ${act.busy ? "Completing …" : "Complete it"}<//>
      ${act.busy && html`<${Act} onClick=${() => going.current?.stop()}>Stop<//>`}</div>
    <${Problem} error=${act.error} />
    ${shown ? html`<${Ways} run=${run} shown=${shown} canvases=${canvases.current} />`
      : html`<p class="note">What is hatched is missing. The model keeps the rest and draws the missing part from what
        it knows.</p>`}
    ${shown?.done && html`<${Honest} done=${shown.done} />`}</section>`;
}

function Ways({ run, shown: { n, row, done, stopped }, canvases }) {
  const [, height, width] = run.shape;
  const now = stopped ? "Stopped." : row >= 0 ? `row ${row + 1} of ${height}` : "begins …";
  const way = (_, i) => html`<li key=${i}><canvas class="pixels" ref=${canvases.hold(i)} width=${width}
    height=${height} role="img" aria-label=${`Completion ${i + 1}`}></canvas></li>`;
  return html`<ul class="sheet ways">${Array.from({ length: n }, way)}</ul>
    <${Aloud}>${done ? `${n} completions in ${took(done.seconds)}` : now}<//>`;
}

const EXACT = `All that is missing comes after what is given, in the order in which the model draws: these are true
  draws of the model, given the rest.`;
const APPROXIMATED = `Some of what is given comes later than what is missing, in the order in which the model draws.
  Many attempts are drawn side by side, and those that fit the given part best are kept.`;

/** What is exact about these completions, and what is approximated. */
function Honest({ done }) {
  const { exact, conditional, particles, effective_samples: worth, distinct, advice } = done;
  const attempts = `${particles} attempts, worth ${Math.round(worth ?? 0)} independent ones, ${distinct} different`;
  return html`<div class="honest">
    <p><strong>${exact ? html`<${Word} is="exact">Exact<//>.` : "Approximated."}</strong>
      ${" "}${exact ? EXACT : APPROXIMATED}</p>
    <p class="note">${conditional}${exact ? "" : ` · ${attempts}`}</p>
    ${advice && html`<p class="note">${advice}</p>`}</div>`;
}
