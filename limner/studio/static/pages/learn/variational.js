// A VAE's sampling in three steps, and the other way: from an image to its latents, with the two parts of the bound.
import { html, useState } from "../../vendor/htm-preact.js";
import { ClassChoice } from "../../parts/choose.js";
import { send, useAct } from "../../parts/load.js";
import { Maths } from "../../parts/math.js";
import { Act, figure, Numeric, Picture, Problem, Word } from "../../parts/ui.js";
import { Codes } from "./codes.js";

const STEPS = ["Draw z", "Compute μ and σ", "Draw x"];

export function Variational({ run }) {
  const [label, setLabel] = useState("");
  const path = `/api/learn/${encodeURIComponent(run.run)}/vae`;
  const given = run.classes ? { label: label === "" ? 0 : label } : {};
  return html`<${ClassChoice} run=${run} value=${label} onChange=${setLabel} />
    <div class="columns even steps"><${Draw} path=${path} given=${given} /><${Bound} run=${run} path=${path} given=${given} /></div>`;
}

function Draw({ path, given }) {
  const [step, setStep] = useState(0);
  const [seed, setSeed] = useState(0);
  const [drawn, setDrawn] = useState(null);
  const ask = useAct(async () => {
    if (step % 3 !== 0) return setStep(step + 1);
    setDrawn(await send("POST", path, { seed, ...given }));
    setSeed(seed + 1);
    return setStep(1);
  });
  const at = step === 3 ? 0 : step;
  return html`<section class="card" aria-labelledby="forth"><h3 id="forth">Draw an image</h3>
    <ol class="chain">
      <li class=${step >= 1 ? "on" : ""}><h4><${Maths} tex=${String.raw`z\sim\N(0,I)`} /></h4>
        ${step >= 1 ? html`<${Codes} values=${drawn.z} /><p class="note">${drawn.words.z}</p>` : html`<p class="note">Chance draws the <${Word} is="latent">latents<//>.</p>`}</li>
      <li class=${step >= 2 ? "on" : ""}><h4><${Maths} tex=${String.raw`\mu_{x\mid z},~\sigma_{x\mid z}`} /></h4>
        ${step >= 2 ? html`<div class="pair"><figure><${Picture} src=${drawn.mean} alt="The mean of each pixel" /><figcaption>μ: the middle of each pixel</figcaption></figure>
          <figure><${Picture} src=${drawn.deviation} alt="The spread of each pixel" /><figcaption>σ: where it is unsure (white: ${figure(drawn.deviation_max, 2)})</figcaption></figure></div>`
          : html`<p class="note">The decoder turns them into a middle and a spread for each pixel.</p>`}</li>
      <li class=${step >= 3 ? "on" : ""}><h4><${Maths} tex=${String.raw`x\sim p(x\mid z)`} /></h4>
        ${step >= 3 ? html`<figure><${Picture} src=${drawn.sample} alt="The image drawn from μ and σ" /><figcaption>${drawn.words.x}</figcaption></figure>`
          : html`<p class="note">Chance draws each pixel from there.</p>`}</li></ol>
    <div class="line"><${Act} kind="main" busy=${ask.busy} onClick=${() => ask.run()}>${step === 3 ? "Another one" : STEPS[at]}<//></div>
    <${Problem} error=${ask.error} /></section>`;
}

function Bound({ run, path, given }) {
  const [number, setNumber] = useState("0");
  const [found, setFound] = useState(null);
  const encode = useAct(async () => setFound(await send("POST", path, { image: `test:${number}`, seed: 0, ...given })));
  return html`<section class="card" aria-labelledby="back"><h3 id="back">And back: the two parts of the bound</h3>
    <div class="line bottom"><${Picture} class="pixels tiny-image" src=${`/api/runs/${encodeURIComponent(run.run)}/images/test/${Number(number) || 0}.png`} alt=${`Test image ${number}`} />
      <div class="short"><${Numeric} label="Test image" value=${number} min="0" onChange=${setNumber} /></div>
      <${Act} kind="main" busy=${encode.busy} onClick=${() => encode.run()}>Encode it<//></div>
    <${Problem} error=${encode.error} />
    ${found && html`<h4><${Maths} tex=${String.raw`q(z\mid x)=\N(\mu,\sigma^2)`} /></h4><${Codes} values=${found.posterior.mean} spread=${found.posterior.deviation} />
      <div class="pair"><figure><${Picture} src=${found.original} alt="The image" /><figcaption>x</figcaption></figure>
        <figure><${Picture} src=${found.mean} alt="What comes back" /><figcaption>what comes back</figcaption></figure></div>
      <${Terms} terms=${found.terms} />`}</section>`;
}

function Terms({ terms: { reconstruction, kl } }) {
  const sum = reconstruction + kl;
  const width = (part) => ({ width: `${Math.max(1, (100 * Math.abs(part)) / (Math.abs(reconstruction) + Math.abs(kl)))}%` });
  return html`<div class="terms" aria-hidden="true"><i class="first" style=${width(reconstruction)}></i><i class="second" style=${width(kl)}></i></div>
    <p><span class="key first"></span>image from its latents: <span class="number">${figure(reconstruction)}</span> nats,
      ${" "}<span class="key second"></span>distance of the latents from the prior: <span class="number">${figure(kl, 3)}</span> nats.
      Together <strong class="number">${figure(sum)}</strong> <${Word} is="nats" />: no less than −ln p(x).</p>`;
}
