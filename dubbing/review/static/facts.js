// What is known of a shot, in words: its verdict, numbers, takes, comments, history. Written anew whenever it changes.

import { $, $$, icon, setText } from "./dom.js";
import { reviewer } from "./frame.js";
import { numbersTable } from "./numbers.js";
import { commentsList, historyList } from "./remarks.js";
import { sideName, takesList } from "./takes.js";
import { when } from "./time.js";
import { REASONS, VERDICT, complaint } from "./words.js";

/** @import { ShotPage } from "./shot.js" */

/** @type {{ [kind: string]: Verdict }} */
const SAYS = { approve: "approved", reject: "rejected", original: "original" };

/** @param {ShotPage} page */
export function showFacts(page) {
  const { row, standing, takes } = page.facts;
  setText($("#where-title"), row.title);
  setText($("#where-language"), row.language);
  $("#all-languages").href = `/languages/${encodeURIComponent(row.title)}/${encodeURIComponent(row.shot)}`;
  $("#all-languages").hidden = page.info.dubs.filter((d) => d.title === row.title).length < 2;
  setText($("#where-shot"), row.shot.replace("_", " "));
  showVerdict(page, standing);
  const looked = page.lookedAt();
  setText($("#numbers-of"), looked ? `of ${sideName(looked.id, takes)}` : "");
  setText($("#complaint"), row.review_reason && looked?.current ? `${complaint(row)}. ${row.review_reason}` : complaint(row));
  const scores = looked && !looked.current && looked.id !== row.take ? looked.scores : row;
  $("#numbers").replaceChildren(numbersTable(scores, row, page.info.thresholds));
  showTakes(page);
  $("#comments").replaceChildren(commentsList(standing.comments, reviewer(), (f) => page.text(f), {
    seek: (f) => page.scrub(f), undo: (seq) => page.verdicts.takeBack(seq),
  }));
  setText($("#comments-count"), standing.comments.length ? String(standing.comments.length) : "");
  $("#history").replaceChildren(historyList(standing.history, takes));
  showCaptions(page);
}

/** @param {ShotPage} page @param {Standing} standing */
function showVerdict(page, standing) {
  const chip = $("#verdict");
  const { takes, row } = page.facts;
  const stands = VERDICT[row.verdict]; // of what is delivered, as the queue counts it
  chip.className = `verdict-chip ${row.verdict ?? "open"}`;
  const text = stands ? `${stands.word} · ${row.by} · ${when(row.at)}` : "undecided";
  if (chip.textContent !== text) chip.replaceChildren(...(stands ? [icon(stands.icon)] : []), text);
  const verdict = VERDICT[standing.verdict];
  for (const button of $$("[data-decide]")) {
    const mine = SAYS[button.dataset.decide];
    button.setAttribute("aria-pressed", String(standing.verdict === mine));
  }
  /** @param {string} id */
  const named = (id) => (takes.some((t) => t.id === id) ? sideName(id, takes).replace(" (current)", "") : "a take that is gone");
  /** @type {Record<Verdict, string>} */
  const did = { approved: "approved this", rejected: "rejected this", original: "kept the original picture", chosen: `chosen ${named(standing.take)}` };
  const why = standing.reasons?.length ? ` (${standing.reasons.map((r) => REASONS[r]).join(", ")})` : "";
  const chosen = standing.take && standing.verdict !== "chosen" ? ` ${standing.chosen_by} has chosen ${named(standing.take)}.` : "";
  setText($("#stand"), verdict ? `${standing.by} has ${did[standing.verdict]}${why}, ${when(standing.at)}.${chosen}` : "Nobody has decided yet.");
  const now = takes.find((t) => t.current);
  if (verdict && standing.about && now && standing.about !== now.id) {
    $("#stand").append(` That was said of ${named(standing.about)}; ${named(now.id)} is delivered.`);
  }
}

/** @param {ShotPage} page */
function showTakes(page) {
  const focused = document.activeElement;
  const held = focused instanceof HTMLInputElement && focused.name.startsWith("side-") ? focused : null;
  const { takes, standing } = page.facts;
  $("#takes").replaceChildren(takesList({ takes, standing, fresh: page.fresh, ...page.sides }, {
    a: (side) => page.compare({ ...page.sides, a: side }),
    b: (side) => page.compare({ ...page.sides, b: side }),
    choose: (id) => page.verdicts.choose(id),
  }));
  if (held) $(`input[name="${held.name}"][value="${held.value}"]`)?.focus();
}

/** @param {ShotPage} page */
export function showCaptions(page) {
  const [a, b] = [page.drawn.a, page.drawn.b].map((side) => sideName(side, page.facts.takes));
  page.view.set({ captions: [`A  ${a}`, `B  ${b}`] });
  $("#picture").setAttribute("aria-label", `A: ${a}; B: ${b}`);
}
