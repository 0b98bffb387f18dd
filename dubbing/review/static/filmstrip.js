// Small pictures of single frames, for the timeline's strip and for the pointer above it: taken from the proxy by a
// second video, one search at a time, and kept. Knows no shot.

import { prepared } from "./player.js";
import { Clock } from "./time.js";

const WIDTH = 240; // pixels of a picture
const MOST = 160; // pictures that are kept

export class Filmstrip {
  /** @param {() => void} onpicture there is another picture */
  constructor(onpicture) {
    this.onpicture = onpicture;
    /** @type {Map<number, HTMLCanvasElement>} */
    this.held = new Map(); // frame -> picture, the oldest first
    /** @type {number[]} */
    this.wanted = [];
    /** @type {number | null} */
    this.pointed = null; // wanted before all others
    /** @type {number | null} */
    this.sought = null;
    /** @type {HTMLVideoElement | null} */
    this.video = null;
    this.aspect = 16 / 9;
  }

  /** @param {ProxyFacts | null} proxy */
  load(proxy) {
    this.video?.removeAttribute("src");
    this.video?.load();
    this.video = null;
    this.held.clear();
    this.wanted = [];
    this.pointed = this.sought = null;
    if (!proxy) return;
    this.clock = new Clock(proxy);
    this.layout = proxy.layout;
    this.box = proxy.layout.panes.full_b;
    this.aspect = this.box[2] / this.box[3];
    const video = prepared(proxy.url);
    this.video = video;
    video.muted = true;
    video.addEventListener("loadeddata", () => this.seek());
    video.addEventListener("seeked", () => video === this.video && this.take());
  }

  // These frames, in this order; what else was wanted is not any more.
  /** @param {number[]} frames */
  want(frames) {
    this.wanted = frames;
    this.seek();
  }

  // This frame before all others; null: none.
  /** @param {number | null} frame */
  point(frame) {
    this.pointed = frame;
    this.seek();
  }

  // The picture of a frame, or of the nearest frame that there is one of.
  /** @param {number} frame */
  nearest(frame) {
    let found = null;
    let least = Infinity;
    for (const [at, picture] of this.held) {
      if (Math.abs(at - frame) < least) [found, least] = [picture, Math.abs(at - frame)];
    }
    return found;
  }

  seek() {
    if (!this.video || this.video.readyState < 1 || this.sought !== null) return;
    const next = [this.pointed, ...this.wanted].find((f) => f !== null && !this.held.has(f));
    if (next === undefined) return;
    this.sought = next;
    this.video.currentTime = this.clock.middle(next);
  }

  take() {
    if (this.sought === null) return;
    const picture = document.createElement("canvas");
    picture.width = WIDTH;
    picture.height = Math.round(WIDTH / this.aspect);
    const scale = this.video.videoWidth / this.layout.width;
    const [x, y, w, h] = this.box.map((v) => v * scale);
    picture.getContext("2d").drawImage(this.video, x, y, w, h, 0, 0, picture.width, picture.height);
    this.held.set(this.sought, picture);
    if (this.held.size > MOST) this.held.delete(this.held.keys().next().value);
    this.sought = null;
    this.onpicture();
    this.seek();
  }
}
