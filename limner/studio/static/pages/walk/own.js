// An image of one's own: where it lies among the latents, and what the model makes of it.
import { html, useState } from "../../vendor/htm-preact.js";
import { why } from "../../parts/choose.js";
import { dataUrl } from "../../parts/frames.js";
import { send, useAct } from "../../parts/load.js";
import { Drop, figure, Picture, Problem, Word } from "../../parts/ui.js";

export function Own({ run, path, label, onZ }) {
  const [found, setFound] = useState(null);
  const no = why(run, "encode");
  const take = useAct(async (file) => {
    const body = { image: await dataUrl(file) };
    if (label !== undefined) body.label = label;
    const answer = await send("POST", `${path}/encode`, body);
    setFound(answer);
    onZ(answer.z);
  });
  return html`<section class="card" aria-labelledby="own"><h2 id="own">Your own image</h2>
    <p class="note">The model <${Word} is="encode">encodes<//> it, and the walk goes on from there. An image unlike all
      that it was trained on becomes the most similar one that it knows.</p>
    ${no ? html`<p class="note">Not here: ${no}</p>` : html`<${Drop} label="Choose an image" hint="or drop one here"
      accept="image/*" onFile=${take.run}>${take.busy && html`<p role="status">Looks at it …</p>`}
      <${Problem} error=${take.error} /><//>`}
    ${found && html`<${Found} ...${found} />`}</section>`;
}

const Found = ({ original, reconstruction, squared_error: error }) => html`<div class="pair">
  <figure><${Picture} src=${original} alt="Your image at the model's size" />
    <figcaption>yours, at its size</figcaption></figure>
  <figure><${Picture} src=${reconstruction} alt="What the model makes of it" />
    <figcaption>what it makes of it (squared error ${figure(error, 2)})</figcaption></figure></div>`;
