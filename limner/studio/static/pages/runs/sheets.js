// The images that a run drew as it learned, on a slider of time.
import { html, useEffect, useState } from "../../vendor/htm-preact.js";
import { useId } from "../../parts/ui.js";

export function Sheets({ sheets, live }) {
  const [held, setHeld] = useState(null); // the step that is looked at; null follows the newest
  const id = useId("time");
  const last = sheets.length - 1;
  useEffect(() => {
    for (const { url } of sheets) new Image().src = url; // so that the slider shows each at once
  }, [sheets.length]);
  if (last < 0)
    return html`<p class="note">${live ? "The first images come with the first look at how it does."
      : "It has drawn nothing yet."}</p>`;
  const at = held === null ? last : Math.max(0, sheets.findIndex(({ step }) => step === held));
  const { step, url } = sheets[at];
  const move = (event) => {
    const to = Number(event.currentTarget.value);
    setHeld(to === last ? null : sheets[to].step);
  };
  return html`<img class="pixels sheetlike" src=${url} alt=${`Samples after ${step} steps of training`} />
    <div class="field">
      <label for=${id}>After <span class="number">${step}</span> steps${live && at === last && " (now)"}</label>
      <input type="range" id=${id} min="0" max=${last} value=${at} disabled=${last < 1} onInput=${move}
        aria-valuetext=${`after ${step} steps`} />
      <span class="why">${last < 1 ? "One look so far: a second one makes this slider move."
        : "Move it to see the images get sharper."}</span></div>`;
}
