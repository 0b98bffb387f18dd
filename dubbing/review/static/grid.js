// A list of any length as a grid of cards, of which only those in view exist. Knows no shot: `make` builds an empty
// card, `fill` writes item n into it. The place is kept by item, not by pixel, when the width changes.

import { elementOf } from "./dom.js";

const GAP = 12;
const SPARE_ROWS = 2;

/** @template {HTMLElement} N */
export class Grid {
  /** @param {HTMLElement} scroller @param {HTMLElement} list
   * @param {{ make: () => N, fill: (node: N, n: number, focused: boolean) => void, minimum: number, below: number,
   *   onfocus?: (n: number) => void }} how */
  constructor(scroller, list, { make, fill, minimum, below, onfocus = () => {} }) {
    this.scroller = scroller;
    this.list = list;
    this.make = make;
    this.fill = fill;
    this.minimum = minimum; // pixels of a card's width
    this.below = below; // pixels under its picture
    this.onfocus = onfocus;
    this.count = 0;
    this.columns = 1;
    this.focused = -1;
    this.cardWidth = 0;
    this.cardHeight = 0;
    this.rowHeight = 0; // 0: not measured yet
    /** @type {Map<number, N>} */
    this.nodes = new Map(); // n -> element
    /** @type {N[]} */
    this.spare = [];
    this.asked = false;
    scroller.addEventListener("scroll", () => this.soon(), { passive: true });
    new ResizeObserver(() => this.measure()).observe(scroller);
    list.addEventListener("focusin", (event) => {
      const card = elementOf(event)?.closest("[data-n]");
      if (card instanceof HTMLElement && +card.dataset.n !== this.focused) this.setFocused(+card.dataset.n);
    });
  }

  soon() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
    });
  }

  measure() {
    const style = getComputedStyle(this.scroller);
    const width = this.scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (width <= 0) return;
    const top = this.columns ? Math.floor(this.scroller.scrollTop / (this.rowHeight || 1)) * this.columns : 0;
    const columns = Math.max(1, Math.floor((width + GAP) / (this.minimum + GAP)));
    this.cardWidth = (width - GAP * (columns - 1)) / columns;
    this.cardHeight = Math.round((this.cardWidth * 9) / 16) + this.below;
    const changed = columns !== this.columns;
    this.columns = columns;
    this.rowHeight = this.cardHeight + GAP;
    this.resize();
    if (changed && top) this.scroller.scrollTop = Math.floor(top / columns) * this.rowHeight;
    for (const [n, node] of this.nodes) this.put(n, node);
    this.draw();
  }

  resize() {
    const rows = Math.ceil(this.count / this.columns);
    this.list.style.height = `${Math.max(0, rows * this.rowHeight - GAP)}px`;
  }

  // Another list altogether. keep: the item that shall stay where it is on the screen, as [old n, new n].
  /** @param {number} count @param {[before: number, now: number] | null} [keep] */
  reset(count, keep = null) {
    const before = keep ? this.topOf(keep[0]) - this.scroller.scrollTop : null;
    for (const node of this.nodes.values()) this.drop(node);
    this.nodes.clear();
    this.count = count;
    this.focused = Math.min(Math.max(keep ? keep[1] : 0, 0), count - 1);
    if (!this.rowHeight) this.measure();
    this.resize();
    this.scroller.scrollTop = before === null ? 0 : Math.max(0, this.topOf(keep[1]) - before);
    this.draw();
  }

  /** @param {number} n */
  topOf(n) {
    return Math.floor(n / this.columns) * this.rowHeight;
  }

  /** @param {number} n @param {N} node */
  put(n, node) {
    node.style.width = `${this.cardWidth}px`;
    node.style.height = `${this.cardHeight}px`;
    node.style.transform = `translate(${(n % this.columns) * (this.cardWidth + GAP)}px, ${this.topOf(n)}px)`;
  }

  /** @param {N} node */
  drop(node) {
    node.hidden = true;
    if (this.spare.length < 60) this.spare.push(node);
    else node.remove();
  }

  draw() {
    if (!this.rowHeight) return;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / this.rowHeight) - SPARE_ROWS);
    const rows = Math.ceil(this.scroller.clientHeight / this.rowHeight) + 2 * SPARE_ROWS;
    const from = first * this.columns;
    const to = Math.min(this.count, (first + rows) * this.columns);
    for (const [n, node] of this.nodes) {
      const held = n === this.focused && node.contains(document.activeElement);
      if ((n < from || n >= to) && !held) {
        this.nodes.delete(n);
        this.drop(node);
      }
    }
    for (let n = from; n < to; n++) if (!this.nodes.has(n)) this.show(n);
  }

  /** @param {number} n */
  show(n) {
    let node = this.spare.pop();
    if (!node) {
      node = this.make();
      this.list.append(node);
    }
    node.hidden = false;
    node.dataset.n = String(n);
    node.setAttribute("aria-posinset", String(n + 1));
    node.setAttribute("aria-setsize", String(this.count));
    this.nodes.set(n, node);
    this.put(n, node);
    this.fill(node, n, n === this.focused);
  }

  // Write items that are in view again.
  /** @param {((n: number) => boolean) | null} [which] */
  refresh(which = null) {
    for (const [n, node] of this.nodes) if (which === null || which(n)) this.fill(node, n, n === this.focused);
  }

  /** @param {number} n */
  setFocused(n) {
    const before = this.focused;
    this.focused = n;
    for (const m of [before, n]) if (this.nodes.has(m)) this.fill(this.nodes.get(m), m, m === n);
    this.onfocus(n);
  }

  // Move to an item: in view, and with the keyboard's focus.
  /** @param {number} n */
  go(n) {
    if (!this.count) return;
    const m = Math.min(this.count - 1, Math.max(0, n));
    const top = this.topOf(m);
    const view = this.scroller;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + this.rowHeight > view.scrollTop + view.clientHeight) view.scrollTop = top + this.rowHeight - view.clientHeight;
    this.draw();
    this.setFocused(m);
    this.nodes.get(m)?.querySelector("a")?.focus({ preventScroll: true });
  }

  get pageRows() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight));
  }
}
