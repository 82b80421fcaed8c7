// A PNG that the studio made tells how it was made: dropped here, everything is set as it was.
import { html, useState } from "../../vendor/htm-preact.js";
import { send, useAct } from "../../parts/load.js";
import { Drop, Problem } from "../../parts/ui.js";

let restored = { words: "", count: 0 }; // the last PNG that was dropped

export function Restore({ query }) {
  const [found, setFound] = useState(null);
  const read = useAct(async (file) => {
    setFound(null);
    const answer = await send("POST", "/api/read-png", new Blob([file], { type: "image/png" }));
    setFound(answer);
    const { settings, run_here: here } = answer;
    if (!here || settings.kind === "completion") return;
    restored = { words: answer.words, count: restored.count + 1 };
    const as = new URLSearchParams({
      n: settings.n,
      seed: settings.seed,
      means: String(Boolean(settings.means)),
      restored: restored.count, // so that the page begins anew even where nothing else changes
    });
    if (settings.label !== undefined && settings.label !== null) as.set("label", settings.label);
    location.hash = `#/sample/${encodeURIComponent(settings.run)}?${as}`;
  });
  const [words] = useState(query.restored === String(restored.count) ? restored.words : "");
  return html`<div class="restore"><${Drop} label="Choose a PNG that was saved here" accept="image/png"
      onFile=${read.run} hint="or drop it: run, seed and settings are in the file, and are set as they were.">
    <p role="status">${found?.words ?? words}</p><${Problem} error=${read.error} /><//></div>`;
}
