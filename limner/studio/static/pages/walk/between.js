// From one image to another, in even steps of the latents.
import { html, useState } from "../../vendor/htm-preact.js";
import { why } from "../../parts/choose.js";
import { send, useAct } from "../../parts/load.js";
import { Act, Choice, Numeric, Picture, Problem, Word } from "../../parts/ui.js";

export function Between({ run, path, label }) {
  const encodes = !why(run, "encode");
  const [ends, setEnds] = useState(encodes ? "images" : "drawn");
  const [a, setA] = useState("0");
  const [b, setB] = useState("1");
  const [seed, setSeed] = useState(0);
  const [row, setRow] = useState(null);
  const walk = useAct(async () => {
    const body = { steps: 10, seed };
    if (ends === "images") Object.assign(body, { a: { image: `test:${a}` }, b: { image: `test:${b}` } });
    if (label !== undefined) body.label = label;
    setRow((await send("POST", `${path}/interpolate`, body)).images);
    setSeed(seed + 1);
  });
  const kinds = [
    ["images", `images of its data${encodes ? "" : " (it cannot encode)"}`, !encodes],
    ["drawn", "two images drawn by the model"],
  ];
  return html`<section class="card" aria-labelledby="between"><h2 id="between">From one image to another</h2>
    <p class="note">Both are <${Word} is="encode">encoded<//>; the steps lie on the way between their latents.</p>
    <${Choice} label="The two ends" value=${ends} onChange=${setEnds} options=${kinds} hint=${why(run, "encode")} />
    ${ends === "images" && html`<div class="line ends">
      <${End} path=${path} label="First: test image" value=${a} onChange=${setA} />
      <${End} path=${path} label="Last: test image" value=${b} onChange=${setB} /></div>`}
    <div class="line"><${Act} kind="main" busy=${walk.busy} onClick=${() => walk.run()}>Show the way<//></div>
    <${Problem} error=${walk.error} />
    ${row && html`<div class="strip">${row.map((src, i) => html`<${Picture} key=${i} src=${src}
      alt=${`Step ${i + 1} of ${row.length}`} />`)}</div>`}</section>`;
}

const End = ({ path, label, value, onChange }) => html`<div class="end">
  <${Picture} src=${`${path}/images/test/${Number(value) || 0}.png`} alt=${`Test image ${value}`} />
  <${Numeric} label=${label} value=${value} min="0" onChange=${onChange} /></div>`;
