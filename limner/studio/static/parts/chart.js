// Curves: uPlot in the page's colours, and the same numbers as a table for who does not see them.
import uPlot from "../vendor/uplot.js";
import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { figure } from "./ui.js";

const COLOURS = ["--accent", "--second", "--good", "--bad", "--soft"];

function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Several courses [[x, y], ...] over one x-axis, as uPlot wants them: a gap where a course has no point. */
function aligned(series) {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const at = new Map(xs.map((x, i) => [x, i]));
  return [
    xs,
    ...series.map(({ points }) => {
      const ys = new Array(xs.length).fill(undefined);
      for (const [x, y] of points) ys[at.get(x)] = y;
      return ys;
    }),
  ];
}

/** The range of the values after the first tenth: the steep fall at the start would flatten all that follows. */
function later({ data: [xs, ...ys] }, low, high) {
  const from = xs[0] + 0.1 * (xs.at(-1) - xs[0]);
  const seen = ys.flatMap((values) => values.filter((y, i) => Number.isFinite(y) && xs[i] >= from));
  const [bottom, top] = seen.length > 4 ? [Math.min(...seen), Math.max(...seen)] : [low ?? 0, high ?? 1];
  const room = 0.08 * (top - bottom) || Math.abs(0.1 * top) || 1;
  return [bottom - room, top + room];
}

function options(series, x, width, height) {
  const soft = colour("--soft"), line = colour("--line");
  const thin = { stroke: line, width: 1 };
  const axis = { stroke: soft, grid: thin, ticks: thin, font: "12px system-ui" };
  return {
    width,
    height,
    scales: { x: { time: false }, y: { range: later } },
    axes: [{ ...axis, label: x, labelFont: "12px system-ui", labelSize: 16, size: 30 }, { ...axis, size: 58 }],
    series: [
      { label: x },
      ...series.map(({ name, dots }, i) => ({
        label: name,
        stroke: colour(COLOURS[i % COLOURS.length]),
        dash: i === 1 ? [6, 3] : undefined,
        width: 1.75,
        spanGaps: true,
        points: { show: Boolean(dots), size: 5 },
        value: (_, v) => figure(v),
      })),
    ],
    cursor: { drag: { x: false, y: false } },
  };
}

/** Where no pointer asks, the legend says how things stand now; said after uPlot's own turn, which empties it. */
function latest(plot) {
  const last = () => plot.data.map((ys) => ys.findLastIndex((y) => y !== undefined));
  queueMicrotask(() => plot.status && plot.setLegend({ idxs: last() }));
}

const last = (points) => (points.length ? points[points.length - 1] : null);

/** `series`: [{name, points: [[x, y], ...], dots}]. */
export function Chart({ title, series, x = "step", height = 220 }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [theme, turn] = useState(0);
  const shown = series.filter(({ points }) => points?.length);
  const names = shown.map(({ name }) => name).join("|");
  useEffect(() => {
    const changed = () => turn((n) => n + 1);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    window.addEventListener("limner-theme", changed);
    dark.addEventListener("change", changed);
    return () => {
      window.removeEventListener("limner-theme", changed);
      dark.removeEventListener("change", changed);
    };
  }, []);
  useEffect(() => {
    if (!names) return undefined;
    plot.current = new uPlot(options(shown, x, box.current.clientWidth, height), aligned(shown), box.current);
    plot.current.over.addEventListener("mouseleave", () => latest(plot.current));
    const sized = new ResizeObserver(([entry]) => {
      plot.current?.setSize({ width: entry.contentRect.width, height });
      if (plot.current) latest(plot.current);
    });
    sized.observe(box.current);
    return () => {
      sized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [names, theme, height]);
  useEffect(() => {
    if (!plot.current) return;
    plot.current.setData(aligned(shown));
    latest(plot.current);
  });
  if (!names) return html`<p class="note">${title}: no numbers yet.</p>`;
  const words = shown.map(({ name, points }) => `${name} ${figure(last(points)[1])} at ${x} ${last(points)[0]}`);
  return html`<figure class="chart"><figcaption>${title}</figcaption>
    <div ref=${box} role="img" aria-label=${`${title}: ${words.join(", ")}`}></div>
    <details><summary>as a table<span class="unseen">: ${title}</span></summary>
      <${Table} series=${shown} x=${x} /></details></figure>`;
}

function Table({ series, x }) {
  const [xs, ...ys] = aligned(series);
  const every = Math.max(1, Math.ceil(xs.length / 20));
  const rows = xs.map((_, i) => i).filter((i) => i % every === 0 || i === xs.length - 1);
  return html`<div class="scroll" tabindex="0"><table class="plain"><thead><tr><th scope="col">${x}</th>
    ${series.map(({ name }) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>
    ${rows.map((i) => html`<tr><th scope="row">${xs[i]}</th>${ys.map((y) => html`<td>${figure(y[i])}</td>`)}</tr>`)}
    </tbody></table></div>`;
}
