// The small parts that every page uses.
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { WORDS } from "./words.js";

let made = 0;
/** A name for an element that no other element has. */
export function useId(prefix = "e") {
  const id = useRef("");
  if (!id.current) id.current = `${prefix}${++made}`;
  return id.current;
}

/** A page: its name, one plain sentence what it is for, and its content. */
export function Page({ title, purpose, children, beside }) {
  useEffect(() => {
    document.title = `${title} · limner studio`;
  }, [title]);
  return html`<div class="line spread top"><h1>${title}</h1>${beside}</div>
    <p class="purpose">${purpose}</p>
    ${children}`;
}

export const Problem = ({ error }) => error && html`<p class="problem" role="alert">${error.message ?? error}</p>`;

/**
 * A button that says why it cannot be pressed where `why` is given. While it is `busy` it only takes no presses: one
 * that is disabled loses the keyboard's focus, and with it the place of who steps by the keyboard.
 */
export function Act({ children, onClick, why = "", kind = "", busy = false, ...rest }) {
  const id = useId("why");
  return html`<span><button type="button" ...${rest} class=${kind} disabled=${Boolean(why)} title=${why || rest.title}
      aria-disabled=${busy ? "true" : undefined} aria-describedby=${why ? id : undefined}
      onClick=${busy ? undefined : onClick}>${children}</button>
    ${why && html`<span class="why" id=${id}>${why}</span>`}</span>`;
}

/** A word of the field, underlined with dots; pressed, it shows one plain sentence. */
export function Word({ is, children }) {
  const id = useId("word");
  return html`<button type="button" class="word" popovertarget=${id}>${children ?? is}</button><span
    class="word-text" id=${id} popover="auto">${WORDS[is]}</span>`;
}

/** A labelled control: `control(id)` gives the control itself, `hint` one line below it. */
export function Field({ label, hint, control }) {
  const id = useId("field");
  return html`<div class="field"><label for=${id}>${label}</label>${control(id, hint ? `${id}-hint` : undefined)}
    ${hint && html`<span class="why" id=${`${id}-hint`}>${hint}</span>`}</div>`;
}

/** A box to tick, its label beside it. */
export function Check({ label, hint, checked, onChange, disabled }) {
  const id = useId("check");
  const hinted = hint ? `${id}-hint` : undefined;
  return html`<div class="field check"><input type="checkbox" id=${id} aria-describedby=${hinted} checked=${checked}
      disabled=${disabled} onChange=${(e) => onChange(e.currentTarget.checked)} />
    <label for=${id}>${label}</label>${hint && html`<span class="why" id=${hinted}>${hint}</span>`}</div>`;
}

export const Choice = ({ label, hint, value, options, onChange, ...rest }) =>
  html`<${Field} label=${label} hint=${hint} control=${(id, hinted) => html`<select id=${id} aria-describedby=${hinted}
    value=${value} onChange=${(e) => onChange(e.currentTarget.value)} ...${rest}>
    ${options.map(([key, text, off]) => html`<option key=${key} value=${key} selected=${String(key) === String(value)}
      disabled=${off}>${text}</option>`)}</select>`} />`;

export const Numeric = ({ label, hint, value, onChange, ...rest }) =>
  html`<${Field} label=${label} hint=${hint} control=${(id, hinted) => html`<input type="number" id=${id}
    aria-describedby=${hinted} value=${value} onInput=${(e) => onChange(e.currentTarget.value)} ...${rest} />`} />`;

/** An image of few pixels, large enough to see each of them. */
export const Picture = ({ src, alt, ...rest }) => html`<img class="pixels" src=${src} alt=${alt} ...${rest} />`;

/** Where a file can be dropped or chosen; `onFile(file)` gets the first one. */
export function Drop({ label, hint, accept, onFile, children }) {
  const id = useId("file");
  const [over, setOver] = useState(false);
  const dropped = (event) => {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer?.files?.[0];
    if (file) onFile(file);
  };
  const chosen = ({ currentTarget: input }) => {
    if (input.files[0]) onFile(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  };
  const hold = (event) => {
    event.preventDefault();
    setOver(true);
  };
  return html`<div class=${over ? "drop over" : "drop"} onDragOver=${hold} onDragLeave=${() => setOver(false)}
      onDrop=${dropped}>
    <p><label for=${id}>${label}</label></p>
    <input type="file" id=${id} accept=${accept} aria-describedby=${hint ? `${id}-hint` : undefined}
      onChange=${chosen} />
    ${hint && html`<p class="note" id=${`${id}-hint`}>${hint}</p>`}${children}</div>`;
}

/** A question before something that cannot be undone; `onYes` does it. */
export function Ask({ open, title, children, yes, onYes, onNo }) {
  const box = useRef(null);
  const id = useId("ask");
  useEffect(() => {
    if (open && !box.current.open) box.current.showModal();
    if (!open && box.current.open) box.current.close();
  }, [open]);
  return html`<dialog ref=${box} aria-labelledby=${id} onClose=${onNo}>
    <h2 id=${id}>${title}</h2>${children}
    <div class="line"><button type="button" class="bad" onClick=${onYes}>${yes}</button>
    <button type="button" onClick=${onNo} autofocus>Keep it</button></div></dialog>`;
}

/** What a screen reader says when it changes. */
export const Aloud = ({ children, shown = true }) =>
  html`<p class=${shown ? "note" : "unseen"} role="status" aria-live="polite">${children}</p>`;

/** A course of numbers as a small line. */
export function Sparkline({ values, label }) {
  const known = (values ?? []).filter(Number.isFinite);
  if (known.length < 2) return html`<span class="note">no curve yet</span>`;
  const low = Math.min(...known), high = Math.max(...known), span = high - low || 1;
  const points = known.map((v, i) => `${(100 * i) / (known.length - 1)},${28 - (26 * (v - low)) / span - 1}`);
  return html`<svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label=${label}>
    <polyline points=${points.join(" ")} fill="none" stroke="currentColor" stroke-width="1.6"
      vector-effect="non-scaling-stroke" stroke-linejoin="round" /></svg>`;
}

export const figure = (value, digits = 4) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : String(Number(value.toPrecision(digits)));

/** How long something took. */
export const took = (seconds) => (seconds < 1 ? `${Math.round(1000 * seconds)} ms` : duration(seconds));

/** Seconds in words of a person: "40 s", "3 min", "2 h 10 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
