// One hidden video, frame by frame: what is on the screen is told by the browser for each frame, never guessed.
// Knows frames of the title and the proxy's clock; draws nothing.

import { Clock } from "./time.js";

/** @import { Sound } from "./sound.js" */

const NUDGE_MS = 150;
const REMIND_MS = 700;
const REOPEN = 4; // reminders
const SPEEDS = [0.25, 0.5, 0.75, 1, 1.5, 2];

export class Player {
  // onframe(frame): another frame is on the screen; onstate(): playing, speed or loop changed; onmissing(by): a step
  // was asked for, and there is no video yet; oncut(): the shot has been played to its end, and the film goes on
  /** @param {{ onframe: (frame: number) => void, onstate: () => void, onmissing?: (by: number) => void,
   *   oncut?: () => unknown, sound: Pick<Sound, "attach" | "detach"> }} on */
  constructor({ onframe, onstate, onmissing = () => {}, oncut = () => {}, sound }) {
    this.oncut = oncut;
    this.onframe = onframe;
    this.onstate = onstate;
    this.onmissing = onmissing;
    this.sound = sound;
    /** @type {HTMLVideoElement | null} */
    this.video = null;
    /** @type {Clock | null} */
    this.clock = null;
    this.frame = 0;
    /** @type {number | null} */
    this.want = null; // the frame that is being sought
    /** @type {Span} */
    this.shot = [0, 1];
    this.loop = "shot";
    this.speed = 1;
    /** @type {number | null} */
    this.backwards = null; // its timer
    this.nudges = 0;
    this.nudging = 0;
    this.reminder = 0;
    /** @type {AbortController | null} */
    this.listeners = null;
    /** @type {{ token: number, done: () => void } | null} */
    this.first = null; // what waits for the first picture
    this.token = 0;
  }

  // video: one that was prepared, or none; start: frame of the title to show
  /** @param {ProxyFacts} proxy @param {Span} shot @param {number} start @param {HTMLVideoElement | null} [video]
   * @returns {Promise<void>} */
  load(proxy, shot, start, video = null) {
    this.unload();
    this.clock = new Clock(proxy);
    this.shot = shot;
    this.frame = this.clock.clamp(start);
    this.want = this.frame; // a busy browser may show the file's first frame before it can be sought in
    const token = ++this.token;
    this.video = video ?? prepared(proxy.url);
    const v = this.video;
    this.listeners = new AbortController();
    /** @param {string} name @param {() => void} f */
    const on = (name, f) => v.addEventListener(name, f, { signal: this.listeners.signal });
    on("seeked", () => this.sought(token));
    on("ended", () => this.ended());
    on("play", () => this.onstate());
    on("pause", () => this.onstate());
    /** @type {VideoFrameRequestCallback} */
    const tick = (_, meta) => {
      if (token !== this.token) return;
      v.requestVideoFrameCallback(tick);
      this.shown(this.clock.at(meta.mediaTime));
    };
    v.requestVideoFrameCallback(tick);
    v.playbackRate = this.speed;
    const begin = () => token === this.token && this.seek(this.frame);
    /** @type {Promise<void>} */
    const first = new Promise((done, fail) => {
      this.first = { token, done };
      on("error", () => fail(new Error(v.error?.message || "The proxy cannot be played.")));
    });
    // one that was prepared shows the frame already, and no browser tells of it again
    if (v.readyState >= 2 && !v.seeking && this.clock.at(v.currentTime) === this.frame) this.shown(this.frame);
    else if (v.readyState >= 1) begin();
    else on("loadedmetadata", begin);
    return first;
  }

  unload() {
    this.token += 1;
    this.stopBackwards();
    this.listeners?.abort();
    if (this.video) {
      this.video.pause();
      this.sound.detach(this.video);
      this.video.removeAttribute("src");
      this.video.load();
    }
    this.video = null;
    this.clock = null;
    this.want = null;
  }

  get ready() {
    return this.video !== null;
  }

  get playing() {
    return this.backwards !== null || (this.video !== null && !this.video.paused);
  }

  // [first, last) of what is played over and over, or of the whole proxy
  /** @returns {Span} */
  get bounds() {
    if (!this.clock) return this.shot;
    return this.loop === "shot" || this.loop === "film" ? this.shot : [this.clock.first, this.clock.last];
  }

  // The frame that lies at a time of the proxy; null where it is not drawn: past the end of a loop, or not what is sought.
  /** @param {number} seconds @returns {number | null} */
  drawable(seconds) {
    if (!this.clock) return null;
    const frame = this.clock.at(seconds);
    const past = (this.loop === "shot" || this.loop === "film") && frame >= this.bounds[1];
    return past || (this.want !== null && frame !== this.want) ? null : frame;
  }

