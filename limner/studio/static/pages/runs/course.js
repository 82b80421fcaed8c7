// The curves of a run; of a GAN the two players and what the doctor says.
import { html } from "../../vendor/htm-preact.js";
import { Chart } from "../../parts/chart.js";
import { figure, Word } from "../../parts/ui.js";

const NAMES = {
  nats: "nats",
  nll: "nats",
  bits_per_dim: "bits/dim",
  real_logit: "says of real",
  fake_logit: "says of fake",
  reconstruction: "image from its latents",
  distance: "samples",
  blurred_distance: "blurred images",
  kl: "latents from the prior",
};
const named = (key) => NAMES[key] ?? key.replaceAll("_", " ");

export function Course({ run }) {
  const { train = {}, validation = {}, rate = [] } = run.curves ?? {};
  const players = train.generator && train.discriminator;
  const looked = Object.entries(validation).filter(([key]) => key.includes("distance"));
  return html`<div class="stack">
    ${players ? html`<${Players} train=${train} run=${run} />`
      : html`<${Loss} train=${train} validation=${validation} />`}
    ${players && looked.length > 0 && html`<div><${Chart} title="Samples beside images it never saw" height=${150}
        series=${looked.map(([key, points]) => ({ name: named(key), points, dots: true }))} />
      <p class="note">How far the samples are from real images: 0 would be no difference. For comparison, real images
        that were blurred are as far as the broken line.</p></div>`}
    <${Rate} rate=${rate} /></div>`;
}

/** What was said of training images and of images kept apart, in one chart where they are the same quantity. */
function Loss({ train, validation }) {
  const [seen, unseen] = [mainOf(train), mainOf(validation)];
  const parts = Object.keys(train).filter((key) => key !== seen && ["reconstruction", "kl"].includes(key));
  const series = [
    { name: "training", points: seen ? train[seen] : [] },
    { name: "validation", points: unseen ? validation[unseen] : [], dots: true },
  ];
  return html`<p class="note">Lower is better. When <${Word} is="validation">validation<//> rises while
      ${" "}<${Word} is="training">training<//> still falls, the model begins to learn its images by heart.</p>
    <${Chart} title=${named(unseen ?? seen ?? "loss")} series=${series} />
    ${parts.length > 0 && html`<${Chart} title="The two parts of the bound" height=${150}
      series=${parts.map((key) => ({ name: named(key), points: train[key] }))} />`}`;
}

const MAIN = ["nats", "nll", "negative_elbo", "elbo", "bound", "loss", "error", "mse", "distance"];
const mainOf = (curves) => MAIN.find((key) => curves[key]) ?? Object.keys(curves)[0];

function Players({ train, run }) {
  const losses = ["discriminator", "generator"].map((name) => ({ name, points: train[name] }));
  const says = [
    { name: "of real images", points: train.real_logit ?? [] },
    { name: "of generated ones", points: train.fake_logit ?? [] },
  ];
  return html`<p class="note">Two networks play against each other: the <${Word} is="generator" /> makes images, the
      ${" "}<${Word} is="discriminator" /> tells them from real ones. Neither should win for long.</p>
    <${Doctor} ill=${run.doctor ?? []} before=${run.doctor_over_time ?? []} />
    <${Chart} title="Losses of the two players" series=${losses} />
    <${Chart} title="What the discriminator says (above 0: real)" height=${160} series=${says} />
    ${train.accuracy && html`<${Chart} title="How often it is right" height=${130}
      series=${[{ name: "accuracy", points: train.accuracy }]} />`}`;
}

function Doctor({ ill, before }) {
  const words = ill.map(({ name, observed, remedy }) => html`<li key=${name}><strong>${name}</strong>: ${observed}.
    <br />Try: ${remedy}.</li>`);
  return html`<div class=${ill.length ? "doctor ill" : "doctor"} role="status">
    <h3>The <${Word} is="doctor">doctor<//> says</h3>
    ${ill.length ? html`<ul>${words}</ul>` : html`<p>Nothing is wrong with the two players.</p>`}
    <${History} over=${before} /></div>`;
}

function History({ over }) {
  if (!over.length) return null;
  return html`<details><summary>What was said before</summary><ul>${over.slice(-12).map(({ step, name }) => html`<li
    key=${step + name}>step ${step}: ${name}</li>`)}</ul></details>`;
}

function Rate({ rate }) {
  if (!rate.length) return null;
  const [, latest] = rate.at(-1);
  return html`<p class="note number">${figure(latest, 3)} training images a second lately.</p>`;
}
