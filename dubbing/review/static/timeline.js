// One strip of time: sound, mouth opening, sync, comments, the playhead. Everything but the playhead is drawn once.
// It can be drawn larger than the window, and shows a strip of pictures and, above the pointer, the frame under it.
// Knows curves of a shot, frames and a clock. Over 400 lines: one picture, of which each row is a short function.

import { $, colour, fitCanvas, setText } from "./dom.js";
import { Filmstrip } from "./filmstrip.js";
import { faceName, within } from "./words.js";

/** @import { Clock } from "./time.js" */

const GUTTER = 92; // for the names of the rows
const RIGHT = 8; // free at the right
const LEAST_FRAMES = 8; // that are seen at the largest
/** @type {{ name: "ruler" | "film" | "wave" | "words" | "opening" | "sync", height: number }[]} */
const ROWS = [
  { name: "ruler", height: 22 },
  { name: "film", height: 40 },
  { name: "wave", height: 46 },
  { name: "words", height: 60 }, // only where somebody has listened
  { name: "opening", height: 52 },
  { name: "sync", height: 46 },
];
/** @type {{ [severity: string]: string }} */
const TINTS = { note: "dim", issue: "warn", blocker: "bad" };
/** @type {{ [severity: string]: string }} */
const MARKS = { note: "●", issue: "▲", blocker: "■" };

