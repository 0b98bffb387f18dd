// The queue's order, for going from shot to shot: as the queue left it in this tab, else read and sorted as the
// address says.

import { get, keyOf, keyText, rowsOf } from "./api.js";
import { session } from "./dom.js";
import { choose, fromUrl, toUrl } from "./filters.js";

export class Order {
  /** @param {string} query */
  constructor(query) {
    this.query = toUrl(fromUrl(query));
    const kept = session.get("order");
    /** @type {ShotKey[] | null} */
    this.keys = kept?.query === this.query && kept.keys.length ? kept.keys : null;
    this.index();
  }

  index() {
    this.at = new Map((this.keys ?? []).map((k, n) => [keyText(k), n]));
  }

  // Read where the queue has left nothing, or this shot is not in what it left.
  /** @param {ShotKey} key */
  async read(key) {
    if (this.at.has(keyText(key))) return;
    const rows = rowsOf(await get("/api/shots"));
    let { shown } = choose(rows, fromUrl(this.query), "severity");
    if (!shown.some((r) => keyText(keyOf(r)) === keyText(key))) ({ shown } = choose(rows, fromUrl(""), "severity"));
    this.keys = shown.map(keyOf);
    this.index();
  }

  /** @param {ShotKey} key */
  place(key) {
    return this.at.get(keyText(key)) ?? -1;
  }

  /** @param {ShotKey} key @param {number} by @returns {ShotKey | null} */
  beside(key, by) {
    const n = this.place(key);
    return n < 0 ? null : this.keys?.[n + by] ?? null;
  }
}
