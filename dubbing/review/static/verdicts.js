// What is decided on the shot page: verdicts, takes, comments, undo; and what happens when somebody else was first.

import { keyText } from "./api.js";
import { decide, forget, lastDone, undoLast } from "./decisions.js";
import { $, $$, h, memory, setText } from "./dom.js";
import { askReviewer, openDialog, reviewer, say } from "./frame.js";
import { askReasons } from "./reasons.js";
import { askRerun } from "./rerun.js";
import { sideName } from "./takes.js";
import { when } from "./time.js";
import { KIND, VERDICT, nameOf, plural } from "./words.js";

/** @import { ApiError } from "./api.js" */
/** @import { Keys } from "./keys.js" */
/** @import { ShotPage } from "./shot.js" */

/** @type {{ [kind: string]: string }} */
const SAID = { approve: "Approved", reject: "Rejected", original: "Original kept" };
/** @type {{ [kind: string]: string }} */
const VERB = { approve: "Approve", reject: "Reject", original: "Leave the original", choose: "Choose", comment: "Comment", undo: "Undo" };
const GO_ON_MS = 350;

export class Verdicts {
  /** @param {ShotPage} page */
  constructor(page) {
    this.page = page;
    for (const button of $$("[data-decide]")) button.addEventListener("click", () => this.say(/** @type {Kind} */ (button.dataset.decide)));
    $("#do-comment").addEventListener("click", () => this.comment());
    $("#do-rerun").addEventListener("click", () => this.rerun());
    $("#do-undo").addEventListener("click", () => this.undo());
    const advance = $("#advance");
    advance.checked = memory.get("advance", true);
    advance.addEventListener("change", () => memory.set("advance", advance.checked));
  }

  /** @param {Keys} keys */
  bind(keys) {
    keys.bind("Decide",
      ["a", "approve", () => this.say("approve")],
      ["r", "reject, with reasons: the original is delivered", () => this.say("reject")],
      ["o", "leave the original picture", () => this.say("original")],
      ["g", "render again, with another generator or settings", () => this.rerun()],
      ["c", "comment at this frame", () => this.comment()],
      ["t", "choose the take that is looked at", () => this.choose()],
      ["z", "undo what you decided last", () => this.undo()]);
  }

  reset() {
    $("#conflict").hidden = true;
    clearTimeout(this.going);
  }

  // Send one decision; true where it was taken.
  /** @param {Kind} kind @param {About} [about] */
  async send(kind, about = {}) {
    const { page } = this;
    const name = await askReviewer();
    if (!name || !page.facts) return false;
    const { key } = page;
    try {
      const found = await decide(key, kind, { reviewer: name, revision: page.facts.standing.revision, ...about });
      if (page.key !== key) return true;
      this.reset();
      page.facts.standing = found.standing; // of the facts as they are now: they may have been read anew meanwhile
      page.facts.row = found.row ?? page.facts.row;
      page.showFacts();
      page.timeline.set({ comments: found.standing.comments });
      page.view.draw();
      return true;
    } catch (error) {
      if (error.status === 409) this.conflict(kind, about, error);
      else say(error.message, "bad");
      return false;
    }
  }

  // Whose decision the next one ends, in a sentence; empty where it is nobody else's.
  ends() {
    const { verdict, by } = this.page.facts.standing;
    return verdict && by !== reviewer() ? ` It takes the place of “${VERDICT[verdict].word}” by ${by}.` : "";
  }

  // again: with these reasons, without asking
  /** @param {Kind} kind @param {About} [again] */
  async say(kind, again = null) {
    const { page } = this;
    if (!page.facts || !(await askReviewer())) return;
    const take = page.lookedAt();
    const reasons = again?.reasons ?? (kind === "reject" ? await askReasons(nameOf(page.key)) : []);
    if (!reasons) return;
    /** @type {About} */
    const about = kind === "original" || !take ? {} : { take: take.id };
    if (reasons.length) about.reasons = reasons;
    const ended = this.ends();
    if (kind === "approve" && take && !take.current) {
      // to approve another take than the delivered one is to choose it
      if (!(await this.send("choose", { take: take.id }))) return;
    }
    if (!(await this.send(kind, about))) return;
    const next = $("#advance").checked ? page.order.beside(page.key, 1) : null;
    const other = kind === "reject" && take && !take.current ? `, ${sideName(take.id, page.facts.takes)}; the delivered take stays` : "";
    say(`${SAID[kind]}: ${nameOf(page.key)}${other}.${ended}`, "good", { label: "Undo", do: () => this.undo() });
    if (take && !take.current && kind === "approve") await page.refresh();
    if (next) this.going = setTimeout(() => page.go(next), GO_ON_MS);
  }

