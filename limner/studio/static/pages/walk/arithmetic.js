// Arithmetic with labels: what makes a 3 a 3, less that of a 1, and a 7 in its place.
import { html, useState } from "../../vendor/htm-preact.js";
import { send, useAct } from "../../parts/load.js";
import { Act, Choice, Picture, Problem } from "../../parts/ui.js";

const SIGNS = ["take", "less", "plus"];

function cannot(run) {
  if ((run.label_names ?? []).length < 2) return "its images carry no classes to average by";
  if (!run.classes) return "";
  return "this model is told the class beside its latents: a model trained without classes can";
}

export function Arithmetic({ run, path }) {
  const names = run.label_names ?? [];
  const [words, setWords] = useState([3, 1, 7].map((i) => names[i % names.length]));
  const [answer, setAnswer] = useState(null);
  const sum = useAct(async () => {
    const [a, b, c] = words;
    setAnswer({ ...(await send("POST", `${path}/arithmetic`, { a, b, c, n: 6 })), of: words });
  });
  const no = cannot(run);
  const choice = (sign, i) => html`<${Choice} key=${sign} label=${sign} value=${words[i]} disabled=${Boolean(no)}
    options=${names.map((name) => [name, name])} onChange=${(word) => setWords(words.with(i, word))} />`;
  return html`<section class="card" aria-labelledby="sum"><h2 id="sum">Arithmetic with labels</h2>
    <p class="note">The latents of each class are averaged; the averages can be subtracted and added like numbers.</p>
    <div class="sum line">${SIGNS.map(choice)}</div>
    <div class="line"><${Act} kind="main" why=${no} busy=${sum.busy} onClick=${() => sum.run()}>Add up<//></div>
    <${Problem} error=${sum.error} />
    ${answer && html`<${Answer} ...${answer} />`}</section>`;
}

function Answer({ of: [a, b, c], means, before, after, words }) {
  const captions = [a, `− ${b}`, `+ ${c}`, "= this"];
  return html`<div class="equation">${means.map((src, i) => html`<figure key=${i}>
      <${Picture} src=${src} alt=${[a, b, c, words][i]} /><figcaption>${captions[i]}</figcaption></figure>`)}</div>
    <p class="note">Single images of ${c}, and below each with “${a} − ${b}” added:</p>
    <div class="strip">${before.map((src, i) => html`<${Picture} key=${i} src=${src}
      alt=${`Image ${i + 1} of ${c}`} />`)}</div>
    <div class="strip">${after.map((src, i) => html`<${Picture} key=${i} src=${src}
      alt=${`Image ${i + 1}, changed`} />`)}</div>`;
}
