// Reruns and exports that the server is doing: a line each while they run, a word when they end.

import { post } from "./api.js";
import { h, icon, setText } from "./dom.js";
import { askReviewer, say } from "./frame.js";
import { generatorText, nameOf, plural } from "./words.js";

const LINGER_MS = 6000;
const ENDED = ["done", "failed", "cancelled"];

/** @typedef {{ line?: HTMLElement, bar?: HTMLProgressElement, words?: HTMLElement, cancel?: HTMLButtonElement, state: Job["state"] | null }} Line */

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
    const what = job.shots === 1 ? nameOf(job.first) : plural(job.shots, "shot");
    return `Rendering ${what} with ${generatorText(job.generator)}`;
  }

  /** @param {Job[]} jobs */
  update(jobs) {
    for (const [id, { line, state }] of this.known) {
      if (jobs.some((job) => job.id === id) || ENDED.includes(state ?? "")) continue;
      line?.remove(); // of another shot than the one that is shown now
      this.known.delete(id);
    }
    for (const job of jobs) this.one(job);
    this.first = false;
    this.root.hidden = !this.root.children.length;
  }

  /** @param {Job} job */
  one(job) {
    const old = this.known.get(job.id);
    const ended = ENDED.includes(job.state);
    if (!old && this.first && ended) {
      this.known.set(job.id, { state: job.state });
      return;
    }
    if (old && ENDED.includes(old.state)) return;
    const shown = old ?? this.make(job);
    this.known.set(job.id, shown);
    if (shown.line) this.write(shown, job);
    if (ended) this.ended(job, shown);
    shown.state = job.state;
  }

  /** @param {Job} job @returns {Line} */
  make(job) {
    const bar = h("progress", { max: 1, value: 0, "aria-label": this.words(job) });
    const words = h("span.job-words");
    const cancel = h("button.bare.small", { type: "button", title: "Cancel; takes that are finished are kept",
      "aria-label": `Cancel: ${this.words(job)}` }, icon("reject"));
    cancel.addEventListener("click", () => this.cancel(job, cancel));
    const line = h("div.job", {}, words, cancel, bar);
    this.root.append(line);
    return { line, bar, words, cancel, state: null };
  }

  /** @param {Job} job @param {HTMLButtonElement} button */
  async cancel(job, button) {
    const reviewer = await askReviewer();
    if (!reviewer) return;
    button.disabled = true;
    try {
      const now = await post("/api/cancel", { id: job.id, reviewer });
      this.one(now);
    } catch (error) {
      button.disabled = false;
      say(error.message, "bad");
    }
  }

  /** @param {Line} line @param {Job} job */
  write({ bar, words }, job) {
    if (job.state === "waiting") bar.removeAttribute("value");
    else bar.value = job.progress ?? 0;
    const state = { waiting: "waiting", running: `${Math.round(100 * (job.progress ?? 0))} %`, done: "done", failed: "failed", cancelled: "cancelled" }[job.state];
    const message = job.message.replace(/^\d+ ?% */, ""); // said already
    setText(words, `${this.words(job)} · ${state}${message ? ` · ${message}` : ""}`);
  }

  /** @param {Job} job @param {Line} shown */
  ended(job, shown) {
    if (job.state === "failed") say(`${this.words(job)} failed: ${job.message || "no reason given"}`, "bad");
    else if (job.state === "done") this.onmade(job);
    shown.cancel?.remove();
    setTimeout(() => {
      shown.line?.remove();
      this.root.hidden = !this.root.children.length;
    }, LINGER_MS);
  }
}
