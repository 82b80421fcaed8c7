// The two players of a GAN, a move at a time, pressed by you.
import { html, useEffect, useRef, useState } from "../../vendor/htm-preact.js";
import { Chart } from "../../parts/chart.js";
import { send, useAct } from "../../parts/load.js";
import { Act, Choice, figure, Picture, Problem, Word } from "../../parts/ui.js";
import { Plane } from "./plane.js";

const SOURCES = [
  ["ring", "points on a ring (each image is one point)"],
  ["digits", "handwritten digits"],
];

export function Game() {
  const [source, setSource] = useState("ring");
  const [state, setState] = useState(null);
  const [data, setData] = useState(null);
  const game = useRef(null);
  const begin = useAct(async (of) => {
    if (game.current) send("DELETE", `/api/learn/gan/${game.current}`).catch(() => {}); // gone already is as good
    const made = await send("POST", "/api/learn/gan", { source: of, seed: 0 });
    game.current = made.game;
    setData(made.data ?? null);
    setState(made);
  });
  const step = useAct(async (player, steps) => {
    setState(await send("POST", `/api/learn/gan/${game.current}/step`, { player, steps }));
  });
  useEffect(() => {
    begin.run(source);
    return () => game.current && send("DELETE", `/api/learn/gan/${game.current}`).catch(() => {});
  }, []);
  const change = (of) => {
    setSource(of);
    begin.run(of);
  };
  const busy = step.busy || begin.busy || !state;
  const { moves = {}, history = {}, words, accuracy } = state ?? {};
  return html`<div class="columns even steps"><section class="card" aria-label="The game">
      <${Choice} label="What is to be imitated" value=${source} options=${SOURCES} onChange=${change} />
      ${state && (state.field ? html`<${Plane} state=${state} data=${data} />` : html`<${Judged} state=${state} />`)}
      <div class="line"><${Act} busy=${busy} onClick=${() => step.run("discriminator", 1)}>Discriminator's move<//>
        <${Act} busy=${busy} onClick=${() => step.run("generator", 1)}>Generator's move<//>
        <${Act} kind="main" busy=${busy} onClick=${() => step.run("both", 1)}>Both<//>
        <${Act} busy=${busy} onClick=${() => step.run("both", 100)}>Both, 100 times<//>
        <${Act} busy=${begin.busy} kind="quiet" onClick=${() => begin.run(source)}>Start over<//></div>
      <${Problem} error=${begin.error ?? step.error} /></section>
    <section class="card" aria-label="What happened"><p role="status">${words ?? "Nobody has moved yet."}</p>
      <p class="number">Moves: ${moves.discriminator ?? 0} of the <${Word} is="discriminator" />,
        ${" "}${moves.generator ?? 0} of the <${Word} is="generator" />
        ${accuracy !== undefined ? ` · the discriminator is right in ${figure(100 * accuracy, 3)} % of cases` : ""}</p>
      <${Chart} title="Losses" x="move" height=${200} series=${[
        { name: "discriminator", points: history.discriminator ?? [] },
        { name: "generator", points: history.generator ?? [] },
      ]} />
      <p class="note">At the end of a fair game the discriminator can only guess: it is right half of the time. Try to
        let one player move alone for long: the other learns nothing any more.</p></section></div>`;
}

/** Generated images, each with how real the discriminator finds it. */
function Judged({ state: { samples, judged } }) {
  const one = (src, i) => html`<li key=${i}><${Picture} src=${src} alt=${`Generated image ${i + 1}`} />
    <span class="note number">${figure(100 * judged[i], 2)} % real</span></li>`;
  return html`<ul class="sheet judged">${samples.map(one)}</ul>`;
}
