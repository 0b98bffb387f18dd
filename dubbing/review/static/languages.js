// One shot in every language at once: what each dub delivers, beside the source, frame by frame in step. One of them
// leads and the others follow its clock; whose sound is heard is chosen. Decides nothing.

import { get, pathOf } from "./api.js";
import { $, $$, fitCanvas, icon, setText } from "./dom.js";
import { say, startFrame, whisper } from "./frame.js";
import { Keys } from "./keys.js";
import { Player } from "./player.js";
import { Sound } from "./sound.js";
import { awaitProxy } from "./supply.js";
import { timecode } from "./time.js";
import { VERDICT, complaint } from "./words.js";

const APART_S = 0.2; // further behind than this, a follower jumps
const CATCH_UP = 0.5; // of the speed, for each second that it is behind
const NO_SOUND = { attach() {}, detach() {} };

/** @typedef {{ facts: ShotFacts, proxy: ProxyFacts, player: Player }} Tongue */

class Page {
  constructor() {
    const { title, shot } = $("#tongues").dataset;
    this.places = new Map($$("#tongues li").map((li) => [li.dataset.language, li]));
    this.names = [...this.places.keys()];
    /** @type {Map<string, Tongue>} */
    this.tongues = new Map();
    /** @param {string} language @returns {ShotKey} */
    this.key = (language) => [title, language, shot];
    this.sound = new Sound();
    this.heard = this.names[1];
    this.mouths = false;
    new ResizeObserver(() => this.draw()).observe($("#tongues"));
  }

  // The first language that has a picture.
  /** @returns {Tongue | undefined} */
  get leader() {
    return this.names.map((name) => this.tongues.get(name)).find(Boolean);
  }

  /** @param {string} language */
  async open(language) {
    const said = this.places.get(language).querySelector(".said");
    try {
      const facts = await get(`/api/shot/${pathOf(this.key(language))}`);
      const { row } = facts;
      const word = VERDICT[row.verdict] ? `${VERDICT[row.verdict].word} · ${row.by}. ` : "";
      const text = `${word}${complaint(row)}`;
      setText(said, text);
      const proxy = await awaitProxy(this.key(language), { a: "source", b: "current" }, {
        onprogress: (p) => setText(said, `Making the moving picture: ${Math.round(100 * p.progress)} %`),
      });
      if (proxy.state === "failed") throw new Error(proxy.error);
      setText(said, text);
      const player = new Player({ sound: NO_SOUND, onframe: (frame) => this.onFrame(language, frame), onstate: () => this.showPlay() });
      const tongue = { facts, proxy, player };
      const start = this.leader?.player.frame ?? facts.frames[0];
      this.tongues.set(language, tongue);
      const first = player.load(proxy, facts.frames, start);
      player.video.muted = true;
      await first;
    } catch (error) {
      setText(said, error.message);
      say(`${language}: ${error.message}`, "bad");
    }
  }

  /** @param {string} language @param {number} frame */
  onFrame(language, frame) {
    this.paint(language);
    if (this.tongues.get(language) !== this.leader) return;
    this.paint("source");
    const { facts, player } = this.leader;
    setText($("#frame"), String(frame));
    setText($("#timecode"), timecode(facts.start_timecode_frames + frame, facts.nominal_fps, facts.drop_frame));
    for (const { player: other } of this.tongues.values()) {
      if (other === player) continue;
      if (!player.playing) {
        if ((other.want ?? other.frame) !== frame) other.seek(frame);
        continue;
      }
      const behind_s = player.video.currentTime - other.video.currentTime;
      other.video.playbackRate = Math.min(1.5, Math.max(0.5, player.speed + behind_s * CATCH_UP));
      if (Math.abs(behind_s) > APART_S) other.video.currentTime = player.video.currentTime;
      if (other.video.paused) other.play();
    }
  }

