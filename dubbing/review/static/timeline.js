// One strip of time: sound, mouth opening, sync, comments, the playhead. Everything but the playhead is drawn once.
// Knows curves of a shot, frames and a clock; no video.

import { colour, fitCanvas } from "./dom.js";

/** @import { Clock } from "./time.js" */

const GUTTER = 92; // for the names of the rows
/** @type {{ name: "ruler" | "wave" | "opening" | "sync", height: number }[]} */
const ROWS = [
  { name: "ruler", height: 22 },
  { name: "wave", height: 46 },
  { name: "opening", height: 52 },
  { name: "sync", height: 46 },
];
export const TIMELINE_HEIGHT = ROWS.reduce((sum, r) => sum + r.height, 0) + 8;
/** @type {{ [severity: string]: string }} */
const TINTS = { note: "dim", issue: "warn", blocker: "bad" };
/** @type {{ [severity: string]: string }} */
const MARKS = { note: "●", issue: "▲", blocker: "■" };

/** @typedef {{ first: number, last: number, shot: Span, clock: Clock | null, curves: Curves | null, comments: Decision[],
 *   sound: Which, fps: number }} Data */

export class Timeline {
  // onseek(frame); text(frame): its timecode
  /** @param {HTMLCanvasElement} canvas
   * @param {{ onseek: (frame: number) => void, text: (frame: number) => string }} on */
  constructor(canvas, { onseek, text }) {
    this.canvas = canvas;
    this.text = text;
    /** @type {Data | null} */
    this.data = null;
    this.width = 0;
    this.frame = 0;
    this.still = document.createElement("canvas");
    new ResizeObserver(() => this.redraw()).observe(canvas.parentElement);
    /** @param {PointerEvent} event */
    const at = (event) => this.frameAt(event.clientX - canvas.getBoundingClientRect().left);
    /** @param {PointerEvent} event */
    const move = (event) => this.data && onseek(at(event));
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.data) return;
      canvas.setPointerCapture(event.pointerId);
      move(event);
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerup", () => canvas.removeEventListener("pointermove", move), { once: true });
    });
  }

  // data: {first, last, shot: [a, b], clock, curves, comments, sound: "dub" | "source", fps}
  /** @param {Partial<Data>} data */
  set(data) {
    this.data = data && { ...this.data, ...data };
    this.redraw();
  }

  /** @param {number} frame */
  x(frame) {
    const { first, last } = this.data;
    return GUTTER + ((frame - first) / (last - first)) * (this.width - GUTTER - 8);
  }

  /** @param {number} x */
  frameAt(x) {
    const { first, last } = this.data;
    const share = (x - GUTTER) / (this.width - GUTTER - 8);
    return Math.min(last - 1, Math.max(first, first + Math.floor(share * (last - first))));
  }

  /** @param {number} frame */
  at(frame) {
    this.frame = frame;
    this.playhead();
  }

  redraw() {
    this.width = this.canvas.parentElement.clientWidth;
    if (!this.width) return;
    const c = fitCanvas(this.still, this.width, TIMELINE_HEIGHT);
    c.clearRect(0, 0, this.width, TIMELINE_HEIGHT);
    if (this.data) this.paint(c);
    this.playhead();
  }

  playhead() {
    if (!this.width) return;
    const c = fitCanvas(this.canvas, this.width, TIMELINE_HEIGHT);
    c.clearRect(0, 0, this.width, TIMELINE_HEIGHT);
    c.drawImage(this.still, 0, 0, this.width, TIMELINE_HEIGHT);
    if (!this.data) return;
    const [a, b] = [this.x(this.frame), this.x(this.frame + 1)];
    c.fillStyle = colour("accent");
    c.globalAlpha = 0.22;
    c.fillRect(a, 0, Math.max(1, b - a), TIMELINE_HEIGHT);
    c.globalAlpha = 1;
    c.fillRect((a + b) / 2 - 0.75, 0, 1.5, TIMELINE_HEIGHT);
    c.beginPath();
    c.moveTo((a + b) / 2 - 5, 0);
    c.lineTo((a + b) / 2 + 5, 0);
    c.lineTo((a + b) / 2, 7);
    c.fill();
  }

  /** @param {Context} c */
  paint(c) {
    const { first, last, shot, curves } = this.data;
    c.font = `11px ${colour("font")}`;
    c.textBaseline = "middle";
    const top = ROWS[0].height;
    for (const [a, b] of curves?.silence ?? []) {
      c.fillStyle = colour("plot-silence");
      c.fillRect(this.x(Math.max(a, first)), top, this.x(Math.min(b, last)) - this.x(Math.max(a, first)), TIMELINE_HEIGHT - top);
    }
    let y = 0;
    for (const { name, height } of ROWS) {
      this[name](c, y, height);
      y += height;
    }
    c.fillStyle = colour("bg");
    c.globalAlpha = 0.55; // the handles, outside of the shot
    c.fillRect(this.x(first), top, this.x(shot[0]) - this.x(first), TIMELINE_HEIGHT);
    c.fillRect(this.x(shot[1]), top, this.x(last) - this.x(shot[1]), TIMELINE_HEIGHT);
    c.globalAlpha = 1;
    c.fillStyle = colour("text");
    for (const frame of shot) c.fillRect(this.x(frame) - 0.5, 4, 1, TIMELINE_HEIGHT - 4);
  }

  /** @param {Context} c @param {number} y @param {number} height @param {string} text @param {[name: string, tint: string, dash: number[]][]} [lines] */
  label(c, y, height, text, lines = []) {
    c.fillStyle = colour("text");
    c.fillText(text, 2, y + (lines.length ? 9 : height / 2));
    c.fillStyle = colour("line");
    c.fillRect(0, y, this.width, 1);
    lines.forEach(([name, tint, dash], n) => {
      const at = y + 23 + n * 12;
      c.strokeStyle = colour(tint);
      c.lineWidth = 1.6;
      c.setLineDash(dash);
      c.beginPath();
      c.moveTo(3, at);
      c.lineTo(23, at);
      c.stroke();
      c.setLineDash([]);
      c.fillStyle = colour("dim");
      c.font = `11px ${colour("font")}`;
      c.fillText(name, 28, at);
      c.font = `11px ${colour("font")}`;
    });
  }

  /** @param {Context} c @param {number} y @param {number} height */
  ruler(c, y, height) {
    const { first, last, comments, fps } = this.data;
    const base = Math.max(1, Math.round(fps));
    const steps = [1, 2, 5, 10, 20, 30, 60, 120, 300].map((s) => s * base);
    const wide = (this.width - GUTTER) / (last - first);
    const every = steps.find((s) => s * wide > 84) ?? steps.at(-1);
    c.fillStyle = colour("dim");
    c.font = `11px ${colour("mono")}`;
    for (let frame = Math.ceil(first / every) * every; frame < last; frame += every) {
      const at = this.x(frame);
      c.fillRect(at, y + height - 5, 1, 5);
      if (at < this.width - 74) c.fillText(this.text(frame), at + 3, y + 9);
    }
    c.font = `12px ${colour("font")}`;
    for (const comment of comments ?? []) {
      c.fillStyle = colour(TINTS[comment.severity] ?? "dim");
      c.textAlign = "center";
      c.fillText(MARKS[comment.severity] ?? "●", this.x(comment.frame + 0.5), y + height - 5);
      c.textAlign = "left";
    }
    c.font = `11px ${colour("font")}`;
  }

  /** @param {Context} c @param {number} y @param {number} height */
  wave(c, y, height) {
    const { curves, sound, clock } = this.data;
    this.label(c, y, height, sound === "dub" ? "Dub sound" : "Source sound");
    const wave = curves?.waveform?.[sound];
    if (!wave?.low?.length || !clock) return;
    const most = Math.max(0.02, ...wave.high, ...wave.low.map((v) => -v));
    const middle = y + height / 2;
    const scale = (height / 2 - 4) / most;
    c.fillStyle = colour(sound === "dub" ? "plot-b" : "plot-a");
    c.save();
    c.beginPath();
    c.rect(GUTTER, y, this.width - GUTTER - 8, height);
    c.clip();
    let from = 0;
    for (let n = 0; n < wave.low.length; n++) {
      const to = this.secondsX(wave.start_s + (n + 1) * wave.step_s);
      if (n === 0) from = this.secondsX(wave.start_s);
      c.fillRect(from, middle - wave.high[n] * scale, Math.max(0.6, to - from), Math.max(0.8, (wave.high[n] - wave.low[n]) * scale));
      from = to;
    }
    c.restore();
  }

  // Seconds of the proxy's clock on the axis of frames (which are not all alike where the rate varies).
  /** @param {number} seconds */
  secondsX(seconds) {
    const { clock, fps, last } = this.data;
    if (seconds >= clock.duration_s) return this.x(last + (seconds - clock.duration_s) * fps);
    const frame = clock.at(seconds);
    const [a, b] = [clock.start(frame), clock.start(frame + 1)];
    return this.x(frame + Math.min(1, Math.max(0, (seconds - a) / Math.max(1e-6, b - a))));
  }

  /** @param {Context} c @param {number[]} frames @param {Curve} values @param {(v: number) => number} toY @param {string} tint
   * @param {number[]} [dash] @param {number} [width] */
  line(c, frames, values, toY, tint, dash = [], width = 1.6) {
    if (!frames || !values) return;
    c.strokeStyle = colour(tint);
    c.lineWidth = width;
    c.setLineDash(dash);
    c.beginPath();
    let pen = false;
    values.forEach((v, n) => {
      if (v === null || v === undefined) pen = false;
      else if (pen) c.lineTo(this.x(frames[n] + 0.5), toY(v));
      else {
        c.moveTo(this.x(frames[n] + 0.5), toY(v));
        pen = true;
      }
    });
    c.stroke();
    c.setLineDash([]);
  }

  /** @param {Context} c @param {number} y @param {number} height */
  opening(c, y, height) {
    this.label(c, y, height, "Mouth open", [["wanted", "plot-c", [5, 3]], ["seen", "plot-b", []], ["original", "plot-a", [1.5, 2]]]);
    const o = this.data.curves?.opening;
    if (!o?.frames?.length) return this.nothing(c, y, height);
    const all = [...(o.wanted ?? []), ...(o.seen ?? []), ...(o.was ?? [])].filter((v) => v !== null);
    const most = Math.max(0.05, ...all);
    /** @param {number} v */
    const toY = (v) => y + height - 4 - (Math.max(0, v) / most) * (height - 9);
    this.line(c, o.frames, o.was, toY, "plot-a", [1.5, 2], 1.3);
    this.line(c, o.frames, o.seen, toY, "plot-b");
    return this.line(c, o.frames, o.wanted, toY, "plot-c", [5, 3], 1.4);
  }

  /** @param {Context} c @param {number} y @param {number} height */
  sync(c, y, height) {
    this.label(c, y, height, "Sync", [["dub", "plot-b", []], ["original", "plot-a", [1.5, 2]]]);
    const s = this.data.curves?.confidence;
    if (!s?.frames?.length) return this.nothing(c, y, height);
    const all = [...(s.dub ?? []), ...(s.source ?? [])].filter((v) => v !== null);
    const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
    /** @param {number} v */
    const toY = (v) => y + height - 4 - ((v - low) / (high - low)) * (height - 9);
    c.fillStyle = colour("line");
    c.fillRect(GUTTER, toY(0), this.width - GUTTER - 8, 1);
    this.line(c, s.frames, s.source, toY, "plot-a", [1.5, 2], 1.3);
    return this.line(c, s.frames, s.dub, toY, "plot-b");
  }

  /** @param {Context} c @param {number} y @param {number} height */
  nothing(c, y, height) {
    c.fillStyle = colour("dim");
    c.fillText(this.data.curves ? "not measured" : "reading …", GUTTER + 8, y + height / 2);
  }
}

