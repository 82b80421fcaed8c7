// An autoencoder: an image, its code, and what comes back.
import { html, useState } from "../../vendor/htm-preact.js";
import { send, useAct } from "../../parts/load.js";
import { Act, figure, Numeric, Picture, Problem } from "../../parts/ui.js";
import { Codes } from "./codes.js";

const BUTTONS = ["Squeeze it", "Restore it", "Again"];

export function Restore({ run }) {
  const path = `/api/runs/${encodeURIComponent(run.run)}`;
  const [number, setNumber] = useState("0");
  const [found, setFound] = useState(null);
  const [step, setStep] = useState(0);
  const go = useAct(async () => {
    if (step === 1) return setStep(2);
    setFound(await send("POST", `${path}/encode`, { image: `test:${number}` }));
    return setStep(1);
  });
  const change = (i) => {
    setNumber(i);
    setStep(0);
  };
  const image = `${path}/images/test/${Number(number) || 0}.png`;
  return html`<section class="card steps" aria-label="Squeeze and restore"><ol class="chain">
      <li class="on"><h4>An image x</h4><${Picture} src=${image} alt=${`Test image ${number}`} />
        <div class="short"><${Numeric} label="Test image" value=${number} min="0" onChange=${change} /></div></li>
      <li class=${step >= 1 ? "on" : ""}><h4>Its code z = f(x)</h4>
        ${step >= 1 ? html`<${Codes} values=${found.z} />` : html`<p class="note">The encoder squeezes it.</p>`}</li>
      <li class=${step >= 2 ? "on" : ""}><h4>What comes back, g(z)</h4>
        ${step >= 2 ? html`<${Back} found=${found} />` : html`<p class="note">The decoder restores it.</p>`}</li></ol>
    <div class="line"><${Act} kind="main" busy=${go.busy} onClick=${() => go.run()}>${BUTTONS[step]}<//></div>
    <${Problem} error=${go.error} /></section>`;
}

const Back = ({ found }) => html`<${Picture} src=${found.reconstruction} alt="What comes back" />
  <p class="note">mean squared difference ${figure(found.squared_error, 2)} (of intensities from 0 to 1)</p>`;