  // The source is what lies at the leader's other side.
  /** @param {string} name */
  paint(name) {
    const tongue = name === "source" ? this.leader : this.tongues.get(name);
    if (!tongue?.player.ready) return;
    const { layout } = tongue.proxy;
    const side = name === "source" ? "a" : "b";
    const [x, y, w, h] = (this.mouths && layout.panes[`mouth_${side}`]) || layout.panes[`full_${side}`];
    const canvas = this.places.get(name).querySelector("canvas");
    canvas.style.aspectRatio = `${w} / ${h}`;
    const scale = tongue.player.video.videoWidth / layout.width;
    const [width, height] = [canvas.clientWidth, (canvas.clientWidth * h) / w];
    fitCanvas(canvas, width, height).drawImage(tongue.player.video, x * scale, y * scale, w * scale, h * scale, 0, 0, width, height);
    canvas.dataset.drawn = String(tongue.player.frame);
  }

  draw() {
    for (const name of this.names) this.paint(name);
  }

  showPlay() {
    const now = this.leader?.player.playing ? "pause" : "play";
    if ($("#play").dataset.now === now) return;
    $("#play").dataset.now = now;
    $("#play").replaceChildren(icon(now));
    $("#play").setAttribute("aria-label", now === "play" ? "Play (Space)" : "Pause (Space)");
  }

  toggle() {
    if (!this.leader) return;
    if (this.leader.player.playing) this.pause();
    else {
      this.hear(this.heard);
      for (const { player } of this.tongues.values()) {
        player.loop = player === this.leader.player ? "shot" : "off";
        player.play();
      }
    }
  }

  pause() {
    for (const { player } of this.tongues.values()) player.pause();
    const { player } = this.leader;
    player.seek(player.frame);
  }

  /** @param {number} by */
  step(by) {
    if (!this.leader) return;
    if (this.leader.player.playing) this.pause();
    this.leader.player.step(by);
  }

  // The source's sound is in every proxy, at the left.
  /** @param {string} name */
  hear(name) {
    this.heard = name;
    for (const button of $$("[data-hear]")) button.setAttribute("aria-pressed", String(button.dataset.hear === name));
    this.sound.choose(name === "source" ? "source" : "dub");
    const video = (name === "source" ? this.leader : this.tongues.get(name))?.player.video;
    if (!video) return;
    video.muted = false;
    this.sound.attach(video);
    whisper(`Sound: ${name}`);
  }

  zoom() {
    this.mouths = !this.mouths;
    $("#mouths").setAttribute("aria-pressed", String(this.mouths));
    this.draw();
  }

  /** @param {Keys} keys */
  start(keys) {
    const frames = () => this.leader?.facts.frames;
    /** @param {number} by */
    const step = (by) => () => this.step(by);
    /** @param {() => number} frame */
    const to = (frame) => () => this.leader && this.step(frame() - this.leader.player.frame);
    keys.bind("Play",
      [" ", "play or pause", () => this.toggle()],
      [[",", "ArrowLeft"], "one frame back", step(-1)],
      [[".", "ArrowRight"], "one frame on", step(1)],
      ["Shift+ArrowLeft", "ten frames back", step(-10)],
      ["Shift+ArrowRight", "ten frames on", step(10)],
      ["Home", "first frame of the shot", to(() => frames()[0])],
      ["End", "last frame of the shot", to(() => frames()[1] - 1)]);
    keys.bind("Hear", ...this.names.slice(0, 10).map((name, n) =>
      /** @type {[string, string, () => void]} */ ([String(n), name === "source" ? "the source" : name, () => this.hear(name)])));
    keys.bind("Look", ["m", "mouths, or whole pictures", () => this.zoom()]);
    keys.bind("Go", ["q", "back to the queue", () => $("#home").click()]);
    for (const button of $$("[data-hear]")) button.addEventListener("click", () => this.hear(button.dataset.hear));
    $("#play").addEventListener("click", () => this.toggle());
    $("#step-back").addEventListener("click", step(-1));
    $("#step-on").addEventListener("click", step(1));
    $("#mouths").addEventListener("click", () => this.zoom());
    this.showPlay();
    this.hear(this.heard);
    return Promise.all(this.names.slice(1).map((name) => this.open(name)));
  }
}

const keys = new Keys();
startFrame(keys);
new Page().start(keys).then(() => {
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
});
