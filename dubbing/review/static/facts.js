// What is known of a shot, in words: its verdict, numbers, takes, comments, history. Written anew whenever it changes.

import { $, $$, h, icon, setText } from "./dom.js";
import { reviewer } from "./frame.js";
import { facesTables, numbersTable } from "./numbers.js";
import { commentsList, historyList } from "./remarks.js";
import { sideName, takesList } from "./takes.js";
import { when } from "./time.js";
import { REASONS, VERDICT, complaint, faceName, nameFaces } from "./words.js";

/** @import { ShotPage } from "./shot.js" */

/** @type {{ [kind: string]: Verdict }} */
const SAYS = { approve: "approved", reject: "rejected", original: "original" };

/** @param {ShotKey} key */
export function showPlace([title, language, shot]) {
  setText($("#where-title"), title);
  setText($("#where-language"), language);
  setText($("#where-shot"), shot.replace("_", " "));
}

/** @param {ShotPage} page */
export function showFacts(page) {
  const { row, standing, takes } = page.facts;
  nameFaces(page.facts.names);
  setText($("#where-shot"), [row.shot.replace("_", " "), row.character].filter(Boolean).join(" · "));
  const run = page.info.dubs.find((d) => d.title === row.title && d.language === row.language)?.run;
  $("#where-language").title = run ? `made by run ${run} into this folder` : "";
  $("#all-languages").href = `/languages/${encodeURIComponent(row.title)}/${encodeURIComponent(row.shot)}`;
  $("#all-languages").hidden = page.info.dubs.filter((d) => d.title === row.title).length < 2;
  showVerdict(page, standing);
  const looked = page.lookedAt();
  setText($("#numbers-of"), looked ? `of ${sideName(looked.id, takes)}` : "");
  showNumbers(page, looked);
  showTakes(page);
  $("#comments").replaceChildren(commentsList(standing.comments, reviewer(), (f) => page.text(f), {
    seek: (f) => page.scrub(f), undo: (seq) => page.verdicts.takeBack(seq),
  }));
  setText($("#comments-count"), standing.comments.length ? String(standing.comments.length) : "");
  $("#history").replaceChildren(historyList(standing.history, takes));
  showCaptions(page);
}

// What is measured and complained of belongs to one take, the one that is looked at, and to its faces.
/** @param {ShotPage} page @param {Take | null} looked */
function showNumbers(page, looked) {
  const { row } = page.facts;
  const about = looked && !looked.current && looked.id !== row.take ? looked.row : row;
  const several = (looked?.faces.length ?? 0) > 1 ? looked.faces : [];
  const chosen = several.filter((f) => f.track === page.face);
  const said = chosen.length ? chosen[0].review_reason ?? "Within all limits" : about.status === "failed" ? "" : about.review_reason;
  const worst = several.length ? `${faceName(several[0].track)}: ` : "";
  setText($("#complaint"), chosen.length ? `${faceName(page.face)}: ${said}.` : `${worst}${complaint(about)}.${said ? ` ${said}.` : ""}`);
  $("#numbers").replaceChildren(...(several.length ? facesTables(chosen.length ? chosen : several, page.info.thresholds)
    : [numbersTable(about, about, page.info.thresholds)]));
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
  const { takes, standing, row } = page.facts;
  const why = row.selection ? [h("p.dim", {}, `Selected ${row.selection}.`)] : [];
  $("#takes").replaceChildren(takesList({ takes, standing, fresh: page.fresh, ...page.sides }, {
    a: (side) => page.compare({ ...page.sides, a: side }),
    b: (side) => page.compare({ ...page.sides, b: side }),
    choose: (id) => page.verdicts.choose(id),
  }), ...why);
  if (held) $(`input[name="${held.name}"][value="${held.value}"]`)?.focus();
}

// Whose mouth is shown: of whoever is re-rendered at the frame, or of one face throughout. Only where there are several.
/** @param {ShotPage} page */
export function showFaceChoice(page) {
  const faces = page.proxy?.faces ?? [];
  const box = $("#face-choice");
  box.hidden = faces.length < 2;
  if (box.hidden) return;
  /** @param {string | null} track @param {string} text @param {string} title */
  const button = (track, text, title) => h("button.small", {
    type: "button", title, data: { face: track ?? "" }, "aria-pressed": String(page.face === track),
    onclick: () => page.follow(track),
  }, text);
  const held = box.contains(document.activeElement);
  box.replaceChildren(button(null, "Each face", "The mouth of whoever is re-rendered at the frame"),
    ...faces.map((track) => button(track, faceName(track).replace(/^f/, "F"), `The mouth of ${faceName(track)} throughout`)));
  if (held) $("#face-choice button[aria-pressed='true']").focus();
}

/** @param {ShotPage} page */
export function showCaptions(page) {
  const [a, b] = [page.drawn.a, page.drawn.b].map((side) => sideName(side, page.facts.takes));
  page.view.set({ captions: [`A  ${a}`, `B  ${b}`] });
  $("#picture").setAttribute("aria-label", `A: ${a}; B: ${b}`);
}
