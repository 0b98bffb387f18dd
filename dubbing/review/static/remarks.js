// Comments and the history of a shot: who said what, when; what can be taken back by whom.

import { h, icon } from "./dom.js";
import { when } from "./time.js";
import { KIND, REASONS, generatorText } from "./words.js";

// on: {seek(frame), undo(seq)}; text(frame): its timecode
/** @param {Decision[]} comments @param {string} me @param {(frame: number) => string} text
 * @param {{ seek: (frame: number) => void, undo: (seq: number) => void }} on */
export function commentsList(comments, me, text, on) {
  if (!comments.length) return h("p.dim.none-yet", {}, "None yet. ", h("kbd", {}, "c"), " writes one at this frame.");
  return h("ul.comments", { role: "list" }, [...comments].sort((a, b) => a.frame - b.frame || a.seq - b.seq).map((c) =>
    h(`li.comment.of-${c.severity}`, { data: { seq: c.seq } },
      h("div.comment-head", {},
        h(`span.severity.${c.severity}`, {}, icon(c.severity), c.severity),
        h("button.small.quiet.mono", { type: "button", "aria-label": `Go to ${text(c.frame)}`, onclick: () => on.seek(c.frame) }, text(c.frame)),
        c.drawing?.length ? h("span.dim", { title: "with a drawing on the frame" }, "✎") : null,
        h("span.dim.who", {}, `${c.reviewer} · ${when(c.time)}`),
        c.reviewer === me
          ? h("button.bare", { type: "button", title: "Take this comment back", "aria-label": "Take this comment back", onclick: () => on.undo(c.seq) }, icon("undo"))
          : null),
      h("p", {}, c.text))));
}

/** @param {Decision[]} records @param {Take[]} takes */
export function historyList(records, takes) {
  if (!records.length) return h("p.dim.none-yet", {}, "Nothing was decided yet.");
  const undone = new Set(records.filter((r) => r.kind === "undo").map((r) => r.undoes));
  /** @param {string} id */
  const name = (id) => {
    const n = takes.findIndex((t) => t.id === id);
    return n < 0 ? `take ${id.slice(0, 8)}` : `take ${n + 1}`;
  };
  /** @param {Decision} r */
  const about = (r) => {
    if (r.kind === "undo") return `no. ${r.undoes}`;
    if (r.kind === "comment") return r.severity;
    if (r.kind === "rerun") return generatorText(r.generator);
    const why = r.reasons?.length ? `: ${r.reasons.map((reason) => REASONS[reason]).join(", ")}` : "";
    return `${r.take ? name(r.take) : ""}${why}`;
  };
  return h("ol.history", {}, [...records].reverse().map((r) =>
    h(`li${undone.has(r.seq) ? ".undone" : ""}`, {},
      h("span.dim.n", {}, String(r.seq)), h("b", {}, r.reviewer), ` ${KIND[r.kind] ?? r.kind} `, about(r),
      undone.has(r.seq) ? h("span.dim", {}, " (taken back)") : null, h("span.dim.at", {}, when(r.time)))));
}
