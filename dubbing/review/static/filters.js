// Which shots are shown, in which order: read from the address, written to it. Pure; knows no element.

import { REASON, REASONS, SCORES, SORTS, STATUS, VERDICT, character, languageName } from "./words.js";

// Facets in the order of the side bar. of: the row's value; word: how a person says it.
/** @type {Facet[]} */
export const FACETS = [
  { name: "decision", label: "Decision", of: (r) => r.verdict ?? "open", word: (v) => VERDICT[v]?.word ?? "undecided",
    order: ["open", "approved", "rejected", "original", "chosen"] },
  { name: "review", label: "Asks for a person", of: (r) => (r.needs_review ? "yes" : "no"),
    word: (v) => (v === "yes" ? "over a limit" : "within limits"), order: ["yes", "no"] },
  { name: "title", label: "Title", of: (r) => r.title, word: (v) => v },
  { name: "language", label: "Language", of: (r) => r.language, word: (v) => `${languageName(v)} · ${v}` },
  { name: "status", label: "Status", of: (r) => r.status, word: (v) => STATUS[v] ?? v, order: ["dubbed", "untouched", "failed"] },
  { name: "reason", label: "Why left alone", of: (r) => r.reason, word: (v) => REASON[v] ?? v },
  { name: "rejected", label: "Rejected for", of: (r) => r.reject_reasons, word: (v) => REASONS[/** @type {Reason} */ (v)] ?? v },
  { name: "who", label: "Character", of: character, word: (v) => v },
  { name: "comments", label: "Comments", of: (r) => (r.comments ? r.comment_severity ?? "note" : "none"),
    word: (v) => (v === "none" ? "none" : `worst: ${v}`), order: ["blocker", "issue", "note", "none"] },
];

// What a row is counted under: nothing, one value, or several.
/** @param {Facet} facet @param {Row} row @returns {string[]} */
export function valuesOf({ of }, row) {
  const value = of(row) ?? [];
  return Array.isArray(value) ? value : [String(value)];
}

/** @returns {Filters} */
export const empty = () => ({ q: "", sort: "worst", chosen: {}, ranges: {} });

/** @param {string} search */
export function fromUrl(search) {
  const p = new URLSearchParams(search);
  const state = empty();
  state.q = p.get("q") ?? "";
  state.sort = p.get("sort") in SORTS ? p.get("sort") : "worst";
  for (const { name } of FACETS) {
    const values = p.getAll(name);
    if (values.length) state.chosen[name] = new Set(values);
  }
  for (const name of Object.keys(SCORES)) {
    const m = /^(-?[\d.]*)\.\.(-?[\d.]*)$/.exec(p.get(`r.${name}`) ?? "");
    if (m) state.ranges[name] = [m[1] === "" ? -Infinity : +m[1], m[2] === "" ? Infinity : +m[2]];
  }
  return state;
}

/** @param {Filters} state */
export function toUrl(state) {
  const p = new URLSearchParams();
  if (state.q) p.set("q", state.q);
  if (state.sort !== "worst") p.set("sort", state.sort);
  for (const { name } of FACETS) for (const value of state.chosen[name] ?? []) p.append(name, value);
  for (const [name, [low, high]] of Object.entries(state.ranges)) {
    p.set(`r.${name}`, `${Number.isFinite(low) ? low : ""}..${Number.isFinite(high) ? high : ""}`);
  }
  const text = p.toString();
  return text ? `?${text}` : "";
}

/** @param {Filters} state */
export const isEmpty = (state) => !state.q && !Object.keys(state.chosen).length && !Object.keys(state.ranges).length;

/** @param {string} text */
const plain = (text) => text.toLowerCase().replaceAll(";", ":");
/** @type {WeakMap<Row, string>} */
const texts = new WeakMap(); // of rows: what a search looks through

