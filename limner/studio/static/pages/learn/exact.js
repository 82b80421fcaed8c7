// An exact model's sampling, a value at a time: its probabilities, the draw, the next place.
import { html, useEffect, useState } from "../../vendor/htm-preact.js";
import { ClassChoice } from "../../parts/choose.js";
import { get, send, useAct } from "../../parts/load.js";
import { Act, figure, Problem, Word } from "../../parts/ui.js";

const CHANNELS = ["red", "green", "blue"];
const MANY = 32; // levels: then the bars are thin, and only the highest takes the tab key

export function Exact({ run }) {
  const [state, setState] = useState(null);
  const [seed, setSeed] = useState(0);
  const [label, setLabel] = useState("");
  const path = `/api/learn/${encodeURIComponent(run.run)}/pixel`;
  const given = label !== "" && run.classes ? { label } : {};
  /** Draw `steps` values more, after `values`; where there are none, from the beginning. */
  const ask = useAct(async (values, drawn, steps, from) => {
    const start = values ?? (await get(`${path}/start?${new URLSearchParams(given)}`)).values;
    setState(await send("POST", path, { values: start, drawn, seed: from, steps, ...given }));
  });
  const begin = (from) => {
    setSeed(from);
    return ask.run(null, 0, 0, from);
  };
  useEffect(() => {
    begin(0);
  }, [run.run, label]);
  if (!state) return html`<${Problem} error=${ask.error} /><p class="note">…</p>`;
  const draw = (steps) => ask.run(state.values, state.drawn, Math.min(steps, state.total - state.drawn), seed);
  const choose = (level) => {
    const { row, column, channel } = state.next;
    const own = [...state.values];
    own[(channel * run.shape[1] + row) * run.shape[2] + column] = level;
    ask.run(own, state.drawn + 1, 0, seed);
  };
  return html`<div class="columns even steps">
    <section class="card" aria-label="The image so far"><${SoFar} run=${run} state=${state} />
      <${Buttons} run=${run} state=${state} busy=${ask.busy} draw=${draw} again=${() => begin(seed + 1)} />
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} /><${Problem} error=${ask.error} /></section>
    <section class="card" aria-label="The next value">
      <${Next} run=${run} state=${state} choose=${choose} busy=${ask.busy} /></section></div>`;
}

function SoFar({ run, state: { image, drawn, total, next, just, nats } }) {
  const [, height, width] = run.shape;
  const share = (part, whole) => `${(100 * part) / whole}%`;
  const place = next && {
    left: share(next.column, width),
    top: share(next.row, height),
    width: share(1, width),
    height: share(1, height),
  };
  const one = just?.length === 1 && just[0];
  const about = `The image after ${drawn} of ${total} values`;
  return html`<div class="stage"><img class="pixels" src=${image} alt=${about} />
      ${next && html`<span class="next" style=${place}></span>`}</div>
    <p class="number" role="status">${drawn} of ${total} drawn · −ln p so far ${figure(nats)} <${Word} is="nats" />
      ${one && `. Drawn just now: level ${one.level}, which had probability ${figure(one.probability, 2)}.`}</p>`;
}

function Buttons({ run, state: { next, total }, busy, draw, again }) {
  const over = next ? "" : "all are drawn: begin a new one";
  const a = (text, steps, about) => html`<button type="button" disabled=${Boolean(over)}
    title=${over || about} onClick=${() => busy || draw(steps)}>${text}</button>`;
  return html`<div class="line top">
    <${Act} kind="main" why=${over} busy=${busy} onClick=${() => draw(1)}>Draw this value<//>
    ${a("A row", run.shape[0] * run.shape[2], "As many values as a row has")}
    ${a("The rest", total, "All that is left")}
    <${Act} busy=${busy} onClick=${again}>A new one<//></div>`;
}

function Next({ run, state: { next, nats }, choose, busy }) {
  if (!next)
    return html`<p>Done: an image with −ln p of ${figure(nats)} nats. Every one of its values was drawn from
      probabilities like those that stood here.</p>`;
  const of = run.shape[0] > 1 ? ` (${CHANNELS[next.channel]})` : "";
  return html`<h3>${next.word}</h3>
    <p class="note">How probable the model finds each level of the outlined pixel${of}, row ${next.row + 1},
      column ${next.column + 1}, given all that is drawn. Press a bar to decide for yourself, and see how the model
      goes on from there.</p>
    <${Bars} next=${next} channels=${run.shape[0]} onChoose=${choose} busy=${busy} />`;
}

/** The probabilities of all levels, each a bar that can be pressed. */
function Bars({ next: { probabilities, channel }, channels, onChoose, busy }) {
  const levels = probabilities.length;
  const most = Math.max(...probabilities);
  const best = probabilities.indexOf(most);
  const about = `Probabilities of ${levels} levels; the most probable is ${best} with ${figure(most, 2)}`;
  const bar = (p, level) => {
    const value = Math.round((255 * level) / (levels - 1));
    const colour = channels > 1 ? [0, 1, 2].map((i) => (i === channel ? value : 0)) : [value, value, value];
    return html`<button type="button" key=${level} tabindex=${levels > MANY && level !== best ? -1 : 0}
      aria-label=${`Level ${level}, probability ${figure(p, 2)}`} title=${`level ${level}: ${figure(p, 3)}`}
      onClick=${() => busy || onChoose(level)}>
      <span class="bar-room"><i style=${{ height: `${(100 * p) / most}%` }}></i></span>
      <span class="swatch" style=${{ background: `rgb(${colour.join(" ")})` }}></span></button>`;
  };
  return html`<div class=${levels > MANY ? "bars many" : "bars"} role="group" aria-label=${about}>
      ${probabilities.map(bar)}</div>
    <p class="note">From level 0 (dark) to level ${levels - 1} (bright). The highest bar
      is ${figure(100 * most, 3)} %.</p>`;
}
