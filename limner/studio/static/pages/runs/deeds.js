// What is done to a run: gone on with, deleted.
import { html, useState } from "../../vendor/htm-preact.js";
import { why } from "../../parts/choose.js";
import { send, useAct } from "../../parts/load.js";
import { Act, Ask, Problem } from "../../parts/ui.js";

export function Resume({ run, act }) {
  const [minutes, setMinutes] = useState("1");
  const no = why(run, "resume") || (Number(minutes) > 0 ? "" : "more than 0 minutes");
  const go = () => act.run("resume", { minutes: Number(minutes) });
  return html`<label class="line inline">Go on for <input class="tiny" type="number" min="0.05" step="any"
      value=${minutes} onInput=${(e) => setMinutes(e.currentTarget.value)} /> minutes</label>
    <${Act} busy=${act.busy} why=${no} onClick=${go}>Go on<//>`;
}

export function Delete({ run, path, busy }) {
  const [asked, setAsked] = useState(false);
  const remove = useAct(async () => {
    await send("DELETE", path);
    location.hash = "#/runs";
  });
  const yes = () => {
    setAsked(false);
    remove.run();
  };
  const no = busy ? "stop it first" : why(run, "delete");
  return html`<${Act} kind="bad" why=${no} busy=${remove.busy} onClick=${() => setAsked(true)}>Delete …<//>
    <${Ask} open=${asked} title=${`Delete ${run.run}?`} yes="Delete it for good" onNo=${() => setAsked(false)}
      onYes=${yes}><p>The model, its curves and its images are removed from the disk. This cannot be undone.</p><//>
    <${Problem} error=${remove.error} />`;
}
