// What happens on the server, as it happens: one WebSocket for the whole page.
import { useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { socket } from "./load.js";

const jobs = new Map();
const listeners = new Set();
let connected = false;

function tell(message) {
  if (message.type === "jobs") {
    jobs.clear();
    for (const job of message.jobs) jobs.set(job.id, job);
  } else if (message.type === "job") {
    jobs.set(message.job.id, message.job);
  }
  for (const listener of [...listeners]) listener(message);
}

function connect(wait = 500) {
  if (connected) return;
  connected = true;
  const again = () => {
    connected = false;
    setTimeout(() => connect(Math.min(2 * wait, 15000)), wait);
  };
  const line = socket("/api/events", tell, again);
  line.opened.then(() => (wait = 500));
}

/** `on(message)` is called with each message of /api/events while the component is shown. */
export function useEvents(on) {
  const latest = useRef(on);
  latest.current = on;
  useEffect(() => {
    const listener = (message) => latest.current(message);
    listeners.add(listener);
    connect();
    return () => listeners.delete(listener);
  }, []);
}

/** The studio's jobs, newest first, kept up to date. */
export function useJobs() {
  const [, turn] = useState(0);
  useEvents((message) => {
    if (message.type === "jobs" || message.type === "job") turn((n) => n + 1);
  });
  return [...jobs.values()].sort((a, b) => b.when - a.when);
}

/** A job just begun, known before the server tells of it. */
export function remember(job) {
  if (!jobs.has(job.id)) tell({ type: "job", job });
  return job;
}

export const isOpen = (job) => job && (job.state === "waiting" || job.state === "running");

/** The job that works on a run now, or the last one that did. */
export const jobOf = (all, run, kinds = ["train", "resume"]) =>
  all.find((job) => job.run === run && kinds.includes(job.kind));
