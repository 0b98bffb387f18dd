// The keyboard: one table of keys for a page, and the sheet that lists it. Knows no shot.

import { $, h, memory } from "./dom.js";

const SHOWN = {
  " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", PageUp: "Page up",
  PageDown: "Page down",
};
const WIDGET_KEYS = new Set([" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

export const shown = (key) =>
  key
    .split("+")
    .map((part) => SHOWN[part] ?? (part.length === 1 ? part.toLowerCase() : part))
    .join(" + ") || "+";

export class Keys {
  constructor() {
    this.groups = new Map();
    this.table = new Map();
    this.on = memory.get("keys", true);
    document.addEventListener("keydown", (event) => this.press(event));
  }

  // bind("Playback", [["l", "ArrowRight"], "what it does", action], ...)
  bind(group, ...entries) {
    const list = this.groups.get(group) ?? [];
    this.groups.set(group, list);
    for (const [keys, words, action] of entries) {
      const all = Array.isArray(keys) ? keys : [keys];
      list.push({ keys: all, words });
      if (action) for (const key of all) this.table.set(key, action);
    }
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    const typing = target.matches?.("input:not([type=checkbox]):not([type=radio]), textarea, select");
    const own = target.matches?.("button, a, summary, input, [role=slider]") && WIDGET_KEYS.has(event.key);
    if (typing || document.querySelector("dialog[open]")) return;
    if (own && !(target.dataset.keys === "page" && event.key !== "Enter")) return;
    if (!this.on && event.key.length === 1 && event.key !== "?" && event.key !== " ") return;
    const name = event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key;
    const action = this.table.get(name) ?? (event.shiftKey ? undefined : this.table.get(event.key.toLowerCase()));
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