/** @typedef {{ first: number, last: number, shot: Span, clock: Clock | null, curves: Curves | null, comments: Decision[],
 *   sound: Which, fps: number, face: string | null, unread: string }} Data */

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
    /** @type {Span | null} */
    this.shown = null; // [first, last) frames that are seen; null: all
    this.strip = new Filmstrip(() => this.pictured());
    /** @type {number | null} */
    this.hovered = null;
    new ResizeObserver(() => this.redraw()).observe(canvas.parentElement);
    /** @param {MouseEvent} event */
    const where = (event) => this.moment(event.clientX - canvas.getBoundingClientRect().left);
    /** @param {MouseEvent} event */
    const at = (event) => this.frameAt(where(event));
    /** @param {PointerEvent} event */
    const move = (event) => this.data && onseek(at(event));
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.data) return;
      canvas.setPointerCapture(event.pointerId);
      move(event);
      canvas.addEventListener("pointermove", move);
      canvas.addEventListener("pointerup", () => canvas.removeEventListener("pointermove", move), { once: true });
    });
    canvas.addEventListener("pointermove", (event) => this.hover(this.data ? at(event) : null));
    canvas.addEventListener("pointerleave", () => this.hover(null));
    canvas.addEventListener("wheel", (event) => {
      if (!this.data) return;
      event.preventDefault();
      const [a, b] = this.range;
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        this.show(a + Math.sign(event.deltaX || event.deltaY) * Math.max(1, (b - a) / 10), b - a);
      } else this.zoom(event.deltaY < 0 ? 1.25 : 0.8, where(event));
    }, { passive: false });
  }

  get rows() {
    const words = this.data?.curves?.words;
    return ROWS.filter((r) => r.name !== "words" || words?.dub.length || words?.source.length);
  }

  get height() {
    return this.rows.reduce((sum, r) => sum + r.height, 0) + 8;
  }

  /** @returns {Span} */
  get range() {
    return this.shown ?? [this.data.first, this.data.last];
  }

  // by: how much larger; around: the moment that stays where it is, default the playhead's frame
  /** @param {number} by @param {number} [around] */
  zoom(by, around = this.frame) {
    if (!this.data) return;
    const [a, b] = this.range;
    const long = Math.max(LEAST_FRAMES, (b - a) / by);
    this.show(around - ((around - a) / (b - a)) * long, long);
  }

  /** @param {number} from @param {number} long frames */
  show(from, long) {
    const { first, last } = this.data;
    const start = Math.min(last - long, Math.max(first, from));
    this.shown = long >= last - first ? null : [start, start + long];
    this.redraw();
  }

  // The frame under the pointer, above it: its picture and its timecode.
  /** @param {number | null} frame */
  hover(frame) {
    this.hovered = frame;
    this.strip.point(frame);
    this.preview();
  }

  pictured() {
    this.redraw();
    this.preview();
  }

  preview() {
    const box = $("#hover");
    const picture = this.hovered === null ? null : this.strip.held.get(this.hovered) ?? this.strip.nearest(this.hovered);
    box.hidden = !picture;
    if (!picture) return;
    const canvas = $("#hover-picture");
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").drawImage(picture, 0, 0);
    if (this.strip.held.has(this.hovered)) canvas.dataset.drawn = String(this.hovered);
    setText($("#hover-text"), `${this.text(this.hovered)} · ${this.hovered}`);
    box.style.left = `${Math.min(this.width - picture.width - 4, Math.max(0, this.x(this.hovered + 0.5) - picture.width / 2))}px`;
  }

  // data: {first, last, shot: [a, b], clock, curves, comments, sound: "dub" | "source", fps, face: the one face whose
  // curves are drawn, null: of each where it is re-rendered, unread: why there are no curves}
  /** @param {Partial<Data>} data */
  set(data) {
    const before = this.data;
    this.data = data && { ...this.data, ...data };
    if (before && (before.first !== this.data.first || before.last !== this.data.last)) this.shown = null;
    this.redraw();
  }

  /** @param {number} frame */
  x(frame) {
    const [first, last] = this.range;
    return GUTTER + ((frame - first) / (last - first)) * (this.width - GUTTER - RIGHT);
  }

  // What lies at x: frames, with the part of one.
  /** @param {number} x */
  moment(x) {
    const [from, to] = this.range;
    return from + ((x - GUTTER) / (this.width - GUTTER - RIGHT)) * (to - from);
  }

  /** @param {number} moment */
  frameAt(moment) {
    const { first, last } = this.data;
    return Math.min(last - 1, Math.max(first, Math.floor(moment)));
  }

  /** @param {number} frame */
  at(frame) {
    this.frame = frame;
    const [from, to] = this.data ? this.range : [0, 0];
    if (this.shown && (frame < from || frame >= to)) this.show(frame < from ? frame - (to - from) * 0.9 : frame - (to - from) * 0.1, to - from);
    else this.playhead();
  }

  redraw() {
    this.width = this.canvas.parentElement.clientWidth;
    if (!this.width) return;
    this.canvas.style.height = this.canvas.parentElement.style.height = `${this.height}px`;
    const c = fitCanvas(this.still, this.width, this.height);
    c.clearRect(0, 0, this.width, this.height);
    if (this.data?.shot) {
      this.canvas.dataset.range = this.range.map((frame) => frame.toFixed(1)).join(" ");
      this.paint(c);
    }
    this.canvas.dataset.state = this.data?.curves ? "drawn" : this.data?.unread ? "unread" : "reading";
    this.playhead();
  }

  playhead() {
    if (!this.width) return;
    const c = fitCanvas(this.canvas, this.width, this.height);
    c.clearRect(0, 0, this.width, this.height);
    c.drawImage(this.still, 0, 0, this.width, this.height);
    if (!this.data?.shot) return;
    const [a, b] = [this.x(this.frame), this.x(this.frame + 1)];
    if (b < GUTTER || a > this.width - RIGHT + 1) return; // somebody looks elsewhere
    c.fillStyle = colour("accent");
    c.globalAlpha = 0.22;
    c.fillRect(a, 0, Math.max(1, b - a), this.height);
    c.globalAlpha = 1;
    c.fillRect((a + b) / 2 - 0.75, 0, 1.5, this.height);
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
    /** @param {number} a @param {number} b @param {number} y */
    const band = (a, b, y) => {
      const [from, to] = [a, b].map((frame) => Math.min(this.width - RIGHT, Math.max(GUTTER, this.x(Math.min(last, Math.max(first, frame))))));
      c.fillRect(from, y, to - from, this.height - y);
    };
    c.fillStyle = colour("plot-silence");
    for (const [a, b] of curves?.silence ?? []) band(a, b, top);
    let y = 0;
    for (const { name, height } of this.rows) {
      this[name](c, y, height);
      y += height;
    }
    c.fillStyle = colour("bg");
    c.globalAlpha = 0.55; // the handles, outside of the shot
    band(first, shot[0], top);
    band(shot[1], last, top);
    c.globalAlpha = 1;
    c.fillStyle = colour("text");
    for (const frame of shot) if (this.seen(frame)) c.fillRect(this.x(frame) - 0.5, 4, 1, this.height - 4);
  }

  // Whether a moment lies in what is seen.
  /** @param {number} frame */
  seen(frame) {
    return this.x(frame) >= GUTTER - 0.5 && this.x(frame) <= this.width - RIGHT + 0.5;
  }

  // Nothing that is drawn reaches into the names.
  /** @param {Context} c @param {number} y @param {number} height @param {() => void} draw */
  clipped(c, y, height, draw) {
    c.save();
    c.beginPath();
    c.rect(GUTTER, y, this.width - GUTTER - RIGHT, height);
    c.clip();
    draw();
    c.restore();
  }

  // A picture every so many frames, of the middle of its place.
  /** @param {Context} c @param {number} y @param {number} height */
  film(c, y, height) {
    this.label(c, y, height, "Picture");
    const [from, to] = this.range;
    const wide = (height - 4) * this.strip.aspect;
    const places = Math.max(1, Math.ceil((this.width - GUTTER - RIGHT) / wide));
    const each = ((to - from) * wide) / (this.width - GUTTER - RIGHT);
    const frames = Array.from({ length: places }, (_, n) => Math.min(this.data.last - 1, Math.floor(from + (n + 0.5) * each)));
    this.strip.want([...new Set(frames)]);
    this.clipped(c, y, height, () => frames.forEach((frame, n) => {
      const picture = this.strip.held.get(frame) ?? this.strip.nearest(frame);
      if (picture) c.drawImage(picture, GUTTER + n * wide, y + 3, wide - 1, height - 4);
    }));
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
    const { comments, fps } = this.data;
    const [first, last] = this.range;
    const base = Math.max(1, Math.round(fps));
    const steps = [1, 2, 5, 10, ...[1, 2, 5, 10, 20, 30, 60, 120, 300].map((s) => s * base)].sort((a, b) => a - b);
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
      if (!this.seen(comment.frame + 0.5)) continue;
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
    this.clipped(c, y, height, () => this.peaks(c, wave, middle, scale));
  }

  /** @param {Context} c @param {Wave} wave @param {number} middle @param {number} scale */
  peaks(c, wave, middle, scale) {
    let from = 0;
    for (let n = 0; n < wave.low.length; n++) {
      const to = this.secondsX(wave.start_s + (n + 1) * wave.step_s);
      if (n === 0) from = this.secondsX(wave.start_s);
      c.fillRect(from, middle - wave.high[n] * scale, Math.max(0.6, to - from), Math.max(0.8, (wave.high[n] - wave.low[n]) * scale));
      from = to;
    }
  }

  // What is said, dub above original, on two lines each, so that a word has the room of two; narrower where it needs more.
  /** @param {Context} c @param {number} y @param {number} height */
  words(c, y, height) {
    const { curves, clock } = this.data;
    this.label(c, y, height, "Words");
    c.fillStyle = colour("dim");
    ["dub", "original"].forEach((name, n) => c.fillText(name, 46, y + 16 + 28 * n));
    if (!clock) return;
    this.clipped(c, y, height, () => {
      this.said(c, y + 9, curves.words.dub, "plot-b");
      this.said(c, y + 37, curves.words.source, "plot-a");
    });
  }

  /** @param {Context} c @param {number} y @param {Heard[]} words @param {string} tint */
  said(c, y, words, tint) {
    words.forEach(([word, from, to, who], n) => {
      const [a, b] = [this.secondsX(from), this.secondsX(to)];
      c.fillStyle = colour(tint);
      c.fillRect(a, y + 18, Math.max(1, b - a - 1), 1.5);
      const room = (n + 2 < words.length ? this.secondsX(words[n + 2][1]) : this.width - RIGHT) - a - 3;
      const name = who && who !== words[n - 1]?.[3] ? `${who}: ` : "";
      const text = c.measureText(name + word).width <= 1.3 * room ? name + word : word;
      if (room < 5) return;
      c.fillStyle = colour("text");
      c.fillText(text, a, y + 12 * (n % 2), room);
    });
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
    c.save();
    c.beginPath();
    c.rect(GUTTER, 0, this.width - GUTTER - RIGHT, this.height);
    c.clip();
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
    c.restore();
    c.setLineDash([]);
  }

  /** @param {Context} c @param {number} y @param {number} height */
  opening(c, y, height) {
    this.label(c, y, height, "Mouth open", [["wanted", "plot-c", [5, 3]], ["seen", "plot-b", []], ["original", "plot-a", [1.5, 2]]]);
    const faces = this.faces().filter((f) => f.opening.frames.length);
    if (!faces.length) return this.nothing(c, y, height);
    const all = faces.flatMap(({ opening: o }) => [...o.wanted, ...o.seen, ...o.was]).filter((v) => v !== null);
    const most = Math.max(0.05, ...all);
    /** @param {number} v */
    const toY = (v) => y + height - 4 - (Math.max(0, v) / most) * (height - 9);
    for (const { track, rendered, opening: o } of faces) {
      const was = faces.length > 1 ? o.was.map((v, n) => (within(rendered, o.frames[n]) ? v : null)) : o.was;
      this.line(c, o.frames, was, toY, "plot-a", [1.5, 2], 1.3);
      this.line(c, o.frames, o.seen, toY, "plot-b");
      this.line(c, o.frames, o.wanted, toY, "plot-c", [5, 3], 1.4);
      if (faces.length > 1) this.names(c, y, faceName(track), rendered);
    }
    return undefined;
  }

  /** @param {Context} c @param {number} y @param {number} height */
  sync(c, y, height) {
    this.label(c, y, height, "Sync", [["dub", "plot-b", []], ["original", "plot-a", [1.5, 2]]]);
    const faces = this.faces().map((f) => f.confidence).filter((s) => s.frames.length);
    if (!faces.length) return this.nothing(c, y, height);
    const all = faces.flatMap((s) => [...(s.dub ?? []), ...(s.source ?? [])]).filter((v) => v !== null);
    const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
    /** @param {number} v */
    const toY = (v) => y + height - 4 - ((v - low) / (high - low)) * (height - 9);
    c.fillStyle = colour("line");
    c.fillRect(GUTTER, toY(0), this.width - GUTTER - RIGHT, 1);
    for (const s of faces) {
      this.line(c, s.frames, s.source, toY, "plot-a", [1.5, 2], 1.3);
      this.line(c, s.frames, s.dub, toY, "plot-b");
    }
    return undefined;
  }

  // The faces whose curves are drawn.
  /** @returns {FaceCurves[]} */
  faces() {
    const all = this.data.curves?.faces ?? [];
    const one = all.filter((f) => f.track === this.data.face);
    return one.length ? one : all;
  }

  // Whose curve it is, at the beginning of each stretch that has room for it.
  /** @param {Context} c @param {number} y @param {string} name @param {Span[]} spans */
  names(c, y, name, spans) {
    c.font = `10px ${colour("font")}`;
    c.fillStyle = colour("dim");
    for (const [first, end] of spans) {
      const [a, b] = [this.x(first), this.x(end)];
      c.fillRect(a, y + 1, b - a, 1.5);
      if (b - a > c.measureText(name).width + 4) c.fillText(name, a + 2, y + 8);
    }
    c.font = `11px ${colour("font")}`;
  }

  /** @param {Context} c @param {number} y @param {number} height */
  nothing(c, y, height) {
    c.fillStyle = colour("dim");
    c.fillText(this.data.curves ? "not measured" : this.data.unread || "reading …", GUTTER + 8, y + height / 2);
  }
}

// How far apart lips and sound are at every shift: the lowest point is the offset. none: what to say without a curve.
/** @param {HTMLCanvasElement} canvas @param {Offset | null | undefined} offset @param {string} none */
export function paintOffset(canvas, offset, none) {
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
    c.fillText(none, 4, height / 2);
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
