// API: what this page itself asks of the server, for programs of your own. Made from /api/openapi.json.
import { html } from "../vendor/htm-preact.js";
import { get, useLoad } from "../parts/load.js";
import { Page, Problem } from "../parts/ui.js";

export default function Api() {
  const { value, error } = useLoad(() => get("/api/openapi.json"));
  return html`<${Page} title="API"
      purpose="All that this page does, a program can do too: the same addresses, with JSON.">
    <${Problem} error=${error} />${value && html`<${Described} schema=${value} />`}<//>`;
}

function Described({ schema }) {
  const schemas = schema.components?.schemas ?? {};
  return html`<${Begin} info=${schema.info} />
    ${grouped(schema).map(([tag, routes]) => html`<section class="card" key=${tag} aria-labelledby=${`tag-${tag}`}>
      <h2 id=${`tag-${tag}`}>${tag}</h2>
      ${routes.map((route) => html`<${Route} key=${route.method + route.path} route=${route} schemas=${schemas} />`)}
    </section>`)}`;
}

function Begin({ info }) {
  const example = `curl ${location.origin}/api/runs
curl -X POST ${location.origin}/api/runs -H "Content-Type: application/json" \\
     -d '{"model": "vae", "source": "digits", "recipe": "demo", "minutes": 0.5}'`;
  const error = '{"error": "…"}';
  return html`<section class="card"><h2>How to begin</h2>${paragraphs(info.description)}
    <pre tabindex="0"><code>${example}</code></pre>
    <p class="note">Errors are one line: <code>${error}</code>. A full queue answers 429, a busy studio 503, both with
      ${" "}<code>Retry-After</code>. The schema itself: <a href="/api/openapi.json">/api/openapi.json</a>.</p>
  </section>`;
}

/** Text in which `names` stand between backticks. */
const spoken = (text = "") => text.split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
const paragraphs = (text = "") => text.split(/\n\s*\n/).filter(Boolean).map((part) => html`<p>${spoken(part)}</p>`);

/** [[tag, routes]], each route with its path and method; WebSockets among those of their tag. */
function grouped({ paths, "x-websockets": sockets = [] }) {
  const routes = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, about]) => ({ ...about, path, method: method.toUpperCase() })),
  );
  const groups = new Map();
  const add = (tag = "others", route) => groups.set(tag, [...(groups.get(tag) ?? []), route]);
  for (const route of routes) add(route.tags?.[0], route);
  for (const socket of sockets) add(socket.tag, { ...socket, method: "WS" });
  return [...groups];
}

function Route({ route, schemas }) {
  const { method, path, summary, description, parameters = [], requestBody, sends, answers, responses = {} } = route;
  const given = parameters.map((p) => [p.name, p.schema, p.required, p.description ?? p.schema?.description]);
  const said = Object.entries(responses).map(([code, { description: text }]) => `${code} ${text}`);
  return html`<details class="route"><summary><span class=${`badge method ${method.toLowerCase()}`}>${method}</span>
      <code>${path}</code> <span>${spoken(summary)}</span></summary>
    ${description !== summary && paragraphs(description)}
    ${given.length > 0 && html`<${Fields} title="In the address" rows=${given} schemas=${schemas} />`}
    ${Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) => html`<${Body} key=${type} type=${type}
      schema=${resolved(schema, schemas)} schemas=${schemas} />`)}
    ${sends && html`<p>You send: <code>${sends}</code></p><p>It answers: <code>${answers}</code></p>`}
    ${said.length > 0 && html`<p class="note">Answers: ${said.join(", ")}</p>`}</details>`;
}

const resolved = (schema, schemas) =>
  schema?.$ref ? (schemas[schema.$ref.split("/").at(-1)] ?? {}) : (schema ?? {});

function Body({ type, schema, schemas }) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, of]) => [
    name,
    of,
    schema.required?.includes(name),
    of.description,
  ]);
  if (!rows.length) return html`<p>Body: <code>${type}</code></p>`;
  return html`<${Fields} title=${`Body, ${type}`} rows=${rows} schemas=${schemas} />`;
}

/** A schema's type in words. */
function kind(schema, schemas) {
  const one = resolved(schema, schemas);
  if (one.anyOf) {
    const kinds = new Set(one.anyOf.map((of) => kind(of, schemas)));
    return [...kinds].filter((text) => text !== "null").join(" or ");
  }
  if (one.enum) return one.enum.map((v) => JSON.stringify(v)).join(" or ");
  if (one.const !== undefined) return JSON.stringify(one.const);
  if (one.type === "array") return `list of ${kind(one.items, schemas)}`;
  return one.type ?? "anything";
}

function Fields({ title, rows, schemas }) {
  const otherwise = (schema) => (schema?.default ?? null) !== null && `; else ${JSON.stringify(schema.default)}`;
  const told = rows.some(([, , , about]) => about);
  const row = ([name, schema, required, about]) => html`<tr key=${name}><th scope="row"><code>${name}</code></th>
    <td>${kind(schema, schemas)}${required ? "" : ", if you like"}${otherwise(schema)}</td>
    ${told && html`<td>${spoken(about)}</td>`}</tr>`;
  return html`<div class="scroll" tabindex="0"><table class="plain"><caption>${title}</caption>
    <thead><tr><th scope="col">Name</th><th scope="col">Kind</th>
      ${told && html`<th scope="col">Meaning</th>`}</tr></thead>
    <tbody>${rows.map(row)}</tbody></table></div>`;
}
