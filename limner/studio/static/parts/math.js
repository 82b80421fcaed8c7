// Equations: the few words of TeX that this page needs, as MathML that the browser draws and a screen reader reads.
import { html, useEffect, useRef } from "../vendor/htm-preact.js";

const GREEK = { theta: "θ", mu: "μ", pi: "π", sigma: "σ", phi: "φ" };
const SIGNS = { mid: "|", sim: "∼", ge: "≥", odot: "⊙", ast: "∗", dots: "…", to: "→" };
const NAMES = new Set(["ln", "tanh", "min", "max"]);
const LARGE = { prod: "∏", sum: "∑", int: "∫" };
const APPLIED = '<mo>&#x2061;</mo><mspace width="0.15em"></mspace>';
const UNDER = new Set(["min", "max", "prod", "sum"]);
const ESCAPES = { "<": "&lt;", ">": "&gt;", "&": "&amp;" };
const safe = (text) => text.replace(/[<>&]/g, (c) => ESCAPES[c]);

const tokens = (tex) => tex.match(/\\[a-zA-Z]+|\\.|[{}^_]|\d+(?:\.\d+)?|[^\s]/gu) ?? [];

/** Reads tokens one after the other; each method gives MathML text. */
class Reader {
  constructor(tex) {
    this.rest = tokens(tex);
  }

  row(end) {
    let out = "";
    while (this.rest.length && this.rest[0] !== end) out += this.scripted();
    if (end) this.rest.shift();
    return out;
  }

  scripted() {
    const under = UNDER.has(this.rest[0].slice(1));
    const base = this.atom();
    let [sub, sup] = ["", ""];
    while (this.rest[0] === "_" || this.rest[0] === "^") {
      if (this.rest.shift() === "_") sub = this.atom();
      else sup = this.atom();
    }
    const [both, low, high] = under ? ["munderover", "munder", "mover"] : ["msubsup", "msub", "msup"];
    if (sub && sup) return `<${both}>${base}${sub}${sup}</${both}>`;
    if (sub) return `<${low}>${base}${sub}</${low}>`;
    return sup ? `<${high}>${base}${sup}</${high}>` : base;
  }

  /** The raw text of the group that comes next. */
  raw() {
    this.rest.shift();
    let out = "";
    while (this.rest[0] !== "}") out += this.rest.shift().replace("~", " ");
    this.rest.shift();
    return out;
  }

  atom() {
    const token = this.rest.shift();
    if (token === "{") return `<mrow>${this.row("}")}</mrow>`;
    if (/^\d/.test(token)) return `<mn>${token}</mn>`;
    if (/^\p{L}$/u.test(token)) return `<mi>${token}</mi>`;
    if (token === "~") return '<mspace width="0.6em"></mspace>';
    if (!token.startsWith("\\")) return `<mo>${safe(token === "-" ? "−" : token)}</mo>`;
    const word = token.slice(1);
    if (word === "frac") return `<mfrac>${this.atom()}${this.atom()}</mfrac>`;
    if (word === "hat") return `<mover accent="true">${this.atom()}<mo stretchy="false">^</mo></mover>`;
    if (word === "text") return `<mtext>${safe(this.raw())}</mtext>`;
    if (word === "E") return "<mi>𝔼</mi>";
    if (word === "N") return "<mi>𝒩</mi>";
    if (word === ",") return '<mspace width="0.22em"></mspace>';
    if (LARGE[word]) return `<mo movablelimits="false" mathsize="1.35em">${LARGE[word]}</mo>`;
    if (NAMES.has(word)) return `<mi>${word}</mi>${UNDER.has(word) ? "" : APPLIED}`;
    if (GREEK[word]) return `<mi>${GREEK[word]}</mi>`;
    if (word === "parallel") return '<mo stretchy="false" lspace="0.15em" rspace="0.15em">‖</mo>';
    if (SIGNS[word]) return `<mo>${SIGNS[word]}</mo>`;
    throw new Error(`no such word in an equation: ${token}`);
  }
}

/** MathML text of an equation. */
export const mathml = (tex, display) => `<math display="${display}"><mrow>${new Reader(tex).row()}</mrow></math>`;

const drawn = (tex, display) => ({ __html: mathml(tex, display) });

/** An equation on a line of its own; where it is wider than the page, the keyboard can scroll it too. */
export function Equation({ tex }) {
  const line = useRef(null);
  useEffect(() => {
    const fits = new ResizeObserver(([{ target }]) => {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    });
    fits.observe(line.current);
    return () => fits.disconnect();
  }, []);
  return html`<div class="equation-line" ref=${line} dangerouslySetInnerHTML=${drawn(tex, "block")}></div>`;
}

/** Mathematics within a sentence. */
export const Maths = ({ tex }) => html`<span dangerouslySetInnerHTML=${drawn(tex, "inline")}></span>`;
