// Reruns and exports that the server is doing: a line each while they run, a word when they end.

import { h, setText } from "./dom.js";
import { say } from "./frame.js";
import { generatorText, nameOf, plural } from "./words.js";

const LINGER_MS = 6000;

/** @typedef {{ line?: HTMLElement, bar?: HTMLProgressElement, words?: HTMLElement, state: Job["state"] | null }} Line */

export class Jobs {
  // onmade(job): a job has ended well
  /** @param {HTMLElement} root @param {(job: Job) => void} [onmade] */
  constructor(root, onmade = () => {}) {
    this.root = root;
    this.onmade = onmade;
    /** @type {Map<number, Line>} */
    this.known = new Map();
    this.first = true;
  }

  /** @param {Job} job */
  words(job) {
    if (job.kind === "export") return "Exporting";
    const what = job.keys?.length === 1 ? nameOf(job.keys[0]) : plural(job.keys?.length ?? 0, "shot");
    return `Rendering ${what} with ${generatorText(job.generator)}`;
  }

  /** @param {Job[]} jobs */
  update(jobs) {
    for (const job of jobs) {
      const old = this.known.get(job.id);
      const ended = job.state === "done" || job.state === "failed";
      if (!old && this.first && ended) {
        this.known.set(job.id, { state: job.state });
        continue;
      }
      const shown = old ?? this.make(job);
      this.known.set(job.id, shown);
      if (shown.state === job.state && ended) continue;
      if (shown.line) this.write(shown, job);
      if (ended && shown.state !== job.state) this.ended(job, shown);
      shown.state = job.state;
    }
    this.first = false;
    this.root.hidden = !this.root.children.length;
  }

  /** @param {Job} job @returns {Line} */
  make(job) {
    const bar = h("progress", { max: 1, value: 0, "aria-label": this.words(job) });
    const words = h("span.job-words");
    const line = h("div.job", {}, words, bar);
    this.root.append(line);
    return { line, bar, words, state: null };
  }

  /** @param {Line} line @param {Job} job */
  write({ bar, words }, job) {
    if (job.state === "waiting") bar.removeAttribute("value");
    else bar.value = job.progress ?? 0;
    const state = { waiting: "waiting", running: `${Math.round(100 * (job.progress ?? 0))} %`, done: "done", failed: "failed" }[job.state];
    const message = job.message.replace(/^\d+ ?% */, ""); // said already
    setText(words, `${this.words(job)} · ${state}${message ? ` · ${message}` : ""}`);
  }

  /** @param {Job} job @param {Line} shown */
  ended(job, shown) {
    if (job.state === "failed") say(`${this.words(job)} failed: ${job.message || "no reason given"}`, "bad");
    else this.onmade(job);
    setTimeout(() => {
      shown.line?.remove();
      this.root.hidden = !this.root.children.length;
    }, LINGER_MS);
  }
}