/** @param {Row} row */
function textOf(row) {
  let text = texts.get(row);
  if (text === undefined) {
    const words = [
      row.shot, row.shot.replace(/^\D*0*/, "#"), row.title, row.language, languageName(row.language), row.start_tc,
      STATUS[row.status], row.reason, REASON[row.reason], row.review_reason, row.error, character(row), row.generator,
      row.take, row.verdict ? VERDICT[row.verdict]?.word : "undecided", row.by, ...(row.reject_reasons ?? []).map((r) => REASONS[r] ?? r),
      row.comments ? `comment commented ${row.comment_severity}` : "", row.said, row.source_said,
    ];
    texts.set(row, (text = plain(words.filter(Boolean).join(" "))));
  }
  return text;
}

/** @param {string} word */
const isTimecode = (word) => /^\d\d:\d\d:\d\d(:\d\d)?$/.test(word);

/** @param {Row} row @param {string[]} words */
function found(row, words) {
  return words.every((word) => {
    if (!isTimecode(word)) return textOf(row).includes(word);
    const [from, to] = [plain(row.start_tc ?? ""), plain(row.end_tc ?? "")];
    return word.length === 11 ? from <= word && word < to : from.slice(0, 8) <= word && word <= to.slice(0, 8);
  });
}

/** @param {number | null | undefined} value @param {[low: number, high: number]} range */
const within = (value, [low, high]) => value !== null && value !== undefined && value >= low && value <= high;

// Everything that a change of filters needs, in one pass: the shots that fit, in order; how many of each facet's
// values would fit were that facet open; and those that would fit were the brushed score open.
/** @param {Row[]} rows @param {Filters} state @param {string} brushed */
export function choose(rows, state, brushed) {
  const words = plain(state.q).split(/\s+/).filter(Boolean);
  const ranges = Object.entries(state.ranges);
  /** @type {Counts} */
  const counts = Object.fromEntries(FACETS.map((f) => [f.name, new Map()]));
  /** @type {Row[]} */
  const shown = [];
  /** @type {Row[]} */
  const open = [];
  for (const row of rows) {
    if (words.length && !found(row, words)) continue;
    let failed = null;
    let fails = 0;
    for (const [name, range] of ranges) {
      if (!within(SCORES[name].of(row), range)) {
        fails += 1;
        failed = `r.${name}`;
      }
    }
    for (const facet of FACETS) {
      const wanted = state.chosen[facet.name];
      if (wanted && !valuesOf(facet, row).some((v) => wanted.has(v))) {
        fails += 1;
        failed = facet.name;
      }
      if (fails > 1) break;
    }
    if (fails > 1) continue;
    if (fails === 0) shown.push(row);
    if (fails === 0 || failed === `r.${brushed}`) open.push(row);
    for (const facet of FACETS) {
      if (fails === 1 && failed !== facet.name) continue;
      const count = counts[facet.name];
      for (const value of valuesOf(facet, row)) count.set(value, (count.get(value) ?? 0) + 1);
    }
  }
  return { shown: sorted(shown, state.sort), open, counts };
}

/** @param {Row[]} rows @param {string} sort */
export function sorted(rows, sort) {
  const less = SORTS[sort].less;
  /** @param {Row} a @param {Row} b */
  const film = (a, b) => a.title.localeCompare(b.title) || a.language.localeCompare(b.language) || a.order - b.order;
  return rows.sort((a, b) => less(a, b) || film(a, b));
}

// The values of a facet in the order in which they are listed.
/** @param {Facet} facet @param {Set<string>} known @param {Set<string> | undefined} chosen */
export function listed(facet, known, chosen) {
  const values = new Set([...known, ...(chosen ?? [])]);
  const order = facet.order ?? [];
  /** @param {string} v */
  const place = (v) => (order.includes(v) ? order.indexOf(v) : order.length);
  return [...values].sort((a, b) => place(a) - place(b) || a.localeCompare(b, "en", { numeric: true }));
}