  /** @param {number} frame */
  shown(frame) {
    const [first, last] = this.bounds;
    const moving = !this.video.paused;
    if (moving && this.loop === "shot" && frame >= last) {
      if (!this.video.seeking) this.seek(first);
      return; // never drawn
    }
    if (moving && this.loop === "film" && frame >= last) {
      this.video.pause();
      this.oncut();
      return;
    }
    if (moving && !this.video.seeking) this.want = null;
    if (this.want !== null && frame !== this.want) return; // of an older search, or from before this one
    if (frame === this.want) this.want = null;
    this.frame = frame;
    this.onframe(frame);
    if (this.first?.token === this.token) {
      this.first.done();
      this.first = null;
    }
  }

  /** @param {number} token */
  sought(token) {
    if (token !== this.token || this.want === null) return;
    const at = this.clock.at(this.video.currentTime);
    if (at !== this.want) {
      this.video.currentTime = this.clock.middle(this.want);
      return;
    }
    // The browser tells of the frame, before or after this; where it does not, it is sought again, a little beside.
    clearTimeout(this.nudging);
    this.nudging = setTimeout(() => {
      if (token !== this.token || this.want === null || this.video.seeking) return;
      this.nudges += 1;
      const [start, end] = [this.clock.start(this.want), this.clock.start(this.want + 1)];
      this.video.currentTime = start + (end - start) * (this.nudges % 2 ? 0.4 : 0.6);
    }, NUDGE_MS);
  }

  /** @param {number} frame */
  seek(frame) {
    if (!this.clock) return;
    this.want = this.clock.clamp(frame);
    if (!this.video.seeking) this.video.currentTime = this.clock.middle(this.want);
    this.remind(this.token, this.want);
  }

  // A browser that is busy may lose a search: it is asked again, and after some tries the file is opened anew.
  /** @param {number} token @param {number} frame @param {number} [times] */
  remind(token, frame, times = 1) {
    clearTimeout(this.reminder);
    this.reminder = setTimeout(() => {
      if (token !== this.token || this.want !== frame) return;
      const v = this.video;
      const again = () => token === this.token && this.want !== null && (v.currentTime = this.clock.middle(this.want));
      if (!v.seeking) again();
      else if (times % REOPEN === 0) {
        v.addEventListener("loadedmetadata", again, { once: true });
        v.load();
      }
      this.remind(token, frame, times + 1);
    }, REMIND_MS);
  }

  /** @param {number} by */
  step(by) {
    if (!this.clock) {
      this.onmissing(by);
      return;
    }
    this.pause();
    this.seek((this.want ?? this.frame) + by);
  }

  play() {
    if (!this.video) return;
    this.stopBackwards();
    const [first, last] = this.bounds;
    if (this.frame >= last - 1 || this.frame < first) this.seek(first);
    else this.want = null;
    this.sound.attach(this.video);
    this.video.play().catch(() => this.onstate());
  }

  pause() {
    this.stopBackwards();
    this.video?.pause();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  ended() {
    if (this.loop === "off") return this.onstate();
    if (this.loop === "film") return this.oncut();
    this.seek(this.bounds[0]);
    return this.video.play().catch(() => this.onstate());
  }

  // Backwards is stepping, as fast as the picture comes.
  playBackwards() {
    if (!this.clock || this.backwards !== null) return;
    this.video.pause();
    const every_ms = (1000 * this.clock.duration_s) / (this.clock.last - this.clock.first) / this.speed;
    this.backwards = setInterval(() => {
      if (this.video.seeking) return;
      const [first, last] = this.bounds;
      const next = (this.want ?? this.frame) - 1;
      if (next < first && this.loop === "off") this.pause();
      else this.seek(next < first ? last - 1 : next);
    }, every_ms);
    this.onstate();
  }

  stopBackwards() {
    if (this.backwards === null) return;
    clearInterval(this.backwards);
    this.backwards = null;
    this.onstate();
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.speed = speed;
    if (this.video) this.video.playbackRate = speed;
    if (this.backwards !== null) {
      this.stopBackwards();
      this.playBackwards();
    }
    this.onstate();
  }

  /** @param {number} by */
  faster(by) {
    const at = SPEEDS.indexOf(this.speed);
    this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at + by))]);
  }

  // "l" as editors know it: play; again: faster
  forward() {
    if (this.playing && this.backwards === null) this.faster(1);
    else {
      if (this.speed > 1) this.setSpeed(1);
      this.play();
    }
  }

  /** @param {string} loop */
  setLoop(loop) {
    this.loop = loop;
    this.onstate();
  }

  nextLoop() {
    const order = ["shot", "handles", "film", "off"];
    this.setLoop(order[(order.indexOf(this.loop) + 1) % order.length]);
  }
}

// A video that has begun to load.
/** @param {string} url */
export function prepared(url) {
  const video = document.createElement("video");
  video.preload = "auto";
  video.playsInline = true;
  video.disablePictureInPicture = true;
  video.src = url;
  return video;
}
