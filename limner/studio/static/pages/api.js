// API: what this page itself asks of the server, for programs of your own. Made from /api/openapi.json.
import { html } from "../vendor/htm-preact.js";
import { get, useLoad } from "../parts/load.js";
import { Page, Problem } from "../parts/ui.js";

export default function Api() {
  const { value, error } = useLoad(() => get("/api/openapi.json"));
  return html`<${Page} title="API" purpose="All that this page does, a program can do too: the same addresses, with JSON.">
    <${Problem} error=${error} />
    ${value && html`<section class="card"><h2>How to begin</h2>${paragraphs(value.info.description)}
        <pre tabindex="0"><code>${`curl ${location.origin}/api/runs
curl -X POST ${location.origin}/api/runs -H "Content-Type: application/json" \\
     -d '{"model": "vae", "source": "digits", "recipe": "demo", "minutes": 0.5}'`}</code></pre>
        <p class="note">Errors are one line: <code>{"error": "…"}</code>. The schema itself: <a href="/api/openapi.json">/api/openapi.json</a>.</p></section>
      ${grouped(value).map(([tag, routes]) => html`<section class="card" key=${tag} aria-labelledby=${`tag-${tag}`}><h2 id=${`tag-${tag}`}>${tag}</h2>
        ${routes.map((route) => html`<${Route} key=${route.method + route.path} route=${route} schemas=${value.components?.schemas ?? {}} />`)}</section>`)}
      ${value["x-websockets"] && html`<section class="card"><h2>WebSockets</h2>${value["x-websockets"].map((one) => html`<details class="route" key=${one.path}>
        <summary><span class="badge method">WS</span> <code>${one.path}</code> <span>${one.summary}</span></summary>
        <p>You send: ${one.sends}</p><p>It answers: ${one.answers}</p></details>`)}</section>`}`}<//>`;
}

const paragraphs = (text = "") => text.split(/\n\s*\n/).filter(Boolean).map((part) => html`<p>${part}</p>`);

/** [[tag, routes]], each route with its path and method. */
function grouped({ paths }) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(paths))
    for (const [method, about] of Object.entries(methods)) {
      const tag = about.tags?.[0] ?? "others";
      groups.set(tag, [...(groups.get(tag) ?? []), { ...about, path, method: method.toUpperCase() }]);
    }
  return [...groups];
}

function Route({ route, schemas }) {
  const bodies = Object.entries(route.requestBody?.content ?? {});
  return html`<details class="route"><summary><span class=${`badge method ${route.method.toLowerCase()}`}>${route.method}</span>
      <code>${route.path}</code> <span>${route.summary}</span></summary>
    ${route.description !== route.summary && paragraphs(route.description)}
    ${route.parameters?.length > 0 && html`<${Fields} title="In the address" rows=${route.parameters.map((p) => [p.name, p.schema, p.required, p.description ?? p.schema?.description])} schemas=${schemas} />`}
    ${bodies.map(([type, { schema }]) => html`<${Body} type=${type} schema=${resolved(schema, schemas)} schemas=${schemas} />`)}
    <p class="note">Answers: ${Object.entries(route.responses ?? {}).map(([code, { description }]) => `${code} ${description}`).join(", ")}</p></details>`;
}

const resolved = (schema, schemas) => (schema?.$ref ? (schemas[schema.$ref.split("/").at(-1)] ?? {}) : (schema ?? {}));

function Body({ type, schema, schemas }) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, of]) => [name, of, schema.required?.includes(name), of.description]);
  if (!rows.length) return html`<p>Body: <code>${type}</code></p>`;
  return html`<${Fields} title=${`Body, ${type}`} rows=${rows} schemas=${schemas} />`;
}

function kind(schema, schemas) {
  const one = resolved(schema, schemas);
  if (one.anyOf) return one.anyOf.map((of) => kind(of, schemas)).filter((text) => text !== "null").join(" or ");
  if (one.enum) return one.enum.map((v) => JSON.stringify(v)).join(" or ");
  if (one.const !== undefined) return JSON.stringify(one.const);
  if (one.type === "array") return `list of ${kind(one.items, schemas)}`;
  return one.type ?? "anything";
}

const Fields = ({ title, rows, schemas }) => html`<div class="scroll" tabindex="0"><table class="plain"><caption>${title}</caption><thead><tr><th scope="col">Name</th><th scope="col">Kind</th>
  <th scope="col">Meaning</th></tr></thead><tbody>${rows.map(([name, schema, required, about]) => html`<tr key=${name}><th scope="row"><code>${name}</code></th>
  <td>${kind(schema, schemas)}${required ? "" : ", if you like"}${schema?.default !== undefined && schema.default !== null ? `; else ${JSON.stringify(schema.default)}` : ""}</td><td>${about ?? ""}</td></tr>`)}</tbody></table></div>`;
