// How one score is spread over the shots, and a brush on it: drag over the bars, or type the two numbers.

import { $, $$, colour, fitCanvas, h, setText } from "./dom.js";
import { SCORES, number, plural } from "./words.js";

const BINS = 48;
const HEIGHT = 54;

export class Histogram {
  // onbrush(name, [low, high] | null); onscore(name)
  /** @param {HTMLElement} root
   * @param {{ thresholds: Limits, onbrush: (name: string, range: Brush) => void, onscore: (name: string) => void }} on */
  constructor(root, { thresholds, onbrush, onscore }) {
    this.thresholds = thresholds;
    this.onbrush = onbrush;
    this.name = "severity";
    /** @type {Brush} */
    this.range = null;
    this.from = 0;
    this.to = 1;
    /** @type {number | null} */
    this.limit = null;
    /** @type {number[] | null} */
    this.all = null; // of every bin, how many; null: not counted yet
    /** @type {number[]} */
    this.open = [];
    this.width = 0;
    this.canvas = $("canvas", root);
    this.select = $("select", root);
    const [low, high] = $$("input", root);
    this.low = low;
    this.high = high;
    this.clear = $("button", root);
    this.told = $(".told", root);
    this.select.replaceChildren(...Object.entries(SCORES).map(([name, s]) => h("option", { value: name }, s.label)));
    this.select.addEventListener("change", () => onscore(this.select.value));
    for (const input of [this.low, this.high]) input.addEventListener("change", () => this.typed());
    this.clear.addEventListener("click", () => onbrush(this.name, null));
    this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
  }

  // all: every shot; open: those that fit all filters but this score's; range: the brush
  /** @param {string} name @param {Row[]} all @param {Row[]} open @param {Brush} range */
  update(name, all, open, range) {
    this.name = name;
    this.range = range;
    this.select.value = name;
    const of = SCORES[name].of;
    const values = all.map(of).filter((v) => v !== null && v !== undefined).sort((a, b) => a - b);
    const last = values[Math.min(values.length - 1, Math.floor(values.length * 0.995))] ?? 1;
    const limit = SCORES[name].limit?.(this.thresholds) ?? null;
    this.from = Math.min(0, values[0] ?? 0);
    this.to = Math.max(last, limit === null ? 0 : limit * 1.15, this.from + 1e-6);
    if (name === "sharpness") this.to = Math.max(this.to, 1);
    this.limit = limit;
    this.all = this.count(values);
    this.open = this.count(open.map(of).filter((v) => v !== null && v !== undefined));
    const without = all.length - values.length;
    const digits = SCORES[name].digits;
    const within = limit === null ? "" : ` Limit ${number(limit, digits)}.`;
    setText(this.told, `${plural(values.length, "shot")} measured${without ? `, ${without} not` : ""}.${within}`);
    this.low.value = range && Number.isFinite(range[0]) ? String(range[0]) : "";
    this.high.value = range && Number.isFinite(range[1]) ? String(range[1]) : "";
    this.clear.hidden = !range;
    this.draw();
  }

  /** @param {number[]} values @returns {number[]} */
  count(values) {
    const bins = new Array(BINS).fill(0);
    for (const v of values) {
      const n = Math.floor(((v - this.from) / (this.to - this.from)) * BINS);
      bins[Math.min(BINS - 1, Math.max(0, n))] += 1;
    }
    return bins;
  }

  typed() {
    const [low, high] = [this.low, this.high].map((input) => (input.value === "" ? null : +input.value));
    this.onbrush(this.name, low === null && high === null ? null : [low ?? -Infinity, high ?? Infinity]);
  }

  /** @param {number} x */
  value(x) {
    return this.from + (Math.min(this.width, Math.max(0, x)) / this.width) * (this.to - this.from);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const left = this.canvas.getBoundingClientRect().left;
    const start = event.clientX - left;
    /** @param {number} v */
    const round = (v) => +v.toFixed(3);
    /** @type {Brush} */
    let range = null;
    this.canvas.setPointerCapture(event.pointerId);
    /** @param {PointerEvent} e */
    const move = (e) => {
      const now = e.clientX - left;
      if (Math.abs(now - start) < 3 && !range) return;
      const [a, b] = [this.value(Math.min(start, now)), this.value(Math.max(start, now))];
      range = [Math.min(start, now) <= 0 ? -Infinity : round(a), Math.max(start, now) >= this.width ? Infinity : round(b)];
      this.range = range;
      this.draw();
    };
    const up = () => {
      this.canvas.removeEventListener("pointermove", move);
      this.onbrush(this.name, range); // a click takes the brush away
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", up, { once: true });
  }

  draw() {
    if (!this.all) return;
    const box = this.canvas.parentElement.clientWidth;
    if (!box) return;
    this.width = box;
    const c = fitCanvas(this.canvas, box, HEIGHT);
    const most = Math.max(1, ...this.all);
    const step = box / BINS;
    /** @param {number} v */
    const x = (v) => ((Math.min(this.to, Math.max(this.from, v)) - this.from) / (this.to - this.from)) * box;
    /** @param {number} n */
    const tall = (n) => (n ? Math.max(1.5, (HEIGHT - 6) * Math.sqrt(n / most)) : 0); // root: one bad shot is seen
    c.clearRect(0, 0, box, HEIGHT);
    if (this.range) {
      c.fillStyle = colour("brush");
      c.fillRect(x(this.range[0]), 0, x(this.range[1]) - x(this.range[0]), HEIGHT);
    }
    /** @type {[number[], string][]} */
    const layers = [[this.all, "bin-all"], [this.open, "bin-open"]];
    for (const [bins, name] of layers) {
      c.fillStyle = colour(name);
      bins.forEach((n, k) => c.fillRect(k * step + 0.5, HEIGHT - tall(n), Math.max(1, step - 1), tall(n)));
    }
    if (this.limit !== null) {
      c.strokeStyle = colour("warn");
      c.setLineDash([3, 2]);
      c.beginPath();
      c.moveTo(x(this.limit), 0);
      c.lineTo(x(this.limit), HEIGHT);
      c.stroke();
      c.setLineDash([]);
    }
    if (this.range) {
      c.strokeStyle = colour("accent");
      for (const v of this.range) {
        c.beginPath();
        c.moveTo(x(v), 0);
        c.lineTo(x(v), HEIGHT);
        c.stroke();
      }
    }
  }
}
