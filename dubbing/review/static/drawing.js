// Drawing on a frame: strokes in parts of the whole picture's width and height, kept with a comment, shown at its frame.

import { mapping } from "./overlays.js";

export const MOST_STROKES = 40;
export const MOST_POINTS = 2000; // of all strokes together; the server refuses more
const NEAR = 0.002; // points closer than this to the last one are left out

/** @typedef {[x: number, y: number][]} Stroke */

/** @param {Context} c @param {Pane} rect @param {Picture} picture @param {Stroke[]} strokes */
export function paintStrokes(c, rect, picture, strokes) {
  const to = strokes.length ? mapping(rect, picture) : null;
  if (!to) return;
  const [w, h] = picture.size;
  c.lineCap = c.lineJoin = "round";
  for (const [tint, width] of /** @type {[string, number][]} */ ([["rgb(0 0 0 / 55%)", 5], ["#ff5fa2", 2.5]])) {
    c.strokeStyle = tint;
    c.lineWidth = width;
    for (const stroke of strokes) {
      c.beginPath();
      stroke.forEach(([x, y], n) => (n ? c.lineTo(...to(x * w, y * h)) : c.moveTo(...to(x * w, y * h))));
      if (stroke.length === 1) c.lineTo(...to(stroke[0][0] * w, stroke[0][1] * h));
      c.stroke();
    }
  }
}

export class Drawing {
  /** @param {HTMLCanvasElement} canvas @param {import("./view.js").View} view
   * @param {{ onbegin: () => void, onchange: () => void }} on */
  constructor(canvas, view, { onbegin, onchange }) {
    this.canvas = canvas;
    this.view = view;
    this.onbegin = onbegin;
    this.onchange = onchange;
    this.on = false;
    /** @type {number | null} */
    this.frame = null; // of the strokes
    /** @type {Stroke[]} */
    this.strokes = [];
    canvas.addEventListener("pointerdown", (event) => this.down(event), { capture: true });
  }

  clear() {
    this.frame = null;
    this.strokes = [];
    this.onchange();
  }

  undo() {
    this.strokes.pop();
    if (!this.strokes.length) this.frame = null;
    this.onchange();
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (!this.on || !this.view.picture) return;
    event.stopImmediatePropagation(); // the wipe stays where it is
    event.preventDefault();
    this.onbegin();
    const box = this.canvas.getBoundingClientRect();
    /** @param {PointerEvent} e @returns {[number, number]} */
    const at = (e) => [e.clientX - box.left, e.clientY - box.top];
    const [x, y] = at(event);
    const pane = this.view.rects.find((r) => x >= r.x && x <= r.x + r.w && y >= r.y && y <= r.y + r.h);
    const to = pane && mapping(pane, this.view.picture);
    if (!to || this.strokes.length >= MOST_STROKES) return;
    if (this.frame !== this.view.picture.frame) this.strokes = [];
    this.frame = this.view.picture.frame;
    const [w, h] = this.view.picture.size;
    const [x0, y0] = to(0, 0);
    const [x1, y1] = to(w, h);
    /** @type {Stroke} */
    const stroke = [];
    this.strokes.push(stroke);
    /** @param {PointerEvent} e */
    const move = (e) => {
      const [px, py] = at(e);
      /** @param {number} v */
      const part = (v) => +Math.min(1, Math.max(0, v)).toFixed(4);
      /** @type {[number, number]} */
      const point = [part((px - x0) / (x1 - x0)), part((py - y0) / (y1 - y0))];
      const before = stroke.at(-1);
      if (before && Math.hypot(point[0] - before[0], point[1] - before[1]) < NEAR) return;
      if (this.strokes.reduce((sum, s) => sum + s.length, 0) < MOST_POINTS) stroke.push(point);
      this.onchange();
    };
    move(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true });
  }
}
