// A VAE's sampling in three steps, and the other way: from an image to its latents, with the two parts of the bound.
import { html, useState } from "../../vendor/htm-preact.js";
import { ClassChoice } from "../../parts/choose.js";
import { send, useAct } from "../../parts/load.js";
import { Maths } from "../../parts/math.js";
import { Act, figure, Numeric, Picture, Problem, Word } from "../../parts/ui.js";
import { Codes } from "./codes.js";

const r = String.raw;
const BUTTONS = ["Draw z", "Compute μ and σ", "Draw x", "Another one"];

export function Variational({ run }) {
  const [label, setLabel] = useState("");
  const path = `/api/learn/${encodeURIComponent(run.run)}/vae`;
  const given = run.classes ? { label: label === "" ? 0 : label } : {};
  return html`<div class="picker"><${ClassChoice} run=${run} value=${label} onChange=${setLabel} /></div>
    <div class="stack steps"><${Forth} path=${path} given=${given} />
      <${Back} run=${run} path=${path} given=${given} /></div>`;
}

const Figure = ({ src, alt, children }) =>
  html`<figure><${Picture} src=${src} alt=${alt} /><figcaption>${children}</figcaption></figure>`;

/** A step: its name and formula, and what it gave once `on`; before, what it will do. */
const Step = ({ name, tex, on, before, children }) => html`<li class=${on ? "on" : ""}>
  <h4>${name} <${Maths} tex=${tex} /></h4>${on ? children : html`<p class="note">${before}</p>`}</li>`;

function Forth({ path, given }) {
  const [step, setStep] = useState(0); // how many are done
  const [seed, setSeed] = useState(0);
  const [drawn, setDrawn] = useState({ words: {} });
  const ask = useAct(async () => {
    if (step === 1 || step === 2) return setStep(step + 1);
    setDrawn(await send("POST", path, { seed, ...given }));
    setSeed(seed + 1);
    return setStep(1);
  });
  return html`<section class="card" aria-labelledby="forth"><h3 id="forth">Draw an image</h3>
    <ol class="chain">
      <${Step} name="Latents" tex=${r`z\sim\N(0,I)`} on=${step >= 1} before="Chance draws the latents.">
        <${Codes} values=${drawn.z} /><p class="note">${drawn.words.z}</p><//>
      <${Step} name="Decoder" tex=${r`\mu_{x\mid z},\,\sigma_{x\mid z}`} on=${step >= 2}
          before="The decoder turns them into a middle and a spread for each pixel."><div class="pair">
        <${Figure} src=${drawn.mean} alt="The mean of each pixel">μ: the middle of each pixel<//>
        <${Figure} src=${drawn.deviation} alt="The spread of each pixel">σ: where it is unsure (white:
          ${" "}${figure(drawn.deviation_max, 2)})<//></div><//>
      <${Step} name="Image" tex=${r`x\sim p(x\mid z)`} on=${step >= 3} before="Chance draws each pixel from there.">
        <${Figure} src=${drawn.sample} alt="The image drawn from μ and σ">${drawn.words.x}<//><//>
    </ol>
    <div class="line"><${Act} kind="main" busy=${ask.busy} onClick=${() => ask.run()}>${BUTTONS[step]}<//></div>
    <${Problem} error=${ask.error} /></section>`;
}

function Back({ run, path, given }) {
  const [number, setNumber] = useState("0");
  const [found, setFound] = useState(null);
  const encode = useAct(async () => setFound(await send("POST", path, { image: `test:${number}`, seed: 0, ...given })));
  const image = `/api/runs/${encodeURIComponent(run.run)}/images/test/${Number(number) || 0}.png`;
  return html`<section class="card" aria-labelledby="back"><h3 id="back">And back: the two parts of the bound</h3>
    <div class="line bottom"><img class="pixels tiny-image" src=${image} alt=${`Test image ${number}`} />
      <div class="short"><${Numeric} label="Test image" value=${number} min="0" onChange=${setNumber} /></div>
      <${Act} kind="main" busy=${encode.busy} onClick=${() => encode.run()}>Encode it<//></div>
    <${Problem} error=${encode.error} />
    ${found && html`<h4>Its latents <${Maths} tex=${r`q(z\mid x)=\N(\mu,\sigma^2)`} /></h4>
      <${Codes} values=${found.posterior.mean} spread=${found.posterior.deviation} />
      <div class="pair"><${Figure} src=${found.original} alt="The image">x<//>
        <${Figure} src=${found.mean} alt="What comes back">what comes back<//></div>
      <${Terms} ...${found.terms} />`}</section>`;
}

function Terms({ reconstruction, kl }) {
  const all = Math.abs(reconstruction) + Math.abs(kl) || 1;
  const width = (part) => ({ width: `${Math.max(1, (100 * Math.abs(part)) / all)}%` });
  return html`<div class="terms" aria-hidden="true"><i class="one" style=${width(reconstruction)}></i>
      <i class="two" style=${width(kl)}></i></div>
    <p><span class="key one"></span>image from its latents:
      ${" "}<span class="number">${figure(reconstruction)}</span> nats,
      ${" "}<span class="key two"></span>distance of the latents from the prior:
      ${" "}<span class="number">${figure(kl, 3)}</span> nats.
      Together <strong class="number">${figure(reconstruction + kl)}</strong> <${Word} is="nats" />: no less than
      −ln p(x), on average over the latents drawn.</p>`;
}
