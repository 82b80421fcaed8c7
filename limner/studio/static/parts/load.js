// What pages ask of the server, and how an answer or a refusal reaches them.
import { useCallback, useEffect, useRef, useState } from "../vendor/htm-preact.js";

/** An error in the server's own words: one line that says what is wrong and what to do. */
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function refusal(answer) {
  let words = "";
  try {
    words = (await answer.json()).error ?? "";
  } catch {
    // not one of the server's own answers
  }
  const later = answer.headers.get("Retry-After");
  if (later && !words) words = `The studio is busy: try again in ${later} seconds.`;
  return new Refused(words || `The studio answered ${answer.status} ${answer.statusText}.`, answer.status);
}

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The studio does not answer: does `limner studio` still run in its terminal?");
  }
  if (!answer.ok) throw await refusal(answer);
  return answer;
}

export const get = async (path, options) => (await request(path, options)).json();
export const getBlob = async (path, options) => (await request(path, options)).blob();

/** Send JSON, or a FormData or Blob as it is; gives the answer's JSON (null where there is none). */
export async function send(method, path, body) {
  const raw = body instanceof FormData || body instanceof Blob;
  const options = { method };
  if (body !== undefined) options.body = raw ? body : JSON.stringify(body);
  if (body !== undefined && !raw) options.headers = { "Content-Type": "application/json" };
  const answer = await request(path, options);
  return answer.status === 204 ? null : answer.json();
}

/** A WebSocket to `path`; `on(message)` gets JSON objects and ArrayBuffers, `closed(reason)` is called once. */
export function socket(path, on, closed = () => {}) {
  const made = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
  made.binaryType = "arraybuffer";
  let done = false;
  const finish = (reason) => {
    if (!done) closed(reason);
    done = true;
  };
  made.onmessage = ({ data }) => on(typeof data === "string" ? JSON.parse(data) : data);
  made.onclose = ({ code, reason }) =>
    finish(code === 1000 || code === 1005 ? "" : reason || "The studio broke off the connection.");
  return {
    send: (message) => made.send(JSON.stringify(message)),
    opened: new Promise((resolve) => (made.onopen = resolve)),
    close: () => {
      done = true;
      if (made.readyState === WebSocket.CONNECTING) made.onopen = () => made.close();
      else made.close();
    },
    get open() {
      return made.readyState === WebSocket.OPEN;
    },
  };
}

/** {value, error, again}: what `load()` gave last; asked again when `key` changes, and every `every` ms where given. */
export function useLoad(load, key = "", every = 0) {
  const [state, setState] = useState({ value: null, error: null });
  const latest = useRef(0);
  const again = useCallback(async () => {
    const turn = ++latest.current;
    try {
      const value = await load();
      if (turn === latest.current) setState({ value, error: null });
    } catch (error) {
      if (turn === latest.current && error.name !== "AbortError") setState((old) => ({ value: old.value, error }));
    }
  }, [key]);
  useEffect(() => {
    setState({ value: null, error: null });
    again();
    const timer = every ? setInterval(() => document.hidden || again(), every) : 0;
    return () => {
      clearInterval(timer);
      latest.current++;
    };
  }, [again, every]);
  return { ...state, again };
}

/** {busy, error, run}: `run(...)` does `work(...)` once at a time and keeps what it was refused with. */
export function useAct(work) {
  const [state, setState] = useState({ busy: false, error: null });
  const run = async (...given) => {
    setState({ busy: true, error: null });
    try {
      const value = await work(...given);
      setState({ busy: false, error: null });
      return value;
    } catch (error) {
      setState({ busy: false, error: error.name === "AbortError" ? null : error });
      return undefined;
    }
  };
  return { ...state, run };
}
