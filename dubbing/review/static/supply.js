// Proxies: asked for until they are ready, and the next shot's made ready while this one plays. Draws nothing.

import { get, keyText, pathOf, post } from "./api.js";
import { prepared } from "./player.js";
import { firstSides } from "./takes.js";
import { Clock } from "./time.js";

const POLL_MS = 250;
const PREPARE_MS = 900;
/** @param {number} ms */
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// Ask until a proxy is ready or has failed. onprogress(proxy) meanwhile; stopped() ends it.
/** @param {ShotKey} key @param {Looked} sides
 * @param {{ onprogress?: (proxy: ProxyFacts) => void, stopped?: () => boolean, prepare?: boolean }} on
 * @returns {Promise<ProxyFacts | null>} */
export async function awaitProxy(key, sides, { onprogress = () => {}, stopped = () => false, prepare = false }) {
  for (;;) {
    const proxy = await post(`/api/proxy/${pathOf(key)}`, prepare ? { ...sides, prepare } : sides);
    if (stopped()) return null;
    if (proxy.state !== "making") return proxy;
    onprogress(proxy);
    await wait(prepare ? PREPARE_MS : POLL_MS);
    if (stopped()) return null;
  }
}

/** @typedef {{ name: string, shot: ShotFacts | null, proxy: ProxyFacts | null, video: HTMLVideoElement | null }} Held */

// One shot ahead: its facts, its proxy, and a video that has begun to load.
export class Ahead {
  constructor() {
    this.token = 0;
    /** @type {Held | null} */
    this.held = null;
  }

  // further: of the film, whose shot after that one is made ready too
  /** @param {ShotKey | null} key @param {boolean} [further] */
  async prepare(key, further = false) {
    if (!key || this.held?.name === keyText(key)) return;
    this.drop();
    const token = this.token;
    /** @type {Held} */
    const held = { name: keyText(key), shot: null, proxy: null, video: null };
    this.held = held;
    try {
      held.shot = await get(`/api/shot/${pathOf(key)}`);
      const proxy = await awaitProxy(key, firstSides(held.shot), { prepare: true, stopped: () => token !== this.token });
      if (proxy?.state === "ready" && token === this.token) {
        held.proxy = proxy;
        const video = prepared(proxy.url);
        held.video = video;
        const first = held.shot.frames[0]; // what will be shown first is decoded already
        video.addEventListener("loadedmetadata", () => (video.currentTime = new Clock(proxy).middle(first)), { once: true });
      }
      const { next } = held.shot.neighbours;
      if (further && next && token === this.token) {
        await awaitProxy([key[0], key[1], next], { a: "source", b: "current" }, { prepare: true, stopped: () => token !== this.token });
      }
    } catch {
      // asked for again when it is its turn
    }
  }

  // What is ready of a shot; it is the caller's from now on.
  /** @param {ShotKey} key @returns {Held | null} */
  take(key) {
    const held = this.held;
    if (held?.name !== keyText(key)) {
      this.drop();
      return null;
    }
    this.token += 1;
    this.held = null;
    return held;
  }

  drop() {
    this.token += 1;
    this.held?.video?.removeAttribute("src");
    this.held?.video?.load();
    this.held = null;
  }
}
