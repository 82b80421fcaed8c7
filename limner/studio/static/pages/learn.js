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
  return html`<${Page} title="Learn"
      purpose="How each kind of model works: the lecture's equation, and its sampling, a step at a time.">
    <nav class="tabs" aria-label="Kinds of models">
      <ul>${Object.keys(KINDS).map((key) => html`<${Tab} key=${key} kind=${key} current=${key === kind} />`)}</ul>
    </nav>
    <${Idea} kind=${kind} />
    <h2 class="apart">Step by step</h2>
    ${kind === "gan" ? html`<${Game} />` : html`<${Stepper} kind=${kind} name=${rest[1]} />`}
    <${Kin} kind=${kind} />
  <//>`;
}

function Tab({ kind, current }) {
  const { title, families } = KINDS[kind];
  return html`<li><a href=${`#/learn/${kind}`} aria-current=${current ? "true" : undefined}>
    <strong>${title}</strong><span class="note">${families}</span>
  </a></li>`;
}

function Idea({ kind }) {
  const { title, idea, equations } = KINDS[kind];
  return html`<section class="card" aria-labelledby="idea"><h2 id="idea">${title}</h2><p>${idea}</p>
    <div class="equations">${equations.map(([tex, words]) => html`<div key=${tex}>
      <${Equation} tex=${tex} /><p class="note">${words}</p>
    </div>`)}</div></section>`;
}

function Stepper({ kind, name }) {
  const { model, button } = STARTS[kind];
  const Steps = STEPPERS[kind];
  const body = { model, source: "digits", recipe: "demo", minutes: 0.5 };
  const words = "The steps are shown on a trained model, and none of this kind is here yet. Half a minute is enough.";
  return html`<${WithRun} page=${`learn/${kind}`} name=${name} can=${(can) => can.learn === kind}
      cannot="of another kind" start=${html`<${Starter} words=${words} button=${button} body=${body} />`}>
    ${(run) => html`<${Steps} key=${run.run} run=${run} />`}
  <//>`;
}

/** Which of the four kinds a family is of, even where its steps cannot be shown. */
const kindOf = ({ can, likelihood }) => (KINDS[can.learn] ? can.learn : { exact: "exact", lower: "vae" }[likelihood]);

/** The families of a kind: what each does its own way. */
function Kin({ kind }) {
  const { families } = useRuns();
  const kin = Object.values(families ?? {}).filter((family) => kindOf(family) === kind);
  return html`<section class="card kinship" aria-labelledby="kin"><h2 id="kin">Who does it how</h2>
    <dl class="kin">${kin.map((family) => html`<${Member} key=${family.name} ...${family} />`)}</dl></section>`;
}

function Member({ name, summary, paper }) {
  const [tex, words] = FAMILIES[name] ?? [];
  return html`<div><dt>${name}</dt>
    <dd>${tex && html`<${Equation} tex=${tex} />`}<p>${words ?? summary}</p><p class="note">${paper}</p></dd></div>`;
}
