// Buttons and keys of the shot page that change how one looks and listens; nothing here decides anything.

import { $, $$, elementOf, fieldOf, icon, memory, setText } from "./dom.js";
import { say, whisper } from "./frame.js";
import { GAINS, MODES, RATES, ZOOMS } from "./view.js";

/** @import { ShotPage } from "./shot.js" */
/** @import { Keys } from "./keys.js" */

/** @type {{ [mode: string]: string }} */
const MODE_WORD = { side: "side by side", wipe: "wipe", flicker: "flicker", difference: "difference" };
/** @type {{ [zoom: string]: string }} */
const ZOOM_WORD = { both: "whole and mouth", full: "whole picture", mouth: "mouth" };

/** @param {ShotPage} page @param {Keys} keys */
export function bindControls(page, keys) {
  const { player, view } = page;
  view.set({ mode: memory.get("mode", "side"), zoom: memory.get("zoom", "both") });
  player.loop = memory.get("loop", "shot");
  page.sound.which = memory.get("sound", "dub");
  buttons(page);
  /** @param {string} name */
  const mode = (name) => () => setMode(page, name);
  /** @param {number} by */
  const jump = (by) => () => player.step(by);
  /** @param {number} by */
  const adjust = (by) => () => {
    view.adjust(by);
    showAdjust(page, true);
  };
  keys.bind("Play",
    [" ", "play or pause", () => player.toggle()],
    ["l", "play; again: faster", () => player.forward()],
    ["k", "pause", () => player.pause()],
    ["j", "play backwards", () => player.playBackwards()],
    [[",", "ArrowLeft"], "one frame back", jump(-1)],
    [[".", "ArrowRight"], "one frame on", jump(1)],
    ["Shift+ArrowLeft", "ten frames back", jump(-10)],
    ["Shift+ArrowRight", "ten frames on", jump(10)],
    ["Home", "first frame of the shot", () => page.scrub(page.facts.frames[0])],
    ["End", "last frame of the shot", () => page.scrub(page.facts.frames[1] - 1)],
    ["-", "slower", () => player.faster(-1)],
    ["=", "faster", () => player.faster(1)],
    ["h", "loop: the shot, with a second around it, the film on across its cuts, off", () => nextLoop(page)],
    ["w", "play the film on from here", () => playFilm(page)],
    ["Shift+Home", "to the first shot of the film", () => page.toStart()],
    ["s", "sound of the source or the dub", () => setSound(page, page.sound.which === "dub" ? "source" : "dub")]);
  keys.bind("Look",
    ["1", "side by side", mode("side")],
    ["2", "wipe", mode("wipe")],
    ["3", "flicker from A to B", mode("flicker")],
    ["4", "difference", mode("difference")],
    ["[", "wipe to the left; slower flicker; less gain", adjust(-1)],
    ["]", "wipe to the right; faster flicker; more gain", adjust(1)],
    ["x", "the other side (flicker)", () => { setMode(page, "flicker"); view.flip(); }],
    ["m", "whole picture, mouth, or both", () => setZoom(page, ZOOMS[(ZOOMS.indexOf(view.zoom) + 1) % ZOOMS.length])],
    ["b", "face boxes and tracks", () => toggle(page, "faces")],
    ["v", "outline of the matte", () => toggle(page, "matte")],
    ["d", "draw on the frame; a comment keeps the drawing", () => draw(page)],
    ["e", "the last stroke away", () => page.drawing.undo()],
    ["f", "picture on the whole screen, or not", () => wholeScreen()]);
  keys.bind("Timeline",
    ["ArrowUp", "larger, around the playhead (as the wheel does)", () => page.timeline.zoom(1.6)],
    ["ArrowDown", "smaller", () => page.timeline.zoom(1 / 1.6)]);
  keys.bind("Takes",
    ["y", "A: the next take", () => page.nextSide("a")],
    ["u", "B: the next take", () => page.nextSide("b")]);
  keys.bind("Go",
    ["n", "next shot of the queue", () => page.go(page.order.beside(page.key, 1))],
    ["p", "previous shot of the queue", () => page.go(page.order.beside(page.key, -1))],
    ["Shift+L", "this shot in all languages, side by side", () => $("#all-languages").click()],
    ["q", "back to the queue", () => $("#home").click()]);
  showControls(page);
  setMode(page, view.mode, true);
  setZoom(page, view.zoom, true);
}

