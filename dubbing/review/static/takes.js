// The takes of a shot: which two are compared, which is delivered, and how they score.

import { h, icon } from "./dom.js";
import { when } from "./time.js";
import { REASON, STATUS, faceName, generatorText, number, signed } from "./words.js";

// A side's name as a person says it.
/** @param {string} side @param {Take[]} takes */
export function sideName(side, takes) {
  const n = takes.findIndex((t) => t.id === side);
  if (n < 0) return side === "current" ? "delivered now" : side;
  return `take ${n + 1}${takes[n].current && takes.length > 1 ? " (current)" : ""}`;
}

// Every side that can be compared, in the order of the keys that walk through them.
/** @param {Take[]} takes */
export const sidesOf = (takes) => ["source", ...takes.map((t) => t.id)];

// What is compared at first: the source and the current take; where a run of another version made the takes and none
// is current, the one that its table names.
/** @param {ShotFacts} facts @returns {Sides} */
export function firstSides({ takes, row }) {
  const b = takes.find((t) => t.current) ?? takes.find((t) => t.id === row.take) ?? takes.at(-1);
  return { a: "source", b: b?.id ?? "current" };
}

// state: {takes, a, b, standing, fresh: ids that have just been made}; on: {a(side), b(side), choose(id)}
/** @param {{ takes: Take[], standing: Standing, fresh: Set<string> } & Sides} state
 * @param {{ a: (side: string) => unknown, b: (side: string) => unknown, choose: (id: string) => unknown }} on */
export function takesList(state, on) {
  const { takes, a, b, standing, fresh } = state;
  /** @param {keyof Sides} which @param {string} value @param {boolean} chosen @param {string} label */
  const side = (which, value, chosen, label) =>
    h("label.side", {}, h("input", {
      type: "radio", name: `side-${which}`, value, checked: chosen, "aria-label": `${which.toUpperCase()}: ${label}`,
      onchange: () => on[which](value),
    }));
  /** @param {string} value @param {boolean} isA @param {boolean} isB @param {string} label @param {Child[]} rest */
  const row = (value, isA, isB, label, ...rest) =>
    h(`li.take${isA || isB ? ".looked-at" : ""}`, { data: { take: value } }, side("a", value, isA, label), side("b", value, isB, label), ...rest);
  const current = takes.find((t) => t.current);
  const kept = current && !delivered(standing, current);
  const source = row("source", a === "source", b === "source", "source",
    h("div.take-what", {}, h("b", {}, "Source "), kept ? h("span.tag", {}, "delivered") : null, h("span.dim", {}, "the original picture")));
  const list = takes.map((t, n) => {
    const marks = [
      t.current ? h("span.tag", {}, delivered(standing, t) ? "delivered" : "current") : null,
      standing.take === t.id ? h("span.tag", {}, "chosen") : null,
      fresh.has(t.id) ? h("span.tag.new", {}, "new") : null,
      standing.about === t.id && standing.verdict && standing.verdict !== "chosen" ? h(`span.tag.${standing.verdict}`, {}, standing.verdict) : null,
    ];
    const s = t.row;
    const scores = t.status === "dubbed"
      ? `LSE-D ${number(s.lse_d)} · offset ${signed(s.lse_offset_frames, 1)} · sharpness ${number(s.sharpness)}${
        t.faces.length > 1 ? ` (${faceName(t.faces[0].track)}, the worst of ${t.faces.length})` : ""}`
      : `${STATUS[t.status] ?? t.status}${t.reason ? `: ${REASON[t.reason] ?? t.reason}` : ""}`;
    return row(t.id, a === t.id, b === t.id, `take ${n + 1}`,
      h("div.take-what", {},
        h("div", {}, h("b", {}, `Take ${n + 1} `), ...marks),
        h("div.gen", { title: t.id }, generatorText(t.generator)),
        h("div.dim", {}, scores),
        t.score === null ? null : h("div.dim", { title: "Sync against the original's, with guards: less is better" }, `score ${signed(t.score, 2)} of the takes compared`),
        h("div.dim", {}, `made ${when(t.made)} · `, h("span.mono", {}, t.id.slice(0, 8)))),
      t.current ? null : h("button.small", { type: "button", "aria-label": `Choose take ${n + 1}`, onclick: () => on.choose(t.id) }, icon("take"), "Choose"));
  });
  return h("ul.takes", { role: "list" },
    h("li.take-head", { "aria-hidden": "true" }, h("span", {}, "A"), h("span", {}, "B"), h("span", {}, "")), source, ...list);
}

/** @param {Standing} standing @param {Take} take */
const delivered = (standing, take) =>
  standing.verdict !== "original" && !(standing.verdict === "rejected" && standing.about === take.id);
