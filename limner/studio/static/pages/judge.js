// Judge: several runs side by side, by the same yardstick.
import { html, useState } from "../vendor/htm-preact.js";
import { Starter, useRuns } from "../parts/choose.js";
import { get, send, useLoad } from "../parts/load.js";
import { useEvents } from "../parts/live.js";
import { sourceOf } from "../parts/standing.js";
import { Page, Picture, Problem, Word } from "../parts/ui.js";
import { Numbers } from "./judge/numbers.js";
import { Whiskers } from "./judge/whiskers.js";

const MOST = 8;
const FIRST = { model: "vae", source: "digits", recipe: "demo", minutes: 0.5 };

export default function Judge() {
  const { runs, error } = useRuns();
  return html`<${Page} title="Judge"
      purpose="Which model knows these images best, and which draws the best ones? The two are not the same.">
    <${Problem} error=${error} />
    ${runs && !runs.length && html`<${Starter} words="There is nothing to compare yet."
      button="Train a first model on digits" body=${FIRST} />`}
    ${runs?.length > 0 && html`<${Choose} runs=${runs} />`}<//>`;
}

/** Which runs are shown first: those in the address; of one alone, others of the same images too. */
function chosenIn(runs) {
  const there = new Set(runs.map(({ run }) => run));
  const asked = new URLSearchParams(location.hash.split("?")[1] ?? "").getAll("run").filter((run) => there.has(run));
  if (asked.length > 1) return asked.slice(0, MOST);
  const data = (runs.find(({ run }) => run === asked[0]) ?? runs[0]).data;
  const others = runs.filter((run) => run.data === data && run.step).map(({ run }) => run);
  return [...new Set([...asked, ...others])].slice(0, 4);
}

function Choose({ runs }) {
  const [chosen, setChosen] = useState(() => chosenIn(runs));
  const turn = (run) => setChosen(chosen.includes(run) ? chosen.filter((one) => one !== run) : [...chosen, run]);
  const full = chosen.length >= MOST;
  return html`<fieldset class="card choose"><legend>Compare</legend>
      ${runs.map((of) => html`<label key=${of.run}><input type="checkbox" checked=${chosen.includes(of.run)}
        disabled=${full && !chosen.includes(of.run)} onChange=${() => turn(of.run)} /> ${of.run}
        ${" "}<span class="note">${of.model} on ${sourceOf(of)}</span></label>`)}
      ${full && html`<span class="why">${MOST} runs at most: take one away to choose another.</span>`}</fieldset>
    ${chosen.length ? html`<${Compared} key=${chosen.join(" ")} names=${chosen} />`
      : html`<p class="note">Choose one run or more.</p>`}`;
}

function Compared({ names }) {
  const query = names.map((name) => `run=${encodeURIComponent(name)}`).join("&");
  const { value, error, again } = useLoad(() => get(`/api/compare?${query}`), query);
  useEvents(({ type, run, what }) => {
    if (type === "run" && names.includes(run) && ["evaluation", "finished"].includes(what)) again();
  });
  if (!value) return html`<${Problem} error=${error} />`;
  return html`<${Problem} error=${error} />
    <section class="card" aria-labelledby="numbers"><h2 id="numbers">In numbers</h2>
      ${value.words?.map((word) => html`<p class="note" key=${word}>${word}</p>`)}
      <${Whiskers} runs=${value.runs} />
      <${Numbers} runs=${value.runs} />
      <p class="note">± is the <${Word} is="standard error" />. ≤: the true value is no larger, that is at least as
        good.</p></section>
    <section class="card" aria-labelledby="side"><h2 id="side">Samples side by side</h2>
      ${value.runs.map((run) => html`<${Samples} key=${run.run} run=${run} />`)}</section>`;
}

function Samples({ run }) {
  const path = `/api/runs/${encodeURIComponent(run.run)}/samples`;
  const { value, error } = useLoad(() => send("POST", path, { n: 12, seed: 0 }), run.run);
  return html`<figure class="side">
    <figcaption><strong>${run.run}</strong> ${run.likelihood_words}</figcaption>
    <${Problem} error=${error} />
    <div class="strip">${value?.images.map((src, i) => html`<${Picture} key=${i} src=${src}
      alt=${`Sample ${i + 1} of ${run.run}`} />`)}</div></figure>`;
}
