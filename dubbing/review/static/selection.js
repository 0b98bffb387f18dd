// Several shots at once: which are selected, and what is said of all of them.

import { keyOf, keyText } from "./api.js";
import { decideMany, undoLast } from "./decisions.js";
import { $, $$, elementOf, setText } from "./dom.js";
import { askReviewer, say, whisper } from "./frame.js";
import { askReasons } from "./reasons.js";
import { askRerun } from "./rerun.js";
import { VERDICT, nameOf, plural } from "./words.js";

/** @import { ApiError } from "./api.js" */
/** @import { Keys } from "./keys.js" */
/** @import { Queue } from "./queue.js" */

/** @type {{ [kind: string]: string }} */
const SAID = { approve: "Approved", reject: "Rejected", original: "Original kept for" };

export class Selection {
  /** @param {Queue} queue */
  constructor(queue) {
    this.queue = queue;
    /** @type {Set<string>} */
    this.keys = new Set();
    this.anchor = -1;
    $("#cards").addEventListener("click", (event) => this.clicked(event), true);
    for (const button of $$("[data-bulk]")) {
      button.addEventListener("click", () => {
        if (button.dataset.bulk === "clear") this.clear();
        else sayOfAll(queue, /** @type {Kind} */ (button.dataset.bulk));
      });
    }
  }

  /** @param {string} key */
  has(key) {
    return this.keys.has(key);
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const card = elementOf(event)?.closest(".card");
    if (!(card instanceof HTMLElement)) return;
    const n = +card.dataset.n;
    const box = elementOf(event).closest(".check") !== null;
    if (!box && !event.shiftKey && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.queue.grid.setFocused(n);
    if (event.shiftKey) this.range(n);
    else this.toggle(n);
  }

  /** @param {number} n */
  toggle(n) {
    const row = this.queue.shown[n];
    if (!row) return;
    const key = keyText(keyOf(row));
    if (!this.keys.delete(key)) this.keys.add(key);
    this.anchor = n;
    this.changed(`${row.shot} ${this.keys.has(key) ? "selected" : "no longer selected"}`);
  }

  /** @param {number} n */
  range(n) {
    const from = this.anchor < 0 ? this.queue.grid.focused : this.anchor;
    for (let m = Math.min(from, n); m <= Math.max(from, n); m++) this.keys.add(keyText(keyOf(this.queue.shown[m])));
    if (this.anchor < 0) this.anchor = from;
    this.changed(`${plural(this.keys.size, "shot")} selected`);
  }

  all() {
    for (const row of this.queue.shown) this.keys.add(keyText(keyOf(row)));
    this.changed(`All ${plural(this.keys.size, "shot")} selected`);
  }

  clear() {
    if (!this.keys.size) return;
    this.keys.clear();
    this.anchor = -1;
    this.changed("Nothing selected");
  }

  /** @param {string} words */
  changed(words) {
    $("#selection").hidden = !this.keys.size;
    setText($("#selected-count"), `${plural(this.keys.size, "shot")} selected`);
    this.queue.grid.refresh();
    whisper(words);
  }

  // The selected shots, or the one in focus.
  /** @returns {Row[]} */
  rows() {
    if (this.keys.size) return [...this.keys].map((k) => this.queue.row(k)).filter(Boolean);
    const row = this.queue.focusedRow();
    return row ? [row] : [];
  }
}

/** @param {Queue} queue @param {Kind} kind */
async function sayOfAll(queue, kind) {
  const rows = queue.selection.rows();
  if (!rows.length) return;
  if (kind === "rerun") {
    await askRerun(rows.map(keyOf), queue.info.generators);
    return;
  }
  const reviewer = await askReviewer();
  if (!reviewer) return;
  const many = rows.length === 1 ? nameOf(keyOf(rows[0])) : plural(rows.length, "shot");
  const reasons = kind === "reject" ? await askReasons(many) : [];
  if (!reasons) return;
  let done = 0;
  let ended = 0;
  await decideMany(rows, kind, { reviewer, reasons }, (row, found, error) => {
    if (found) {
      done += 1;
      if (row.verdict && row.by !== reviewer) ended += 1;
      queue.put(found.row);
    } else if (error.status === 409) {
      if (error.body.row) queue.put(error.body.row);
      conflict(queue, row, kind, error);
    } else say(`${nameOf(keyOf(row))}: ${error.message}`, "bad");
  });
  queue.retell();
  if (done) {
    const of = rows.length === 1 ? many : plural(done, "shot");
    const others = ended ? ` It takes the place of what others had decided on ${plural(ended, "shot")}.` : "";
    say(`${SAID[kind]} ${of}.${others}`, "good", { label: done === 1 ? "Undo" : "Undo the last", do: () => undo(queue) });
    queue.selection.clear();
    if (rows.length === 1) queue.grid.go(queue.grid.focused + 1);
  }
}

/** @param {Queue} queue @param {Row} row @param {Kind} kind @param {ApiError} error */
function conflict(queue, row, kind, error) {
  const now = error.body.row;
  const state = now?.verdict ? `${VERDICT[now.verdict].word} by ${now.by}` : "open again";
  say(`${nameOf(keyOf(row))} is ${state} meanwhile; nothing was changed. ${error.message}`, "bad", {
    label: "Decide all the same",
    do: () => {
      queue.selection.clear();
      queue.selection.keys.add(keyText(keyOf(row)));
      sayOfAll(queue, kind);
    },
  });
}

/** @param {Queue} queue */
async function undo(queue) {
  const reviewer = await askReviewer();
  if (!reviewer) return;
  try {
    const back = await undoLast(reviewer);
    if (!back) {
      say("Nothing that you decided in this tab is left to take back.");
      return;
    }
    queue.put(back.found.row);
    queue.retell();
    say(`Taken back: ${nameOf(back.key)}.`, "good");
  } catch (error) {
    say(error.message, "bad");
  }
}

/** @param {Queue} queue @param {Keys} keys */
export function bulkKeys(queue, keys) {
  const grid = queue.grid;
  const selection = queue.selection;
  /** @param {() => number} by */
  const stretch = (by) => () => {
    if (selection.anchor < 0) selection.toggle(grid.focused);
    grid.go(grid.focused + by());
    selection.range(grid.focused);
  };
  keys.bind("Select",
    ["x", "select the shot, or not", () => selection.toggle(grid.focused)],
    ["Shift+X", "select up to here", () => selection.range(grid.focused)],
    ["Shift+ArrowRight", "select on", stretch(() => 1)],
    ["Shift+ArrowLeft", "select back", stretch(() => -1)],
    ["Shift+ArrowDown", "select a row down", stretch(() => grid.columns)],
    ["Shift+ArrowUp", "select a row up", stretch(() => -grid.columns)],
    ["Shift+A", "select all that are listed", () => selection.all()],
    ["Escape", "select nothing", () => selection.clear()]);
  keys.bind("Decide (the selected shots, else the one in focus)",
    ["a", "approve", () => sayOfAll(queue, "approve")],
    ["r", "reject, with reasons: the original is delivered", () => sayOfAll(queue, "reject")],
    ["o", "leave the original picture", () => sayOfAll(queue, "original")],
    ["g", "render again", () => sayOfAll(queue, "rerun")],
    ["z", "undo", () => undo(queue)]);
}
