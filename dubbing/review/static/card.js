// One shot as a card of the queue: picture first, then what is wrong with it, in words and bars.

import { keyOf, pathOf, thumbUrl } from "./api.js";
import { h, icon, setText } from "./dom.js";
import { GRADE, PARTS, VERDICT, complaint, grade, number, plural } from "./words.js";

const SCALE = 2; // a bar is full at twice the limit; the mark in its middle is the limit
/** @typedef {ReturnType<typeof makeCard>} Card */

const waiting = new WeakMap(); // image -> timer: pictures are asked for where the scrolling stops

export const CARD_BELOW = 80; // pixels under the picture, as in queue.css

export function makeCard() {
  const card = h("li.card", {});
  const parts = {
    link: h("a.cover", {}),
    image: h("img", { alt: "", draggable: false, decoding: "async" }),
    check: h("span.check", {}, icon("approve")),
    verdict: h("span.verdict"),
    name: h("span.name"),
    meta: h("span.meta"),
    score: h("span.score"),
    grade: h("span.grade"),
    words: h("p.complaint"),
    notes: h("span.notes"),
    timecode: h("span.tc"),
    language: h("span.lang"),
    bars: PARTS.map((p) => {
      const fill = h("i");
      const value = h("b");
      return { fill, value, box: h("span.bar", { title: p.long }, h("em", {}, p.short), h("span.track", {}, fill), value) };
    }),
  };
  parts.image.addEventListener("error", () => card.classList.add("no-picture"));
  parts.image.addEventListener("load", () => card.classList.add("has-picture"));
  card.append(
    h("div.picture", {}, parts.image, parts.check, parts.verdict, parts.timecode, parts.language),
    h("div.below", {},
      h("div.line", {}, parts.name, parts.meta, parts.notes, parts.grade, parts.score),
      parts.words,
      h("div.bars", { "aria-hidden": "true" }, parts.bars.map((b) => b.box)),
    ),
    parts.link,
  );
  return Object.assign(card, { parts });
}

/** @param {Card} card @param {Row} row */
function showPicture(card, row) {
  const image = card.parts.image;
  const url = thumbUrl(row);
  if (image.dataset.url === url) return;
  image.dataset.url = url;
  image.removeAttribute("src");
  card.classList.remove("has-picture", "no-picture");
  clearTimeout(waiting.get(image));
  waiting.set(image, setTimeout(() => {
    if (image.dataset.url === url) image.src = url;
  }, 60));
}

// state: {focused, selected, seen, stale: no longer fits the filters, titles: there are several, query}
/** @param {Card} card @param {Row} row
 * @param {{ focused: boolean, selected: boolean, seen: boolean, stale: boolean, titles: boolean, query: string }} state */
export function fillCard(card, row, { focused, selected, seen, stale, titles, query }) {
  const p = card.parts;
  const word = grade(row);
  const verdict = VERDICT[row.verdict];
  card.dataset.key = keyOf(row).join("/");
  card.dataset.grade = word;
  card.classList.toggle("selected", selected);
  card.classList.toggle("seen", seen);
  card.classList.toggle("stale", stale);
  card.classList.toggle("focused", focused);
  p.link.href = `/shot/${pathOf(keyOf(row))}${query}`;
  p.link.tabIndex = focused ? 0 : -1;
  setText(p.name, row.shot.replace("_", " "));
  setText(p.meta, [row.character, stale ? "no longer fits" : seen ? "seen" : null].filter(Boolean).join(" · "));
  setText(p.timecode, row.start_tc ?? "");
  setText(p.language, titles ? `${row.title} · ${row.language}` : row.language);
  p.language.title = `${row.title}, ${row.language}`;
  setText(p.score, row.status === "failed" ? "failed" : row.status === "untouched" ? "" : number(row.severity));
  setText(p.grade, word === "over" ? "▲ over" : word === "close" ? "near" : "");
  setText(p.words, complaint(row));
  p.words.title = row.review_reason ?? row.error ?? "";
  p.verdict.hidden = !verdict;
  if (verdict && p.verdict.dataset.is !== `${row.verdict}${row.by}`) {
    p.verdict.dataset.is = `${row.verdict}${row.by}`;
    p.verdict.className = `verdict ${row.verdict}`;
    p.verdict.replaceChildren(icon(verdict.icon), `${verdict.word} · ${row.by}`);
  }
  const notes = `${row.comments}${row.comment_severity}`;
  p.notes.hidden = !row.comments;
  if (row.comments && p.notes.dataset.is !== notes) {
    p.notes.dataset.is = notes;
    p.notes.className = `notes ${row.comment_severity ?? "note"}`;
    p.notes.title = `${plural(row.comments, "comment")}, the worst: ${row.comment_severity ?? "note"}`;
    p.notes.replaceChildren(icon(row.comment_severity === "note" ? "comment" : row.comment_severity ?? "comment"), String(row.comments));
  }
  PARTS.forEach((part, n) => {
    const value = row.severity_parts?.[part.name];
    const bar = p.bars[n];
    const known = value !== undefined && value !== null;
    bar.fill.style.width = known ? `${Math.min(100, (100 * value) / SCALE)}%` : "0";
    bar.box.classList.toggle("over", known && value >= 1);
    bar.box.classList.toggle("unknown", !known);
    setText(bar.value, known ? number(value) : "–");
  });
  p.link.setAttribute("aria-label", [
    row.shot, row.character, titles ? row.title : null, row.language, `at ${row.start_tc}`,
    row.status === "dubbed" ? `severity ${number(row.severity)}, ${GRADE[word]}` : null, complaint(row),
    verdict ? `${verdict.word} by ${row.by}` : "undecided", row.comments ? plural(row.comments, "comment") : null,
    selected ? "selected" : null,
  ].filter(Boolean).join(", "));
  showPicture(card, row);
}
