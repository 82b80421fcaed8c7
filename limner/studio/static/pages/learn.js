// Learn: the lecture's equations, and each way of sampling step by step.
import { html } from "../vendor/htm-preact.js";
import { Starter, useRuns, WithRun } from "../parts/choose.js";
import { Equation } from "../parts/math.js";
import { Page } from "../parts/ui.js";
import { FAMILIES, KINDS } from "./learn/equations.js";
import { Exact } from "./learn/exact.js";
import { Game } from "./learn/game.js";
import { Restore } from "./learn/restore.js";
import { Variational } from "./learn/variational.js";

const STARTS = {
  exact: { model: "patch-pixelcnn", button: "Train a PixelCNN on digits" },
  vae: { model: "vae", button: "Train a VAE on digits" },
  autoencoder: { model: "autoencoder", button: "Train an autoencoder on digits" },
};
const STEPPERS = { exact: Exact, vae: Variational, autoencoder: Restore };

export default function Learn({ rest }) {
  const kind = KINDS[rest[0]] ? rest[0] : "exact";
  const { title, idea, equations } = KINDS[kind];
  return html`<${Page} title="Learn" purpose="How each kind of model works: the lecture's equation, and its sampling, a step at a time.">
    <nav class="tabs" aria-label="Kinds of models"><ul>${Object.entries(KINDS).map(([key, one]) => html`<li key=${key}><a href=${`#/learn/${key}`}
      aria-current=${key === kind ? "true" : undefined}><strong>${one.title}</strong><span class="note">${one.families}</span></a></li>`)}</ul></nav>
    <section class="card" aria-labelledby="idea"><h2 id="idea">${title}</h2><p>${idea}</p>
      <div class="equations">${equations.map(([tex, words]) => html`<div key=${tex}><${Equation} tex=${tex} /><p class="note">${words}</p></div>`)}</div></section>
    <h2 class="apart">Step by step</h2>
    ${kind === "gan" ? html`<${Game} />` : html`<${Stepper} kind=${kind} name=${rest[1]} />`}
    <${Kin} kind=${kind} /><//>`;
}

function Stepper({ kind, name }) {
  const { model, button } = STARTS[kind];
  const Steps = STEPPERS[kind];
  return html`<${WithRun} page=${`learn/${kind}`} name=${name} can=${(can) => can.learn === kind} cannot="of another kind" start=${html`<${Starter}
      words="The steps are shown on a trained model, and none of this kind is here yet. Half a minute is enough." button=${button}
      body=${{ model, source: "digits", recipe: "demo", minutes: 0.5 }} />`}>
    ${(run) => html`<${Steps} key=${run.run} run=${run} />`}<//>`;
}

/** The families of a kind: what each does its own way. */
function Kin({ kind }) {
  const { families } = useRuns();
  const kin = Object.values(families ?? {}).filter(({ can }) => can.learn === kind);
  return html`<section class="card kinship" aria-labelledby="kin"><h2 id="kin">Who does it how</h2><dl class="kin">${kin.map(({ name, summary, paper }) => {
    const [tex, words] = FAMILIES[name] ?? [];
    return html`<div key=${name}><dt>${name}</dt><dd>${tex && html`<${Equation} tex=${tex} />`}<p>${words ?? summary}</p>
      <p class="note">${paper}</p></dd></div>`;
  })}</dl></section>`;
}
