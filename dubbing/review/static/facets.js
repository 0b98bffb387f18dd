// The side bar of filters with the number of shots behind each value, and the chips of those in force.

import { fieldOf, h, icon, setText } from "./dom.js";
import { FACETS, listed, valuesOf } from "./filters.js";
import { SCORES, number, thousands } from "./words.js";

/** @typedef {(state: Filters) => unknown} Change */

const FEW = 9; // values that are listed before "more"

export class Facets {
  // onset(change): change is a function of the state
  /** @param {HTMLElement} root @param {(change: Change) => void} onset */
  constructor(root, onset) {
    this.root = root;
    this.onset = onset;
    this.open = new Set();
    this.groups = new Map();
    for (const facet of FACETS) {
      const body = h("div.values");
      const group = h("fieldset.facet", {}, h("legend", {}, facet.label), body);
      this.groups.set(facet.name, { group, body, rows: new Map(), known: new Set() });
      root.append(group);
    }
  }

  // Every value that there is, so that none goes when nothing fits it.
  /** @param {Row[]} rows */
  learn(rows) {
    for (const facet of FACETS) {
      const { known } = this.groups.get(facet.name);
      for (const row of rows) for (const value of valuesOf(facet, row)) known.add(value);
    }
  }

  /** @param {Facet} facet @param {string} value @param {boolean} on */
  toggle(facet, value, on) {
    this.onset((state) => {
      const chosen = (state.chosen[facet.name] ??= new Set());
      if (on) chosen.add(value);
      else chosen.delete(value);
      if (!chosen.size) delete state.chosen[facet.name];
    });
  }

  /** @param {Facet} facet @param {string} value */
  make(facet, value) {
    const box = h("input", { type: "checkbox", onchange: (/** @type {Event} */ e) => this.toggle(facet, value, fieldOf(e).checked) });
    const count = h("span.n");
    return { box, count, label: h("label.value", {}, box, h("span.word", {}, facet.word(value)), count) };
  }

  /** @param {Counts} counts @param {Filters} state */
  update(counts, state) {
    for (const facet of FACETS) {
      const { group, body, rows, known } = this.groups.get(facet.name);
      const values = listed(facet, known, state.chosen[facet.name]);
      group.hidden = values.length < 2 && !state.chosen[facet.name];
      const all = this.open.has(facet.name) || values.length <= FEW + 1;
      const few = all ? values : values.slice(0, FEW);
      for (const value of few) if (!rows.has(value)) rows.set(value, this.make(facet, value));
      const labels = few.map((value) => {
        const { box, count, label } = rows.get(value);
        const n = counts[facet.name].get(value) ?? 0;
        box.checked = state.chosen[facet.name]?.has(value) ?? false;
        label.classList.toggle("none", n === 0);
        setText(count, thousands(n));
        return label;
      });
      const more = values.length - few.length;
      if (more > 0) {
        labels.push(h("button.small.quiet", { type: "button", onclick: () => {
          this.open.add(facet.name);
          this.update(counts, state);
        } }, `${more} more`));
      }
      if (labels.length !== body.children.length || labels.some((node, n) => body.children[n] !== node)) {
        const held = document.activeElement;
        body.replaceChildren(...labels);
        if (held instanceof HTMLElement && body.contains(held)) held.focus();
      }
    }
  }

  /** @param {HTMLElement} root @param {Filters} state */
  chips(root, state) {
    /** @param {string} text @param {Change} off */
    const chip = (text, off) =>
      h("button.chip", { type: "button", "aria-label": `Take away the filter ${text}`, onclick: () => this.onset(off) }, text, icon("close"));
    const chips = [];
    if (state.q) chips.push(chip(`“${state.q}”`, (s) => (s.q = "")));
    for (const facet of FACETS) {
      for (const value of state.chosen[facet.name] ?? []) {
        chips.push(chip(facet.word(value), (s) => {
          s.chosen[facet.name].delete(value);
          if (!s.chosen[facet.name].size) delete s.chosen[facet.name];
        }));
      }
    }
    for (const [name, [low, high]] of Object.entries(state.ranges)) {
      const { label, digits } = SCORES[name];
      const ends = [Number.isFinite(low) ? `from ${number(low, digits)}` : "", Number.isFinite(high) ? `to ${number(high, digits)}` : ""];
      chips.push(chip(`${label} ${ends.filter(Boolean).join(" ")}`, (s) => delete s.ranges[name]));
    }
    root.replaceChildren(...chips);
  }
}
