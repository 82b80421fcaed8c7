// Walk: change the few numbers that an image is made from, and see the image change.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ClassChoice, Starter, WithRun } from "../parts/choose.js";
import { cut, PixelCanvas } from "../parts/frames.js";
import { get, useLoad } from "../parts/load.js";
import { draws } from "../parts/normal.js";
import { Act, Page, Problem, Word } from "../parts/ui.js";
import { Arithmetic } from "./walk/arithmetic.js";
import { Between } from "./walk/between.js";
import { Decoder } from "./walk/decoder.js";
import { Own } from "./walk/own.js";
import { Pad } from "./walk/pad.js";
import { Sliders } from "./walk/sliders.js";

const FIRST = { model: "vae", source: "digits", recipe: "demo", minutes: 0.5 };

export default function Walk({ rest }) {
  const start = html`<${Starter} button="Teach it to write digits" body=${FIRST}
    words="There is no model here yet that one could walk through. The digits take half a minute." />`;
  return html`<${Page} title="Walk"
      purpose="Every image comes from a few numbers. Move them, and watch the image follow.">
    <${WithRun} page="walk" name=${rest[0]} can=${(can) => can.walk} cannot="has no latents" start=${start}>
      ${(run) => html`<${Latents} key=${run.run} run=${run} />`}<//><//>`;
}

function Latents({ run }) {
  const path = `/api/runs/${encodeURIComponent(run.run)}`;
  const { value, error, again } = useLoad(() => get(`${path}/latents`), run.run);
  const measured = useRef(run.weights);
  useEffect(() => {
    if (measured.current !== run.weights) again(); // it learns meanwhile: the place that is looked at stays
    measured.current = run.weights;
  }, [run.weights]);
  if (value) return html`<${Problem} error=${error} /><${Space} run=${run} latents=${value} path=${path} />`;
  return html`<${Problem} error=${error} />
    ${!error && html`<p class="note" role="status">Looks at what its latents do …</p>`}`;
}

const named = (z) => z.map((v) => v.toFixed(3)).join(" ");
const read = (z, most) => z.slice(0, most).map((v) => v.toFixed(2)).join(", ") + (z.length > most ? ", …" : "");

/** The image at z, answered by the server: {pixels, at, error}. */
function useDecoded(run, path, z, label) {
  const [shown, setShown] = useState({}); // the last image, and the latents it was made from
  const [error, setError] = useState(null);
  const decoder = useRef(null);
  useEffect(() => {
    decoder.current = new Decoder(`${path}/walk`, (fault, bytes, at) => {
      setError(fault);
      if (bytes) setShown({ pixels: cut(bytes, run.shape, 0), at: named(at) });
    });
    return () => decoder.current.close();
  }, [run.run]);
  useEffect(() => decoder.current.ask(z, label), [z, label, run.run, run.weights]);
  return { ...shown, error };
}

function Space({ run, latents, path }) {
  const { dimensions, mean, spread, start } = latents;
  const [z, setZ] = useState(start);
  const [label, setLabel] = useState("");
  const chosen = run.classes ? Number(label) : undefined;
  const shown = useDecoded(run, path, z, chosen);
  const shared = { run, latents, path, label: chosen };
  const anywhere = () => {
    const e = draws(dimensions);
    setZ(mean.map((m, i) => m + spread[i] * e[i]));
  };
  return html`<div class="walk">
    <section class="card" aria-label="What the image is made from">
      ${dimensions === 2 && html`<p class="note">Two <${Word} is="latent">latents<//>: every point of this square is one
          image. Move over it, or press the arrow keys.</p>
        <${Pad} ...${shared} z=${z} onZ=${setZ} />`}
      <${Sliders} latents=${latents} z=${z} onZ=${setZ} />
      <div class="line"><${Act} onClick=${anywhere}>Anywhere<//>
        <${Act} onClick=${() => setZ(start)}>Back to the start<//></div>
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} /></section>
    <section class="card follow" aria-label="The image">
      <${PixelCanvas} pixels=${shown.pixels} shape=${run.shape} id="walk-image" data-z=${named(z)}
        data-shown=${shown.at} label=${`The image at z = ${read(z, 4)}`} />
      <p class="note number" role="status">z = (${read(z, 6)})</p>
      <${Problem} error=${shown.error} /></section></div>
    <div class="columns even more"><${Between} ...${shared} /><${Own} ...${shared} onZ=${setZ} />
      <${Arithmetic} ...${shared} /></div>`;
}
