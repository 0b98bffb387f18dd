// The keyboard: one table of keys for a page, and the sheet that lists it. Knows no shot.

import { $, elementOf, h, memory } from "./dom.js";

/** @typedef {(event: KeyboardEvent) => unknown} Press */

/** @type {{ [key: string]: string }} */
const SHOWN = {
  " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", PageUp: "Page up",
  PageDown: "Page down",
};
// What a key does to an element by itself, which the page must leave to it.
/** @param {Element} target @param {string} key */
const native = (target, key) =>
  key === "Enter" ? target.matches("button, a, summary, input")
    : key === " " ? target.matches("button, summary, input")
      : /^(Arrow|Home|End)/.test(key) && target.matches("input");

// A key as the sheet writes it: "Shift + A", "←".
/** @param {string} key */
export const shown = (key) => key.split("+").map((part) => SHOWN[part] ?? part).join(" + ") || "+";

// What a press is called in the table: letters are small, "Shift+A" with the shift key, whatever the caps lock says; a
// sign is the sign that was typed.
/** @param {KeyboardEvent} event */
function called({ key, shiftKey }) {
  if (key.length > 1) return shiftKey ? `Shift+${key}` : key;
  if (key.toLowerCase() === key.toUpperCase()) return key;
  return shiftKey ? `Shift+${key.toUpperCase()}` : key.toLowerCase();
}

export class Keys {
  constructor() {
    /** @type {Map<string, { keys: string[], words: string }[]>} */
    this.groups = new Map();
    /** @type {Map<string, Press>} */
    this.table = new Map();
    this.on = memory.get("keys", true);
    document.addEventListener("keydown", (event) => this.press(event));
  }

  // bind("Play", [["l", "Shift+ArrowRight"], "what it does", action], ...): the sheet lists what is bound, no more.
  /** @param {string} group @param {[keys: string | string[], words: string, action: Press][]} entries */
  bind(group, ...entries) {
    const list = this.groups.get(group) ?? [];
    this.groups.set(group, list);
    for (const [keys, words, action] of entries) {
      const all = Array.isArray(keys) ? keys : [keys];
      list.push({ keys: all, words });
      for (const key of all) {
        if (this.table.has(key)) throw new Error(`The key ${key} is bound twice.`);
        this.table.set(key, action);
      }
    }
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = elementOf(event) ?? document.body;
    const left = target.closest("dialog:not([open])"); // just closed, and still in focus for a moment
    const typing = !left && target.matches("input:not([type=checkbox]):not([type=radio]), textarea, select");
    if (typing || native(target, event.key) || document.querySelector("dialog[open]")) return;
    if (!this.on && event.key.length === 1 && event.key !== "?" && event.key !== " ") return;
    const action = this.table.get(called(event));
    if (!action) return;
    event.preventDefault();
    action(event);
  }

  // The sheet, made anew each time, so that it says what holds now.
  help() {
    const dialog = $("#help");
    const sheet = $("#help-keys");
    sheet.replaceChildren(
      ...[...this.groups].map(([group, entries]) =>
        h("section", {}, h("h3", {}, group), h("dl", {}, ...entries.map((e) =>
          h("div", {}, h("dt", {}, ...e.keys.flatMap((k, n) => [n ? " " : "", h("kbd", {}, shown(k))])), h("dd", {}, e.words)),
        ))),
      ),
    );
    const toggle = $("#help-on");
    toggle.checked = this.on;
    toggle.onchange = () => {
      this.on = toggle.checked;
      memory.set("keys", this.on);
    };
    if (!dialog.open) dialog.showModal();
  }
}
