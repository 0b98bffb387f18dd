// The stage: panes of one decoded picture, drawn side by side, as a wipe, flickering or as their difference.
// Knows the layout of a packed picture and where things lie on the canvas; no shot, no server.

import { colour, fitCanvas } from "./dom.js";
import { paintStrokes } from "./drawing.js";
import { paintOverlays } from "./overlays.js";
import { faceName } from "./words.js";

/** @import { Stroke } from "./drawing.js" */

const GAP = 6;
const CAPTION = 20;
export const MODES = ["side", "wipe", "flicker", "difference"];
export const ZOOMS = ["both", "full", "mouth"];
export const GAINS = [1, 2, 4, 8, 16, 32, 64];
export const RATES = [0, 0.5, 1, 1.5, 2, 3]; // changes of side a second; 0: by hand. Never more than three flashes

export class View {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.scratch = document.createElement("canvas");
    this.still = document.createElement("canvas"); // one picture of the video: every pane is cut from it
    this.mode = "side";
    this.zoom = "both";
    this.wipe = 0.5;
    this.gain = 4;
    this.rate = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 1.5;
    this.phase = 0;
    this.timer = 0;
    this.faces = false;
    this.matte = false;
    /** @type {Overlays | null} */
    this.overlays = null;
    /** @type {(frame: number) => Stroke[]} */
    this.strokes = () => []; // what is drawn over a frame
    this.captions = ["A", "B"];
    /** @type {Picture | null} */
    this.picture = null; // {source, layout, frame, ...}: what was drawn last
    /** @type {Pane[]} */
    this.rects = [];
    new ResizeObserver(() => this.draw()).observe(canvas.parentElement);
  }

  // picture: {source: video or image, layout, frame, first, mouth_boxes, size, mouths, faces}
  /** @param {Picture} picture */
  show(picture) {
    this.picture = picture;
    this.draw();
  }

  /** @param {Partial<View>} changes */
  set(changes) {
    Object.assign(this, changes);
    clearInterval(this.timer);
    this.timer = 0;
    if (this.mode === "flicker" && this.rate > 0) this.timer = setInterval(() => this.flip(), 1000 / this.rate);
    this.draw();
  }

  flip() {
    this.phase = 1 - this.phase;
    this.draw();
  }

  regions() {
    const panes = this.picture.layout.panes;
    const mouth = Boolean(panes.mouth_a && panes.mouth_b);
    if (this.zoom === "both" && mouth) return ["full", "mouth"];
    return [this.zoom === "mouth" && mouth ? "mouth" : "full"];
  }

  // Where each pane lies: [{region, side, x, y, w, h}], side: a, b or one (both in one place)
  /** @param {number} width @param {number} height */
  arrange(width, height) {
    const regions = this.regions();
    const aspects = regions.map((r) => {
      const [, , w, h] = this.picture.layout.panes[`${r}_a`];
      return w / h;
    });
    const sides = this.mode === "side" ? ["a", "b"] : ["one"];
    /** @type {Pane[]} */
    const rects = [];
    if (sides.length === 1 && regions.length === 2) {
      const h = height - CAPTION;
      const high = Math.min(h, (width - GAP) / (aspects[0] + aspects[1]));
      const small = Math.min(h, high * 1);
      const total = high * aspects[0] + GAP + small * aspects[1];
      let x = (width - total) / 2;
      for (const [n, high_n] of [[0, high], [1, small]]) {
        rects.push({ region: regions[n], side: "one", x, y: CAPTION + (h - high_n) / 2, w: high_n * aspects[n], h: high_n });
        x += high_n * aspects[n] + GAP;
      }
      return rects;
    }
    const columns = sides.length;
    const room = (width - GAP * (columns - 1)) / columns;
    let left = height - CAPTION * regions.length - GAP * (regions.length - 1);
    // the whole picture takes what its width allows, up to its share; the mouth has the rest
    const share = regions.length === 2 ? 0.56 : 1;
    let y = 0;
    regions.forEach((region, n) => {
      const most = n === regions.length - 1 ? left : left * share;
      const h = Math.min(most, room / aspects[n]);
      left -= h;
      sides.forEach((side, m) => {
        const w = h * aspects[n];
        const cell = m * (room + GAP);
        const x = columns === 1 ? (width - w) / 2 : m === 0 ? cell + room - w : cell; // the two meet in the middle
        rects.push({ region, side, x, y: y + CAPTION, w, h });
      });
      y += h + CAPTION + GAP;
    });
    const used = y - GAP;
    const down = Math.max(0, (height - used) / 2);
    for (const r of rects) r.y += down;
    return rects;
  }

  draw() {
    const box = this.canvas.parentElement;
    const [width, height] = [box.clientWidth, box.clientHeight];
    if (!width || !height) return;
    const source = this.picture?.source;
    if (source instanceof HTMLVideoElement && !source.hasAttribute("src")) return; // let go at a cut: its picture stays
    if (source && !this.hold()) return;
    const c = fitCanvas(this.canvas, width, height);
    c.clearRect(0, 0, width, height);
    if (!this.picture?.layout) {
      delete this.canvas.dataset.drawn;
      return;
    }
    c.imageSmoothingQuality = "high";
    this.rects = this.arrange(width, height);
    for (const rect of this.rects) this.pane(c, rect);
    this.canvas.dataset.rects = JSON.stringify(this.rects.map((r) => ({ ...r, x: Math.round(r.x), y: Math.round(r.y) })));
    this.canvas.dataset.drawn = String(this.picture.frame);
    this.canvas.dataset.mouth = this.whose();
  }

  // A video that plays may go on to its next frame at any moment: it is read once, so no two panes differ, and what was
  // read says which frame it is. False: it is one that is not shown.
  hold() {
    const { source, frameAt } = this.picture;
    const playing = source instanceof HTMLVideoElement && !source.paused && source.readyState >= 2;
    const read = playing && frameAt && "VideoFrame" in window ? new VideoFrame(source) : null;
    try {
      const frame = read ? frameAt(read.timestamp / 1e6) : this.picture.frame;
      if (frame === null) return false;
      this.picture.frame = frame;
      const [width, height] =
        source instanceof HTMLVideoElement ? [source.videoWidth, source.videoHeight] : [source.naturalWidth, source.naturalHeight];
      if (this.still.width !== width || this.still.height !== height) Object.assign(this.still, { width, height });
      if (width && height) this.still.getContext("2d").drawImage(read ?? source, 0, 0, width, height);
      return true;
    } finally {
      read?.close();
    }
  }

  // Part of the packed picture, in its own pixels.
  /** @param {string} name @returns {Box} */
  from(name) {
    const { layout } = this.picture;
    const width = this.still.width;
    const scale = (width || layout.width) / layout.width;
    const [x, y, w, h] = layout.panes[name];
    return [x * scale, y * scale, w * scale, h * scale];
  }

  /** @param {Context} c @param {Pane} rect */
  pane(c, rect) {
    const { region, side, x, y, w, h } = rect;
    /** @param {string} which */
    const put = (which) => c.drawImage(this.still, ...this.from(`${region}_${which}`), x, y, w, h);
    let caption = this.captions[side === "b" ? 1 : 0];
    if (side === "a" || side === "b") put(side);
    else if (this.mode === "wipe") {
      put("a");
      c.save();
      c.beginPath();
      c.rect(x + w * this.wipe, y, w, h);
      c.clip();
      put("b");
      c.restore();
      this.divider(c, rect);
      caption = `${this.captions[0]}  |  ${this.captions[1]}`;
    } else if (this.mode === "flicker") {
      put(this.phase ? "b" : "a");
      caption = `${this.phase ? "■ " : "□ "}${this.captions[this.phase]}`;
    } else {
      this.difference(c, rect);
      caption = `Difference ×${this.gain}: ${this.captions[0]} against ${this.captions[1]}`;
    }
    c.save();
    c.beginPath();
    c.rect(x, y, w, h);
    c.clip();
    paintOverlays(c, rect, this.picture, this.overlays, this);
    paintStrokes(c, rect, this.picture, this.strokes(this.picture.frame));
    c.restore();
    this.caption(c, rect, `${caption}${region === "mouth" ? ` · mouth${this.picture.faces.length > 1 ? `, ${this.whose()}` : ""}` : ""}`);
  }

  // The face whose mouth is shown.
  whose() {
    const { mouths, frame } = this.picture;
    const now = mouths.find(([first, end]) => frame >= first && frame < end);
    return now ? faceName(now[2]) : "";
  }

  /** @param {Context} c @param {Pane} rect @param {string} text */
  caption(c, { x, y, w }, text) {
    c.font = `11.5px ${colour("font")}`;
    c.textBaseline = "middle";
    c.fillStyle = "#a9adb5";
    c.save();
    c.beginPath();
    c.rect(x, y - CAPTION, w, CAPTION);
    c.clip();
    c.fillText(text, x + 2, y - CAPTION / 2 + 1);
    c.restore();
  }

  /** @param {Context} c @param {Pane} rect */
  divider(c, { x, y, w, h }) {
    const at = x + w * this.wipe;
    c.fillStyle = "rgb(0 0 0 / 55%)";
    c.fillRect(at - 1.5, y, 3, h);
    c.fillStyle = "#fff";
    c.fillRect(at - 0.5, y, 1, h);
    c.beginPath();
    c.arc(at, y + h - 16, 6, 0, 7);
    c.fill();
  }

  // |a - b| times the gain. The server's own pane was taken before encoding, so it is without the encoder's noise.
  /** @param {Context} c @param {Pane} rect */
  difference(c, { region, x, y, w, h }) {
    const source = this.still;
    const { layout } = this.picture;
    const own = region === "full" ? "diff" : "diff_mouth";
    const name = layout.panes[own] ? own : `${region}_a`;
    const [sx, sy, sw, sh] = this.from(name);
    const s = this.scratch;
    s.width = Math.round(sw);
    s.height = Math.round(sh);
    const d = s.getContext("2d");
    d.drawImage(source, sx, sy, sw, sh, 0, 0, s.width, s.height);
    let gain = 1;
    if (name === own) gain = layout.diff_gain ?? 1;
    else {
      d.globalCompositeOperation = "difference";
      d.drawImage(source, ...this.from(`${region}_b`), 0, 0, s.width, s.height);
    }
    while (gain > this.gain) {
      d.globalCompositeOperation = "source-over";
      d.fillStyle = "rgb(0 0 0 / 50%)";
      d.fillRect(0, 0, s.width, s.height);
      gain /= 2;
    }
    d.globalCompositeOperation = "lighter"; // adds: twice as bright each time
    for (; gain < this.gain; gain *= 2) d.drawImage(s, 0, 0);
    d.globalCompositeOperation = "source-over";
    c.drawImage(s, x, y, w, h);
  }

  // One step of what the mode can change: where the wipe is, how fast it flickers, the gain.
  /** @param {number} by */
  adjust(by) {
    /** @param {number[]} list @param {number} value */
    const next = (list, value) => list[Math.min(list.length - 1, Math.max(0, list.indexOf(value) + by))];
    if (this.mode === "wipe") this.set({ wipe: Math.min(1, Math.max(0, this.wipe + by * 0.04)) });
    else if (this.mode === "flicker") this.set({ rate: next(RATES, this.rate) });
    else if (this.mode === "difference") this.set({ gain: next(GAINS, this.gain) });
  }

  // Dragging on the picture moves the wipe.
  /** @param {() => void} onmove */
  dragWipe(onmove) {
    /** @type {Pane | undefined} */
    let pane = null;
    /** @param {PointerEvent} event */
    const move = (event) => {
      const box = this.canvas.getBoundingClientRect();
      this.set({ wipe: Math.min(1, Math.max(0, (event.clientX - box.left - pane.x) / pane.w)) });
      onmove();
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      if (this.mode !== "wipe") return;
      const box = this.canvas.getBoundingClientRect();
      const [px, py] = [event.clientX - box.left, event.clientY - box.top];
      pane = this.rects.find((r) => px >= r.x && px <= r.x + r.w && py >= r.y && py <= r.y + r.h);
      if (!pane) return;
      this.canvas.setPointerCapture(event.pointerId);
      move(event);
      this.canvas.addEventListener("pointermove", move);
      this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true });
    });
  }
}
