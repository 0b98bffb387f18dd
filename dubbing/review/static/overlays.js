// Face boxes with their track, and the matte's outline, over a pane. Knows upright source pixels and panes only.

import { colour } from "./dom.js";
import { faceName, within } from "./words.js";

/** @typedef {(x: number, y: number) => [x: number, y: number]} To */

// From upright source pixels to the canvas, for the whole picture or the region around the mouth.
/** @param {Pane} rect @param {Picture} picture @returns {To | null} */
export function mapping(rect, { size, mouth_boxes, frame, first }) {
  if (rect.region === "full") {
    if (!size) return null;
    return (x, y) => [rect.x + (x * rect.w) / size[0], rect.y + (y * rect.h) / size[1]];
  }
  const box = mouth_boxes?.[frame - first];
  if (!box) return null;
  return (x, y) => [rect.x + ((x - box[0]) * rect.w) / box[2], rect.y + ((y - box[1]) * rect.h) / box[3]];
}

/** @param {Context} c @param {Pane} rect @param {Picture} picture @param {Overlays | null} overlays
 * @param {{ faces: boolean, matte: boolean }} which */
export function paintOverlays(c, rect, picture, overlays, { faces, matte }) {
  if (!overlays || (!faces && !matte)) return;
  const to = mapping(rect, picture);
  if (!to) return;
  if (matte) paintMatte(c, to, overlays.mattes?.[picture.frame] ?? []);
  if (faces) for (const face of overlays.faces ?? []) paintFace(c, to, face, picture.frame);
}

/** @param {Context} c @param {To} to @param {number[][]} polygons */
function paintMatte(c, to, polygons) {
  for (const flat of polygons) {
    c.beginPath();
    for (let n = 0; n + 1 < flat.length; n += 2) {
      const [x, y] = to(flat[n], flat[n + 1]);
      if (n) c.lineTo(x, y);
      else c.moveTo(x, y);
    }
    c.closePath();
    twice(c, "#55e0c4", [4, 3]);
  }
}

/** @param {Context} c @param {To} to @param {Face} face @param {number} frame */
function paintFace(c, to, face, frame) {
  const box = face.boxes?.[frame];
  if (!box) return;
  const [x0, y0] = to(box[0], box[1]);
  const [x1, y1] = to(box[0] + box[2], box[1] + box[3]);
  c.beginPath();
  c.rect(x0, y0, x1 - x0, y1 - y0);
  const changed = within(face.rendered, frame);
  twice(c, changed ? "#ffd166" : "#ffffff", changed ? [] : [2, 3]);
  const text = `${faceName(face.track)}${changed ? " · re-rendered" : ""}`;
  c.font = `11px ${colour("font")}`;
  c.textBaseline = "bottom";
  const wide = c.measureText(text).width;
  c.fillStyle = "rgb(0 0 0 / 65%)";
  c.fillRect(x0, y0 - 16, wide + 8, 16);
  c.fillStyle = "#fff";
  c.fillText(text, x0 + 4, y0 - 2);
}

// A light line on a dark one: seen on every picture.
/** @param {Context} c @param {string} light @param {number[]} dash */
function twice(c, light, dash) {
  c.setLineDash([]);
  c.lineWidth = 3;
  c.strokeStyle = "rgb(0 0 0 / 50%)";
  c.stroke();
  c.setLineDash(dash);
  c.lineWidth = 1.4;
  c.strokeStyle = light;
  c.stroke();
  c.setLineDash([]);
}
