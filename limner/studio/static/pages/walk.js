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

export default function Walk({ rest }) {
  return html`<${Page} title="Walk" purpose="Every image comes from a few numbers. Move them, and watch the image follow.">
    <${WithRun} page="walk" name=${rest[0]} can=${(can) => can.walk} cannot="has no latents" start=${html`<${Starter}
        words="There is no model here yet that one could walk through. The digits take half a minute."
        button="Teach it to write digits" body=${{ model: "vae", source: "digits", recipe: "demo", minutes: 0.5 }} />`}>
      ${(run) => html`<${Latents} key=${run.run} run=${run} />`}<//><//>`;
}

function Latents({ run }) {
  const path = `/api/runs/${encodeURIComponent(run.run)}`;
  const { value: latents, error } = useLoad(() => get(`${path}/latents`), `${run.run} ${run.weights}`);
  return html`<${Problem} error=${error} />${latents ? html`<${Space} run=${run} latents=${latents} path=${path} />`
    : !error && html`<p class="note" role="status">Looks at what its latents do …</p>`}`;
}

const named = (z) => z.map((v) => v.toFixed(3)).join(" ");

function Space({ run, latents, path }) {
  const [z, setZ] = useState(latents.start);
  const [label, setLabel] = useState("");
  const [shown, setShown] = useState({}); // the last image, and the latents it was made from
  const [fault, setFault] = useState(null);
  const decoder = useRef(null);
  const chosen = run.classes ? (label === "" ? 0 : label) : undefined;
  useEffect(() => {
    const answered = (error, bytes, at) => {
      setFault(error);
      if (bytes) setShown({ pixels: cut(bytes, run.shape, 0), at: named(at) });
    };
    decoder.current = new Decoder(`${path}/walk`, answered);
    return () => decoder.current.close();
  }, [run.run]);
  useEffect(() => decoder.current.ask(z, chosen), [z, chosen, run.run, run.weights]);
  const two = latents.dimensions === 2;
  const anywhere = () => {
    const e = draws(latents.dimensions);
    setZ(latents.mean.map((m, i) => m + latents.spread[i] * e[i]));
  };
  const shared = { run, latents, path, label: chosen };
  return html`<div class="walk"><section class="card" aria-label=${two ? "The pad" : "The sliders"}>
      ${two ? html`<p class="note">Two <${Word} is="latent">latents<//>: every point of this square is one image. Move over it, or press the arrow keys.</p>
        <${Pad} ...${shared} z=${z} onZ=${setZ} />` : null}
      <${Sliders} latents=${latents} z=${z} onZ=${setZ} />
      <div class="line"><${Act} onClick=${anywhere}>Anywhere<//><${Act} onClick=${() => setZ(latents.start)}>Back to the start<//></div>
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} /></section>
    <section class="card follow" aria-label="The image"><${PixelCanvas} pixels=${shown.pixels} shape=${run.shape} id="walk-image" data-z=${named(z)}
        data-shown=${shown.at}
        label=${`The image at z = ${z.slice(0, 4).map((v) => v.toFixed(2)).join(", ")}${z.length > 4 ? ", …" : ""}`} />
      <p class="note number" role="status">z = (${z.slice(0, 6).map((v) => v.toFixed(2)).join(", ")}${z.length > 6 ? ", …" : ""})</p>
      <${Problem} error=${fault} /></section>
    </div>
    <div class="columns even more"><${Between} ...${shared} /><${Own} ...${shared} onZ=${setZ} /><${Arithmetic} ...${shared} /></div>`;
}
