// Words and numbers for what a row holds: no code is shown where a person can be told. Knows no element.

/** @type {{ [status: string]: string }} */
export const STATUS = { dubbed: "dubbed", untouched: "left alone", failed: "failed" };

/** @type {{ [reason: string]: string }} */
export const REASON = {
  no_face: "no face",
  no_speech: "no speech",
  off_screen: "speaker off screen",
  too_small: "face too small",
  profile: "in profile",
  occluded: "mouth covered",
  out_of_frame: "mouth beyond the picture's edge",
  excluded: "excluded",
  no_consent: "no consent",
  dissolve: "in a dissolve or fade",
  burned_in: "letters over the mouth",
};

/** @type {{ [verdict: string]: { word: string, icon: string } }} */
export const VERDICT = {
  approved: { word: "approved", icon: "approve" },
  rejected: { word: "rejected", icon: "reject" },
  original: { word: "original kept", icon: "original" },
  chosen: { word: "take chosen", icon: "take" },
};

/** @type {{ [kind: string]: string }} */
export const KIND = {
  approve: "approved",
  reject: "rejected",
  original: "left the original",
  choose: "chose",
  comment: "commented",
  rerun: "asked for a rerun",
  undo: "took back",
};

// Why a take is rejected: what the makers of a generator need to know. The keys 1 to 6, in this order.
/** @type {Record<Reason, string>} */
export const REASONS = {
  teeth: "teeth", jaw: "jaw", sync: "out of sync", wrong_face: "wrong face", covered: "mouth covered", seam: "seam",
};

// The parts of severity: 1 is at the threshold.
export const PARTS = [
  { name: "lse", short: "LSE", long: "lip-sync error (LSE-D) over the original's", says: "Lips fit worse" },
  { name: "offset", short: "Offs", long: "offset: sound early or late", says: "Sound off" },
  { name: "sharp", short: "Soft", long: "softness: mouth less sharp than the source", says: "Softer" },
  { name: "silence", short: "Sil", long: "silence: mouth moves while nothing is said", says: "Moves in silence" },
];

// What can be looked at as a distribution, brushed, sorted and filtered by range.
/** @type {{ [score: string]: Score }} */
export const SCORES = {
  severity: { label: "Severity", of: (r) => r.severity, digits: 2, limit: () => 1 },
  over: {
    label: "LSE-D over original", digits: 2,
    of: (r) => (r.lse_d === null || r.source_lse_d === null ? null : r.lse_d - r.source_lse_d),
    limit: (t) => t.lse_d_over_source,
  },
  lse_d: { label: "LSE-D", of: (r) => r.lse_d, digits: 2 },
  lse_c: { label: "LSE-C", of: (r) => r.lse_c, digits: 2 },
  offset: {
    label: "Offset, frames", digits: 1,
    of: (r) => (r.lse_offset_frames === null ? null : Math.abs(r.lse_offset_frames)),
    limit: (t) => t.offset_frames,
  },
  sharpness: { label: "Sharpness", of: (r) => r.sharpness, digits: 2, limit: (t) => t.min_sharpness },
  silence: { label: "Silence motion", of: (r) => r.silence_motion, digits: 2, limit: (t) => t.max_silence_motion },
  following: { label: "Mouth follows wanted", of: (r) => r.following, digits: 2 },
  face: { label: "Face height, px", of: (r) => r.face_px, digits: 0 },
  yaw: { label: "Head turn, degrees", of: (r) => (r.yaw_deg === null ? null : Math.abs(r.yaw_deg)), digits: 0 },
  frames: { label: "Length, frames", of: (r) => r.end_frame - r.start_frame, digits: 0 },
};

/** @type {{ [sort: string]: { label: string, less: (a: Row, b: Row) => number } }} */
export const SORTS = {
  worst: { label: "worst first", less: (a, b) => b.severity - a.severity },
  film: { label: "film order", less: () => 0 },
  newest: { label: "newest decision", less: (a, b) => (b.at ?? "").localeCompare(a.at ?? "") },
  comments: { label: "most comments", less: (a, b) => b.comments - a.comments },
  longest: { label: "longest", less: (a, b) => b.end_frame - b.start_frame - (a.end_frame - a.start_frame) },
};

