// The numbers of a take beside the original's, with the threshold beside both and a word for each: within or over.

import { h } from "./dom.js";
import { faceName, number, signed } from "./words.js";

// value, baseline, limit as text; over: crossed, or null where nothing was measured
/** @param {Scores | null} scores @param {Scores} row @param {Limits} limits */
export function measures(scores, row, limits) {
  /** @param {keyof Scores} name */
  const get = (name) => scores?.[name] ?? null;
  const [d, sd] = [get("lse_d"), get("source_lse_d") ?? row.source_lse_d];
  const offset = get("lse_offset_frames");
  const sharp = get("sharpness");
  const still = get("silence_motion");
  /** @param {number | null | undefined} value @param {boolean} yes */
  const over = (value, yes) => (value === null || value === undefined ? null : yes);
  const gap = d === null || sd === null || sd === undefined ? null : d - sd;
  return [
    { name: "LSE-D", about: "distance of lips and sound; less is better", value: number(d), base: number(sd),
      limit: `${gap === null ? "" : `${signed(gap)}, `}≤ +${number(limits.lse_d_over_source, 1)}`,
      over: over(gap, gap > limits.lse_d_over_source) },
    { name: "LSE-C", about: "confidence of the sync expert; more is better", value: number(get("lse_c")),
      base: number(get("source_lse_c") ?? row.source_lse_c), limit: "", over: null },
    { name: "Offset", about: "frames by which the sound is early or late", value: signed(offset, 1),
      base: signed(get("source_lse_offset_frames") ?? row.source_lse_offset_frames, 1), limit: `≤ ±${number(limits.offset_frames, 1)}`,
      over: over(offset, Math.abs(offset) > limits.offset_frames) },
    { name: "Sharpness", about: "detail of the mouth, take over source", value: number(sharp), base: number(1),
      limit: `≥ ${number(limits.min_sharpness)}`, over: over(sharp, sharp < limits.min_sharpness) },
    { name: "Silence motion", about: "mouth's motion in silence, take over source", value: number(still), base: number(1),
      limit: `≤ ${number(limits.max_silence_motion)}`, over: over(still, still > limits.max_silence_motion) },
    { name: "Follows wanted", about: "how closely the mouth does what the voice asks", value: number(get("following")),
      base: "", limit: "", over: null },
  ];
}

/** @param {Scores | null} scores @param {Scores & { status?: Row["status"] }} row @param {Limits} limits */
export function numbersTable(scores, row, limits) {
  if ([scores?.lse_d, scores?.sharpness, scores?.silence_motion].every((value) => (value ?? null) === null)) {
    return h("p.dim.none-yet", {}, row.status === "dubbed" ? "Nothing was measured of this take yet."
      : "Nothing was measured: the picture is the source's own.");
  }
  const rows = measures(scores, row, limits).map((m) => {
    const word = m.over === null ? "" : m.over ? "▲ over" : "within";
    return h(`tr${m.over ? ".over" : ""}`, {},
      h("th", { scope: "row", title: m.about }, m.name),
      h("td.value", {}, m.value),
      h("td.base", {}, m.base),
      h("td.limit", {}, m.limit),
      h(`td.word${m.over ? ".rejected" : ""}`, {}, word));
  });
  return h("table.numbers", {},
    h("caption.unseen", {}, "Scores of the take beside the original's"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span.unseen", {}, "Measure")), h("th", { scope: "col" }, "Take"),
      h("th", { scope: "col" }, "Original"), h("th", { scope: "col" }, "Limit"), h("th", { scope: "col" }, h("span.unseen", {}, "Verdict")))),
    h("tbody", {}, rows));
}

// One table for each re-rendered face, the worst first.
/** @param {FaceScores[]} faces @param {Limits} limits */
export const facesTables = (faces, limits) => faces.flatMap((face) => [
  h("h3.face-name", {}, faceName(face.track), h("span.dim", {}, ` frames ${face.start_frame} to ${face.end_frame - 1}, ${
    face.rendered_frames} re-rendered`)),
  numbersTable(face, face, limits),
]);
