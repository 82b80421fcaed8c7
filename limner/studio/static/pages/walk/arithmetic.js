// Arithmetic with labels: what makes a 3 a 3, less that of a 1, and a 7 in its place.
import { html, useState } from "../../vendor/htm-preact.js";
import { send, useAct } from "../../parts/load.js";
import { Act, Choice, Picture, Problem } from "../../parts/ui.js";

export function Arithmetic({ run, path }) {
  const names = run.label_names ?? [];
  const [[a, b, c], setWords] = useState([names[3 % names.length], names[1 % names.length], names[7 % names.length]]);
  const [answer, setAnswer] = useState(null);
  const sum = useAct(async () => setAnswer(await send("POST", `${path}/arithmetic`, { a, b, c, n: 6 })));
  const options = names.map((name) => [name, name]);
  const no = names.length < 2 ? "its images carry no classes to average by" : run.classes ? "this model is told the class beside its latents: a model trained without classes can" : "";
  const choice = (label, value, set) => html`<${Choice} label=${label} value=${value} options=${options} onChange=${set} disabled=${Boolean(no)} />`;
  return html`<section class="card" aria-labelledby="sum"><h2 id="sum">Arithmetic with labels</h2>
    <p class="note">The latents of each class are averaged; the averages can be subtracted and added like numbers.</p>
    <div class="sum line">${choice("take", a, (v) => setWords([v, b, c]))}<span aria-hidden="true">−</span>
      ${choice("less", b, (v) => setWords([a, v, c]))}<span aria-hidden="true">+</span>${choice("plus", c, (v) => setWords([a, b, v]))}</div>
    <div class="line"><${Act} kind="main" why=${no} busy=${sum.busy} onClick=${() => sum.run()}>Add up<//></div>
    <${Problem} error=${sum.error} />
    ${answer && html`<div class="equation">${answer.means.map((src, i) => html`<figure key=${i}><${Picture} src=${src} alt=${[a, b, c, answer.words][i]} />
        <figcaption>${[a, `− ${b}`, `+ ${c}`, "= this"][i]}</figcaption></figure>`)}</div>
      <p class="note">Single images of ${c}, and below each with “${a} − ${b}” added:</p>
      <div class="strip">${answer.before.map((src, i) => html`<${Picture} key=${i} src=${src} alt=${`Image ${i + 1} of ${c}`} />`)}</div>
      <div class="strip">${answer.after.map((src, i) => html`<${Picture} key=${i} src=${src} alt=${`Image ${i + 1}, changed`} />`)}</div>`}</section>`;
}