/** @param {number | null | undefined} value @param {number} [digits] */
export const number = (value, digits = 2) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits).replace("-", "−");

/** @param {number | null | undefined} value @param {number} [digits] */
export const signed = (value, digits = 2) =>
  value === null || value === undefined ? "–" : `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(value).toFixed(digits)}`;

/** @param {number} n */
export const thousands = (n) => n.toLocaleString("en-US");
/** @param {number} n @param {string} word */
export const plural = (n, word) => `${thousands(n)} ${word}${n === 1 ? "" : "s"}`;

// A shot as messages name it.
/** @param {ShotKey} key */
export const nameOf = ([title, language, shot]) => `${shot} (${title}, ${language})`;

const LANGUAGE_NAMES = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

/** @param {string} code */
export function languageName(code) {
  try {
    return LANGUAGE_NAMES.of(code);
  } catch {
    return code;
  }
}

// Who is on screen: the character where the table names one, else a short name of the fitted actor.
/** @param {Row} row */
export function character(row) {
  if (row.character) return row.character;
  return row.actor ? `actor ${row.actor.replace(/^actor_/, "").replace(/\..*$/, "").slice(0, 4)}` : null;
}

/** @type {{ [track: string]: string }} */
let characters = {};
// From now on, these faces are called by whom they play.
/** @param {{ [track: string]: string }} names */
export function nameFaces(names) {
  characters = names;
}

// "ANNA", else "face 2", of its track.
/** @param {string} track */
export const faceName = (track) => characters[track] ?? track.split("/").at(-1).replace("_", " ");

/** @param {Span[]} spans @param {number} frame */
export const within = (spans, frame) => spans.some(([first, last]) => frame >= first && frame < last);

// The one sentence under a card: what is the worst of it.
/** @param {Pick<Row, "status" | "reason" | "severity_parts"> & { error?: string | null }} row */
export function complaint(row) {
  if (row.status === "failed") return row.error ? `Failed: ${row.error}` : "Failed";
  if (row.status === "untouched") return `Left alone: ${REASON[row.reason] ?? row.reason ?? "no reason given"}`;
  const parts = row.severity_parts ?? {};
  const [name, value] = Object.entries(parts).sort((a, b) => b[1] - a[1])[0] ?? [null, 0];
  if (name === null) return "Nothing was measured";
  if (value < 0.05) return "As good as the original";
  const share = value >= 1 ? `${number(value, 1)}× its limit` : `${Math.round(value * 100)} % of limit`;
  return `${PARTS.find((p) => p.name === name)?.says ?? name}: ${share}`;
}

// How bad, in a word: never the colour alone.
/** @param {Row} row @returns {keyof typeof GRADE} */
export function grade(row) {
  if (row.status === "failed") return "failed";
  if (row.status === "untouched") return "untouched";
  if (row.severity >= 1) return "over";
  return row.severity >= 0.5 ? "close" : "fine";
}

export const GRADE = { failed: "failed", over: "over a limit", close: "near a limit", fine: "within", untouched: "left alone" };

/** @param {string | GeneratorChoice | null | undefined} generator @returns {string} */
export function generatorText(generator) {
  if (!generator) return "–";
  if (typeof generator === "string") return generator;
  const { name, ...settings } = generator;
  if (name === "by_face" && settings.faces) {
    const others = Object.entries(/** @type {Record<string, GeneratorChoice>} */ (settings.faces)).map(([face, by]) => `${faceName(face)} by ${generatorText(by)}`);
    return [generatorText(/** @type {GeneratorChoice} */ (settings.main)), ...others].join("; ");
  }
  const told = Object.entries(settings).map(([k, v]) => `${k} ${v}`);
  return told.length ? `${name} · ${told.join(", ")}` : name;
}
