// An exact model's sampling, a value at a time: its probabilities, the draw, the next place.
import { html, useEffect, useState } from "../../vendor/htm-preact.js";
import { get, send, useAct } from "../../parts/load.js";
import { Act, figure, Problem, Word } from "../../parts/ui.js";
import { ClassChoice } from "../../parts/choose.js";

const CHANNELS = ["red", "green", "blue"];

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
  const { values, drawn, total, next, just, nats, image } = state;
  const [channels, height, width] = run.shape;
  const over = next ? "" : "all are drawn: begin a new one";
  const draw = (steps) => ask.run(values, drawn, Math.min(steps, total - drawn), seed);
  const choose = (level) => {
    const own = [...values];
    own[(next.channel * height + next.row) * width + next.column] = level;
    ask.run(own, drawn + 1, 0, seed);
  };
  const one = just?.length === 1 && just[0];
  return html`<div class="columns even steps"><section class="card" aria-label="The image so far">
      <div class="stage"><img class="pixels" src=${image} alt=${`The image after ${drawn} of ${total} values`} />${next && html`<span class="next"
        style=${{ left: `${(100 * next.column) / width}%`, top: `${(100 * next.row) / height}%`, width: `${100 / width}%`, height: `${100 / height}%` }}></span>`}</div>
      <p class="number" role="status">${drawn} of ${total} drawn · −ln p so far ${figure(nats)} <${Word} is="nats" />${one ? html`. Drawn just now:
        level ${one.level}, which had probability ${figure(one.probability, 2)}.` : ""}</p>
      <div class="line"><${Act} kind="main" why=${over} busy=${ask.busy} onClick=${() => draw(1)}>Draw this value<//>
        <${Act} busy=${ask.busy || Boolean(over)} onClick=${() => draw(width * channels)} title=${over || "As many values as a row has"}>A row<//>
        <${Act} busy=${ask.busy || Boolean(over)} onClick=${() => draw(total)} title=${over || "All that is left"}>The rest<//>
        <${Act} busy=${ask.busy} onClick=${() => begin(seed + 1)}>A new one<//></div>
      <${ClassChoice} run=${run} value=${label} onChange=${setLabel} /><${Problem} error=${ask.error} /></section>
    <section class="card" aria-label="The next value">${next ? html`<h3>${next.word}</h3><p class="note">How probable the model finds each level
        of the outlined pixel${channels > 1 ? ` (${CHANNELS[next.channel]})` : ""}, row ${next.row + 1}, column ${next.column + 1}, given all that is drawn. Press a bar to decide
        for yourself, and see how the model goes on from there.</p><${Bars} next=${next} onChoose=${choose} busy=${ask.busy} />`
      : html`<p>Done: an image that the model found ${figure(nats)} nats improbable. Every one of its values was drawn from
        probabilities like those that stood here.</p>`}</section></div>`;
}

/** The probabilities of all levels, each a bar that can be pressed. */
function Bars({ next, onChoose, busy }) {
  const { probabilities: p } = next;
  const most = Math.max(...p);
  const grey = (level) => Math.round((255 * level) / (p.length - 1));
  const best = p.indexOf(most);
  return html`<div class=${p.length > 32 ? "bars many" : "bars"} role="group" aria-label=${`Probabilities of ${p.length} levels; the most probable is ${best} with ${figure(most, 2)}`}>
    ${p.map((value, level) => html`<button type="button" key=${level} disabled=${busy} tabindex=${p.length > 32 && level !== best ? -1 : 0}
      aria-label=${`Level ${level}, probability ${figure(value, 2)}`} title=${`level ${level}: ${figure(value, 3)}`} onClick=${() => onChoose(level)}>
      <span class="bar-room"><i style=${{ height: `${(100 * value) / most}%` }}></i></span>
      <span class="swatch" style=${{ background: `rgb(${grey(level)} ${grey(level)} ${grey(level)})` }}></span></button>`)}</div>
    <p class="note">From level 0 (black) to level ${p.length - 1} (white). The highest bar is ${figure(100 * most, 3)} %.</p>`;
}
