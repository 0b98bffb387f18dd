// The takes of a shot: which two are compared, which is delivered, and how they score.

import { h, icon } from "./dom.js";
import { when } from "./time.js";
import { REASON, STATUS, generatorText, number, signed } from "./words.js";

// A side's name as a person says it.
export function sideName(side, takes) {
  const n = takes.findIndex((t) => t.id === side);
  if (n < 0) return side === "current" ? "delivered now" : side;
  return `take ${n + 1}${takes[n].current && takes.length > 1 ? " (current)" : ""}`;
}

// Every side that can be compared, in the order of the keys that walk through them.
export const sidesOf = (takes) => ["source", ...takes.map((t) => t.id)];

// What is compared at first: the source and the current take; where a run of another version made the takes and none
// is current, the one that its table names.
export function firstSides({ takes, row }) {
  const b = takes.find((t) => t.current) ?? takes.find((t) => t.id === row.take) ?? takes.at(-1);
  return { a: "source", b: b?.id ?? "current" };
}

// state: {takes, a, b, standing, fresh: ids that have just been made}; on: {a(side), b(side), choose(id)}
export function takesList(state, on) {
  const { takes, a, b, standing, fresh } = state;
  const side = (which, value, chosen, label) =>
    h("label.side", {}, h("input", {
      type: "radio", name: `side-${which}`, value, checked: chosen, "aria-label": `${which.toUpperCase()}: ${label}`,
      onchange: () => on[which](value),
    }));
  const row = (value, isA, isB, ...rest) =>
    h(`li.take${isA || isB ? ".looked-at" : ""}`, { data: { take: value } }, side("a", value, isA, rest[0]), side("b", value, isB, rest[0]), ...rest.slice(1));
  const current = takes.find((t) => t.current);
  const kept = current && !delivered(standing, current);
  const source = row("source", a === "source", b === "source", "source",
    h("div.take-what", {}, h("b", {}, "Source "), kept ? h("span.tag", {}, "delivered") : null, h("span.dim", {}, "the original picture")));
  const list = takes.map((t, n) => {
    const marks = [
      t.current ? h("span.tag", {}, delivered(standing, t) ? "delivered" : "current") : null,
      standing.take === t.id ? h("span.tag", {}, "chosen") : null,
      fresh.has(t.id) ? h("span.tag.new", {}, "new") : null,
      standing.about === t.id && standing.verdict ? h(`span.tag.${standing.verdict}`, {}, standing.verdict) : null,
    ];
    const s = t.scores ?? {};
    const scores = t.status === "dubbed"
      ? `LSE-D ${number(s.lse_d)} · offset ${signed(s.lse_offset_frames, 1)} · sharpness ${number(s.sharpness)}`
      : `${STATUS[t.status] ?? t.status}${t.reason ? `: ${REASON[t.reason] ?? t.reason}` : ""}`;
    return row(t.id, a === t.id, b === t.id, `take ${n + 1}`,
      h("div.take-what", {},
        h("div", {}, h("b", {}, `Take ${n + 1} `), ...marks),
        h("div.gen", { title: t.id }, generatorText(t.generator)),
        h("div.dim", {}, scores),
        h("div.dim", {}, `made ${when(t.made)} · `, h("span.mono", {}, t.id.slice(0, 8)))),
      t.current ? null : h("button.small", { type: "button", "aria-label": `Choose take ${n + 1}`, onclick: () => on.choose(t.id) }, icon("take"), "Choose"));
  });
  return h("ul.takes", { role: "list" },
    h("li.take-head", { "aria-hidden": "true" }, h("span", {}, "A"), h("span", {}, "B"), h("span", {}, "")), source, ...list);
}

const delivered = (standing, take) =>
  standing.verdict !== "original" && !(standing.verdict === "rejected" && standing.about === take.id);
