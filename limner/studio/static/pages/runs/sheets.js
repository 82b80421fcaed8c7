// The images that a run drew as it learned, on a slider of time.
import { html, useEffect, useState } from "../../vendor/htm-preact.js";
import { useId } from "../../parts/ui.js";

export function Sheets({ run, live }) {
  const sheets = run.sheets ?? [];
  const [held, setHeld] = useState(null); // the step that is looked at; null follows the newest
  const id = useId("time");
  useEffect(() => {
    for (const { url } of sheets) new Image().src = url; // so that the slider shows each at once
  }, [sheets.length]);
  if (!sheets.length) return html`<p class="note">${live ? "The first images come with the first look at how it does." : "It has drawn nothing yet."}</p>`;
  const at = held === null ? sheets.length - 1 : Math.max(0, sheets.findIndex(({ step }) => step === held));
  const { step, url } = sheets[at];
  const move = (event) => {
    const to = Number(event.currentTarget.value);
    setHeld(to === sheets.length - 1 ? null : sheets[to].step);
  };
  return html`<img class="pixels sheetlike" src=${url} alt=${`Samples after ${step} steps of training`} />
    <div class="field"><label for=${id}>After <span class="number">${step}</span> steps${at === sheets.length - 1 && live ? " (now)" : ""}</label>
    <input type="range" id=${id} min="0" max=${sheets.length - 1} value=${at} disabled=${sheets.length < 2} onInput=${move}
      aria-valuetext=${`after ${step} steps`} />
    <span class="why">${sheets.length < 2 ? "One look so far: a second one makes this slider move." : "Move it to see the images get sharper."}</span></div>`;
}