  /** @param {string | null} [id] */
  async choose(id = null) {
    const take = id ? this.page.facts.takes.find((t) => t.id === id) : this.page.lookedAt();
    if (!take) {
      say("This shot has no take to choose.");
      return;
    }
    if (take.current && this.page.facts.standing.take === take.id) {
      say(`${sideName(take.id, this.page.facts.takes)} is chosen already.`);
      return;
    }
    if (!(await askReviewer())) return;
    const ended = this.ends();
    if (!(await this.send("choose", { take: take.id }))) return;
    say(`Chosen: ${sideName(take.id, this.page.facts.takes)}. The next export delivers it.${ended}`, "good", { label: "Undo", do: () => this.undo() });
    await this.page.refresh();
  }

  async comment() {
    const { page } = this;
    if (!page.facts || !(await askReviewer())) return;
    page.player.pause();
    const { strokes } = page.drawing;
    const frame = page.drawing.frame ?? (page.player.ready ? page.player.frame : page.start_frame);
    setText($("#comment-drawing"), strokes.length ? `with your drawing of ${plural(strokes.length, "stroke")}` : "");
    const form = $("#comment form");
    form.reset();
    setText($("#comment-at"), page.text(frame));
    if (!(await openDialog("#comment"))) return;
    const text = $("#comment-text").value.trim();
    const severity = /** @type {Severity} */ (new FormData(form).get("severity"));
    const drawing = strokes.length ? { drawing: strokes } : {};
    if (!text || !(await this.send("comment", { text, severity, frame, ...drawing }))) return;
    page.drawing.clear();
    say(`Comment (${severity}) at ${page.text(frame)}.`, "good");
  }

  async rerun() {
    const { page } = this;
    if (!page.facts) return;
    const take = page.lookedAt();
    const job = await askRerun([page.key], page.info.generators, take?.generator ?? null);
    if (job) page.changes.now();
  }

  // The newest decision of this tab, wherever it was taken; else this reviewer's newest on this shot.
  async undo() {
    const { page } = this;
    const name = await askReviewer();
    if (!name || !page.facts) return;
    clearTimeout(this.going);
    if (!lastDone()) {
      const history = page.facts.standing.history;
      const gone = new Set(history.filter((r) => r.kind === "undo").map((r) => r.undoes));
      const mine = history.filter((r) => r.reviewer === name && !["undo", "rerun"].includes(r.kind) && !gone.has(r.seq));
      if (mine.length) await this.takeBack(mine.at(-1).seq);
      else say("Nothing of yours is left to take back here.");
      return;
    }
    try {
      const { key } = await undoLast(name);
      say(`Taken back: ${nameOf(key)}.`, "good");
      if (keyText(key) === keyText(page.key)) await page.refresh();
      else await page.go(key);
    } catch (error) {
      say(error.message, "bad");
    }
  }

  /** @param {number} seq */
  async takeBack(seq) {
    forget(seq);
    if (await this.send("undo", { undoes: seq })) {
      say("Taken back.", "good");
      await this.page.refresh();
    }
  }

  // Somebody else was first: what holds now, and the same decision once more where it is still wanted.
  /** @param {Kind} kind @param {About} about @param {ApiError} error */
  conflict(kind, about, error) {
    const { page } = this;
    const { row, standing } = error.body;
    if (standing) page.facts.standing = standing;
    if (row) page.facts.row = row;
    page.showFacts();
    const last = standing?.history.filter((r) => !["comment", "rerun"].includes(r.kind)).at(-1);
    const who = last ? `${last.reviewer} ${last.kind === "undo" ? "took a decision back" : `${KIND[last.kind]}${last.kind === "choose" ? " a take" : ""}`} meanwhile (${when(last.time)})` : error.message;
    const now = standing?.verdict ? `now: ${VERDICT[standing.verdict].word} by ${standing.by}` : "undecided again";
    const box = $("#conflict");
    box.replaceChildren(
      h("b", {}, `${who}.`), ` It is ${now}; your decision was not recorded.`,
      h("span.conflict-do", {},
        h("button.small", { type: "button", onclick: () => this.again(kind, about) }, `${VERB[kind]} all the same`),
        h("button.small.quiet", { type: "button", onclick: () => this.reset() }, "Leave it so")),
    );
    box.hidden = false;
    page.refresh();
  }

  /** @param {Kind} kind @param {About} about */
  again(kind, about) {
    this.reset();
    if (kind === "comment" || kind === "choose" || kind === "undo") this.send(kind, about);
    else this.say(kind, about);
  }
}