/** @param {ShotPage} page */
function buttons(page) {
  const { player, view } = page;
  for (const b of $$("[data-mode]")) b.addEventListener("click", () => setMode(page, b.dataset.mode));
  for (const b of $$("[data-zoom]")) b.addEventListener("click", () => setZoom(page, b.dataset.zoom));
  for (const b of $$("[data-sound]")) b.addEventListener("click", () => setSound(page, /** @type {Which} */ (b.dataset.sound)));
  $("#faces").addEventListener("click", () => toggle(page, "faces"));
  $("#matte").addEventListener("click", () => toggle(page, "matte"));
  $("#draw").addEventListener("click", () => draw(page));
  $("#play").addEventListener("click", () => player.toggle());
  $("#step-back").addEventListener("click", () => player.step(-1));
  $("#step-on").addEventListener("click", () => player.step(1));
  $("#speed").addEventListener("change", (e) => player.setSpeed(+fieldOf(e).value));
  $("#loop").addEventListener("change", (e) => {
    player.setLoop(fieldOf(e).value);
    memory.set("loop", fieldOf(e).value);
  });
  $("#previous").addEventListener("click", () => page.go(page.order.beside(page.key, -1)));
  $("#next").addEventListener("click", () => page.go(page.order.beside(page.key, 1)));
  $("#adjust-range").addEventListener("input", (e) => {
    const value = +fieldOf(e).value;
    if (view.mode === "wipe") view.set({ wipe: value / 100 });
    else if (view.mode === "flicker") view.set({ rate: RATES[value] });
    else view.set({ gain: GAINS[value] });
    showAdjust(page);
  });
  view.dragWipe(() => showAdjust(page));
  // a button that was pressed with the mouse gives the keyboard back to the page
  document.addEventListener("click", (event) => {
    const pressed = elementOf(event)?.closest(".modes button, .transport button, .decide button, .walk button");
    if (event.detail > 0 && pressed instanceof HTMLElement) pressed.blur();
  });
  for (const select of $$(".transport select")) select.addEventListener("change", () => select.blur());
}

/** @param {string} selector @param {string} name @param {string} now */
function press(selector, name, now) {
  for (const b of $$(selector)) b.setAttribute("aria-pressed", String(b.dataset[name] === now));
}

/** @param {ShotPage} page @param {string} mode @param {boolean} [quiet] */
function setMode(page, mode, quiet = false) {
  const known = MODES.includes(mode) ? mode : "side";
  page.view.set({ mode: known });
  memory.set("mode", known);
  press("[data-mode]", "mode", known);
  showAdjust(page);
  if (!quiet) whisper(MODE_WORD[known]);
}

/** @param {ShotPage} page @param {string} zoom @param {boolean} [quiet] */
function setZoom(page, zoom, quiet = false) {
  page.view.set({ zoom });
  memory.set("zoom", zoom);
  press("[data-zoom]", "zoom", zoom);
  if (!quiet) whisper(ZOOM_WORD[zoom]);
}

/** @param {ShotPage} page @param {Which} which */
function setSound(page, which) {
  page.sound.choose(which);
  memory.set("sound", which);
  press("[data-sound]", "sound", which);
  page.timeline.set({ sound: which });
  whisper(`Sound: ${which}`);
}

/** @param {ShotPage} page @param {"faces" | "matte"} name */
function toggle(page, name) {
  page.view.set({ [name]: !page.view[name] });
  $(`#${name}`).setAttribute("aria-pressed", String(page.view[name]));
  const overlays = page.view.overlays;
  if (page.view[name] && overlays) {
    const there = name === "faces" ? overlays.faces?.length : Object.keys(overlays.mattes ?? {}).length;
    if (!there) say(name === "faces" ? "No face was found in this shot." : "This take has no matte: nothing of the picture was changed.");
  }
}

/** @param {ShotPage} page */
function nextLoop(page) {
  page.player.nextLoop();
  memory.set("loop", page.player.loop);
  whisper(`Loop: ${page.player.loop}`);
}

/** @param {ShotPage} page */
function draw(page) {
  const { drawing } = page;
  drawing.on = !drawing.on;
  $("#draw").setAttribute("aria-pressed", String(drawing.on));
  $("#stage").classList.toggle("drawing", drawing.on);
  whisper(drawing.on ? "The pointer draws on the frame" : "The pointer draws no more");
}

// Across the cuts: picture A and B and either sound as they are set, shot after shot.
/** @param {ShotPage} page */
function playFilm(page) {
  page.player.setLoop("film");
  page.ahead.drop();
  page.prepareNext();
  page.player.play();
  whisper("The film plays on across its cuts");
}

function wholeScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else $("#stage").requestFullscreen?.().catch(() => {});
}

/** @param {ShotPage} page @param {boolean} [aloud] */
function showAdjust(page, aloud = false) {
  const { view } = page;
  const box = $("#adjust");
  const range = $("#adjust-range");
  box.hidden = view.mode === "side";
  if (box.hidden) return;
  /** @type {{ [mode: string]: [name: string, max: number, value: number, text: string] }} */
  const shown = {
    wipe: ["Wipe at", 100, Math.round(view.wipe * 100), `${Math.round(view.wipe * 100)} %`],
    flicker: ["Flicker", RATES.length - 1, RATES.indexOf(view.rate), view.rate ? `${view.rate} / s` : "by hand: x"],
    difference: ["Gain", GAINS.length - 1, GAINS.indexOf(view.gain), `×${view.gain}`],
  };
  const [name, max, value, text] = shown[view.mode];
  setText($("#adjust-name"), name);
  range.max = String(max);
  range.value = String(value);
  setText($("#adjust-value"), text);
  if (aloud) whisper(`${name} ${text}`);
}

// What follows the player: its buttons and fields.
/** @param {ShotPage} page */
export function showControls(page) {
  const { player } = page;
  const play = $("#play");
  const now = player.playing ? "pause" : "play";
  if (play.dataset.now !== now) {
    play.dataset.now = now;
    play.replaceChildren(icon(now));
    play.setAttribute("aria-label", now === "play" ? "Play (Space)" : "Pause (Space)");
  }
  $("#speed").value = String(player.speed);
  $("#loop").value = player.loop;
  press("[data-sound]", "sound", page.sound.which);
}
