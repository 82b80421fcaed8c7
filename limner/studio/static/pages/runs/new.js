// A training begins: which images, which model, how long.
import { html, useState } from "../../vendor/htm-preact.js";
import { useStart } from "../../parts/choose.js";
import { get, send, useAct, useLoad } from "../../parts/load.js";
import { Act, Check, Choice, Drop, Field, Numeric, Page, Problem, Word } from "../../parts/ui.js";

const words = { exact: "exact likelihood", lower: "a bound of the likelihood", none: "no likelihood" };
const first = { digits: ["vae", "patch-pixelcnn", "gan"] };

export function NewRun({ query }) {
  const sources = useLoad(() => get("/api/sources"));
  const families = useLoad(() => get("/api/families"));
  return html`<${Page} title="Train a model"
      purpose="Choose the images to learn from, a model, and how many minutes it may take; then watch it learn.">
    <${Problem} error=${sources.error ?? families.error} />
    ${sources.value && families.value && html`<${Form} sources=${sources.value} families=${families.value}
      again=${sources.again} query=${query} />`}<//>`;
}

function Form({ sources, families, again, query }) {
  const [source, setSource] = useState(query.source ?? "digits");
  const [model, setModel] = useState(query.model ?? "vae");
  const [minutes, setMinutes] = useState(query.minutes ?? "1");
  const [conditional, setConditional] = useState(false);
  const [name, setName] = useState("");
  const [recipe, setRecipe] = useState("");
  const start = useStart();
  const of = sources.find(({ id }) => id === source);
  const family = families.find((one) => one.name === model) ?? families[0];
  const recipes = recipesOf(family, source);
  const chosen = recipes.some(([key]) => key === recipe) ? recipe : recipes[0][0];
  const wrong = !of ? "choose the images first" : !(Number(minutes) > 0) ? "minutes must be more than 0" : "";
  const go = () => {
    const body = { model: family.name, source, minutes: Number(minutes), recipe: chosen };
    if (conditional && family.conditional) body.conditional = true;
    if (name.trim()) body.name = name.trim();
    return start.run(body);
  };
  const submit = (event) => {
    event.preventDefault();
    if (!wrong && !start.busy) go();
  };
  const taken = async (made) => {
    await again();
    setSource(made.id);
  };
  const called = (f) => [f.name, `${f.name} (${words[f.likelihood]})`];
  return html`<form class="columns three" onSubmit=${submit}>
    <section class="card" aria-labelledby="images"><h2 id="images">1 · Images</h2>
      <${Choice} label="Learn from" value=${source} onChange=${setSource} options=${sources.map(offered)}
        hint=${of?.about} />
      ${of?.here && html`<${Preview} key=${of.id} source=${of} />`}
      <${Upload} done=${taken} /></section>
    <section class="card" aria-labelledby="model"><h2 id="model">2 · <${Word} is="model">Model<//></h2>
      <${Choice} label="Family" value=${family.name} onChange=${setModel} hint=${family.summary}
        options=${sorted(families, source).map(called)} />
      ${recipes.length > 1 && html`<${Choice} label="Recipe" value=${chosen} onChange=${setRecipe}
        options=${recipes.map(([key]) => [key, key])} hint=${recipes.find(([key]) => key === chosen)[1]} />`}
      <${Check} label="Told the class of each image" hint=${conditionalHint(family, of)} checked=${conditional}
        disabled=${!family.conditional || !hasLabels(of)} onChange=${setConditional} />
      <details><summary>What was published about it</summary>
        <p class="note">${family.paper}. Images: ${family.images}.</p></details></section>
    <section class="card" aria-labelledby="time"><h2 id="time">3 · Time</h2>
      <${Numeric} label="Minutes" value=${minutes} onChange=${setMinutes} min="0.01" step="any"
        hint="Training can be stopped at any time and gone on with later; what it has learned is kept." />
      <${Field} label="Name (if you like)" control=${(id) => html`<input type="text" id=${id} value=${name}
        placeholder=${`${family.name}-${source.replace("upload:", "")}-1`}
        onInput=${(e) => setName(e.currentTarget.value)} />`} />
      <div class="line"><${Act} kind="main" why=${wrong} busy=${start.busy} onClick=${go}>
        ${start.busy ? "Starting …" : "Train"}<//></div>
      <${Problem} error=${start.error} /></section></form>`;
}

const offered = ({ id, kind, here }) => [
  id,
  `${kind === "upload" ? id.replace("upload:", "yours: ") : id}${here ? "" : " (downloads first)"}`,
];

const hasLabels = (source) => !source || source.kind === "named" || source.labels?.length > 0;

function conditionalHint(family, source) {
  if (!family.conditional) return `A ${family.name} draws without a class here.`;
  if (!hasLabels(source)) return "These images carry no classes: sub-folders in the zip would make them.";
  return "Then you can ask for a certain class, as in: draw a 7.";
}

/** Recipes by name with their sentence; for the digits the small network first, that learns in a minute. */
function recipesOf(family, source) {
  const named = Object.entries(family.recipes);
  if (source !== "digits") return named;
  return [["demo", "A small network for images of 8 × 8 pixels: learns in a minute."], ...named];
}

function sorted(families, source) {
  const front = first[source] ?? ["vae"];
  const rank = ({ name }) => (front.includes(name) ? front.indexOf(name) : front.length);
  return [...families].sort((a, b) => rank(a) - rank(b));
}

/** Some of its images, asked for only when they are to be seen. */
function Preview({ source }) {
  const [open, setOpen] = useState(false);
  return html`<details onToggle=${(e) => setOpen(e.currentTarget.open)}><summary>See some of them</summary>
    ${open && html`<img class="pixels sheetlike" src=${`/api/sources/${encodeURIComponent(source.id)}/preview.png`}
      alt=${`Some images of ${source.id}`} />`}</details>`;
}

function Upload({ done }) {
  const upload = useAct(async (file) => {
    const form = new FormData();
    form.append("files", file);
    const made = await send("POST", "/api/sources", form);
    await done(made);
    return made;
  });
  const [made, setMade] = useState(null);
  const take = async (file) => setMade((await upload.run(file)) ?? null);
  const notes = made?.notes?.length ? ` (${made.notes.join("; ")})` : "";
  return html`<h3>Or your own</h3>
    <${Drop} label="Choose a zip of images" accept=".zip,.npz,.npy,image/*" onFile=${take}
      hint="or drop it here. It stays on this machine. Sub-folders in the zip become classes.">
    ${upload.busy && html`<p role="status">Reading it …</p>`}
    ${made && html`<p role="status">Taken: ${made.about}${notes}</p>`}
    <${Problem} error=${upload.error} /><//>`;
}
