// The frame: which page an address shows, the bar with their names, light and dark.
import { Component, html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { Problem } from "./parts/ui.js";

const PAGES = [
  ["runs", "Runs"],
  ["sample", "Sample"],
  ["walk", "Walk"],
  ["paint", "Paint"],
  ["judge", "Judge"],
  ["learn", "Learn"],
  ["api", "API"],
];
const THEMES = { auto: "as the system", light: "light", dark: "dark" };

/** "#/walk/my-run?seed=3" as {page: "walk", rest: ["my-run"], query: {seed: "3"}}. */
function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/").map(decodeURIComponent);
  return { page: page || "runs", rest, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** A page is fetched when it is first shown; a fault in one leaves the bar standing. */
class Shown extends Component {
  componentDidCatch(fault) {
    console.error(fault);
    this.setState({ fault });
  }

  render({ at }, { fault, View, of, missing }) {
    if (fault || missing) return html`<${Problem} error=${fault?.message ?? `There is no page “${at.page}”.`} />`;
    if (of !== at.page) return html`<p class="note">…</p>`;
    return html`<${View} key=${location.hash} rest=${at.rest} query=${at.query} />`;
  }

  componentDidMount() {
    this.fetch();
  }

  componentDidUpdate(before) {
    if (before.at.page !== this.props.at.page) this.fetch();
  }

  async fetch() {
    const { page } = this.props.at;
    if (!PAGES.some(([name]) => name === page)) return this.setState({ missing: true });
    const View = (await import(`./pages/${page}.js`)).default;
    return this.setState({ View: View, of: page, fault: null, missing: false });
  }
}

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "auto");
  const next = { auto: "light", light: "dark", dark: "auto" }[theme];
  const change = () => {
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("limner-theme", next);
    } catch {
      // it is forgotten with the page, then
    }
    setTheme(next);
    window.dispatchEvent(new Event("limner-theme"));
  };
  return html`<button type="button" class="quiet" onClick=${change} title=${`Colours: ${THEMES[theme]}; press for
    ${THEMES[next]}`} aria-label=${`Colours: ${THEMES[theme]}. Change to ${THEMES[next]}`}>
    <span aria-hidden="true">${{ auto: "◐", light: "☀", dark: "☾" }[theme]}</span></button>`;
}

function App() {
  const [at, setAt] = useState(route());
  const main = useRef(null);
  useEffect(() => {
    const moved = () => {
      setAt(route());
      window.scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    };
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  const skip = (event) => {
    event.preventDefault();
    main.current.focus();
  };
  return html`<a class="skip" href="#content" onClick=${skip}>To the content</a>
    <header class="bar"><div>
      <a class="brand" href="#/runs"><img src="/static/icon.svg" alt="" />limner studio</a>
      <nav aria-label="Pages"><ul>${PAGES.map(([name, text]) => html`<li key=${name}><a href=${`#/${name}`}
        aria-current=${at.page === name ? "page" : undefined}>${text}</a></li>`)}</ul></nav>
      <span class="theme"><${Theme} /></span>
    </div></header>
    <main id="content" tabindex="-1" ref=${main}><${Shown} at=${at} /></main>`;
}

const place = document.getElementById("app");
place.replaceChildren(); // the line that stood there while this file was fetched
render(html`<${App} />`, place);