// How far apart lips and sound are at every shift: the lowest point is the offset.
/** @param {HTMLCanvasElement} canvas @param {Offset | null | undefined} offset */
export function paintOffset(canvas, offset) {
  const box = canvas.parentElement;
  const [width, height] = [box.clientWidth, canvas.clientHeight || 120];
  if (!width) return;
  const c = fitCanvas(canvas, width, height);
  c.clearRect(0, 0, width, height);
  c.font = `11px ${colour("font")}`;
  const shifts = offset?.shifts ?? [];
  const all = [...(offset?.distance ?? []), ...(offset?.source_distance ?? [])].filter((v) => v !== null && v !== undefined);
  if (!shifts.length || !all.length) {
    c.fillStyle = colour("dim");
    c.fillText("not measured", 4, height / 2);
    return;
  }
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const bottom = height - 16;
  /** @param {number} s */
  const x = (s) => 6 + ((s - shifts[0]) / (shifts.at(-1) - shifts[0])) * (width - 12);
  /** @param {number} v */
  const y = (v) => 6 + ((high - v) / Math.max(1e-6, high - low)) * (bottom - 12);
  c.fillStyle = colour("dim");
  c.textAlign = "center";
  for (const s of shifts) {
    if (s % 5) continue;
    c.fillStyle = colour("line");
    c.fillRect(x(s), 4, 1, bottom - 4);
    c.fillStyle = colour("dim");
    if (s !== shifts[0] && s !== shifts.at(-1)) c.fillText(s > 0 ? `+${s}` : String(s).replace("-", "−"), x(s), height - 5);
  }
  /** @type {[values: number[] | null, tint: string, dash: number[]][]} */
  const both = [[offset.source_distance, "plot-a", [1.5, 2]], [offset.distance, "plot-b", []]];
  for (const [values, tint, dash] of both) {
    if (!values?.length) continue;
    c.strokeStyle = colour(tint);
    c.setLineDash(dash);
    c.lineWidth = 1.6;
    c.beginPath();
    values.forEach((v, n) => (n ? c.lineTo(x(shifts[n]), y(v)) : c.moveTo(x(shifts[n]), y(v))));
    c.stroke();
    c.setLineDash([]);
    const best = values.indexOf(Math.min(...values));
    c.fillStyle = colour(tint);
    c.beginPath();
    c.arc(x(shifts[best]), y(values[best]), 3.2, 0, 7);
    c.fill();
  }
  c.textAlign = "left";
}
