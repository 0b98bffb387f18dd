// What both pages share: theme, who is reviewing, messages, dialogs. Knows no shot.

import { $, $$, fillIcons, h, icon, memory, setText } from "./dom.js";

/** @import { Keys } from "./keys.js" */

// -- messages ------------------------------------------------------------------------------

// Say something once: seen for a while, and read out. kind: note, good or bad (bad stays until it is closed).
/** @param {string} text @param {"note" | "good" | "bad"} [kind] @param {Action | null} [action] */
export function say(text, kind = "note", action = null) {
  const region = $(kind === "bad" ? "#alerts" : "#notices");
  const close = h("button.bare", { type: "button", "aria-label": "Close this message" }, icon("close"));
  const toast = h(`div.toast.${kind}`, {}, icon(kind === "bad" ? "warn" : kind === "good" ? "approve" : "note"), h("span", {}, text));
  if (action) toast.append(h("button.small", { type: "button", onclick: () => { action.do(); toast.remove(); } }, action.label));
  toast.append(close);
  close.addEventListener("click", () => toast.remove());
  region.append(toast);
  while (region.children.length > (kind === "bad" ? 3 : 2)) region.firstChild.remove();
  if (kind !== "bad") setTimeout(() => toast.remove(), action ? 8000 : 4500);
  return toast;
}

// Read out without showing.
/** @param {string} text */
export function whisper(text) {
  setText($("#whisper"), text);
}

/** @param {boolean} gone @param {string} [message] */
export function lost(gone, message) {
  const bar = $("#lost");
  bar.hidden = !gone;
  setText(bar.querySelector("span"), gone ? `${message} What you decide now is not kept.` : "");
  if (!gone) say("The server is back.", "good");
}

// -- theme ---------------------------------------------------------------------------------

const THEMES = ["system", "light", "dark"];
/** @type {(() => void)[]} */
const listeners = [];

/** @param {() => void} f */
export const onTheme = (f) => listeners.push(f);

/** @param {string} theme */
function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  memory.set("theme", theme);
  const button = $("#theme");
  button.title = `Theme: ${theme}`;
  button.setAttribute("aria-label", `Theme: ${theme}; change it`);
  for (const f of listeners) f();
}

function nextTheme() {
  const now = memory.get("theme", "system");
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  say(`Theme: ${memory.get("theme")}`);
}

// -- reviewer ------------------------------------------------------------------------------

/** @returns {string} */
export function reviewer() {
  return memory.get("reviewer", "");
}

function showReviewer() {
  setText($("#reviewer-name"), reviewer() || "say who you are");
}

// The reviewer's name, asked once; null where they will not say.
/** @param {boolean} [again] @returns {Promise<string | null>} */
export function askReviewer(again = false) {
  const known = reviewer();
  if (known && !again) return Promise.resolve(known);
  const input = $("#name-input");
  input.value = known;
  return openDialog("#name").then((said) => {
    const name = input.value.trim();
    if (!said || !name) return null;
    memory.set("reviewer", name.slice(0, 80));
    showReviewer();
    return reviewer();
  });
}

// -- dialogs -------------------------------------------------------------------------------

/** @type {WeakMap<HTMLDialogElement, Promise<boolean>>} */
const answers = new WeakMap();

// Open a <dialog> that holds a form; resolves to true where it was sent, false where it was left.
/** @param {"#name" | "#rerun" | "#reject" | "#deliver" | "#comment"} selector @returns {Promise<boolean>} */
export async function openDialog(selector) {
  const dialog = $(selector);
  await answers.get(dialog); // the event of its last closing may still be on its way, and is not this one's answer
  /** @type {Promise<boolean>} */
  const answer = new Promise((done) => {
    dialog.addEventListener("close", () => done(dialog.returnValue === "ok"), { once: true });
  });
  answers.set(dialog, answer);
  dialog.returnValue = "";
  dialog.showModal();
  return answer;
}

/** @param {Keys} keys */
export function startFrame(keys) {
  fillIcons();
  setTheme(memory.get("theme", "system"));
  showReviewer();
  $("#theme").addEventListener("click", nextTheme);
  $("#reviewer").addEventListener("click", () => askReviewer(true));
  $("#help-button").addEventListener("click", () => keys.help());
  for (const button of $$("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
  for (const dialog of $$("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    const form = dialog.querySelector("form");
    form?.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        form.requestSubmit(form.querySelector("button.primary"));
      }
    });
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const f of listeners) f();
  });
  keys.bind("Page", ["?", "this sheet", () => keys.help()], ["Shift+T", "light, dark or the system's theme", nextTheme]);
}
