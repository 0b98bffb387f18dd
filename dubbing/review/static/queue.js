// The queue page: every shot of every dub, worst first. Holds the page's state and ties its parts together.

import { Changes, get, keyOf, keyText, rowsOf } from "./api.js";
import { CARD_BELOW, fillCard, makeCard } from "./card.js";
import { askExport, tellExport, tellRefusal } from "./deliver.js";
import { $, $$, fieldOf, memory, session, setText } from "./dom.js";
import { Facets } from "./facets.js";
import { choose, empty, fromUrl, isEmpty, toUrl } from "./filters.js";
import { lost, onTheme, say, startFrame } from "./frame.js";
import { Grid } from "./grid.js";
import { Histogram } from "./histogram.js";
import { Jobs } from "./jobs.js";
import { Keys } from "./keys.js";
import { Selection, bulkKeys } from "./selection.js";
import { SORTS, plural, thousands } from "./words.js";

/** @import { Card } from "./card.js" */

export class Queue {
  /** @param {Keys} keys @param {Info} info @param {Table} table */
  constructor(keys, info, table) {
    this.keys = keys;
    this.info = info;
    this.rows = rowsOf(table);
    this.at = new Map(this.rows.map((r, n) => [keyText(keyOf(r)), n])); // key -> place in this.rows
    this.state = fromUrl(location.search);
    this.titles = new Set(info.dubs.map((d) => d.title)).size > 1;
    this.brushed = Object.keys(this.state.ranges)[0] ?? "severity";
    /** @type {Row[]} */
    this.shown = [];
    /** @type {Set<Row>} */
    this.fits = new Set();
    this.seen = new Set(memory.get(`seen.${info.out}`, []));
    this.stale = 0;
    this.tables = "";
    this.ordering = 0;
    this.seq = table.log_seq;
    this.selection = new Selection(this);
    this.facets = new Facets($("#facets"), (change) => this.set(change));
    this.facets.learn(this.rows);
    $("#filters").addEventListener("click", () => this.showFilters());
    this.histogram = new Histogram($("#histogram"), {
      thresholds: info.thresholds,
      onbrush: (name, range) => this.set((s) => {
        if (range) s.ranges[name] = range;
        else delete s.ranges[name];
      }),
      onscore: (name) => {
        this.brushed = name;
        this.apply(true);
      },
    });
    this.grid = new Grid($("#scroller"), $("#cards"), {
      make: makeCard, minimum: 240, below: CARD_BELOW,
      fill: (card, n, focused) => this.fill(card, n, focused),
    });
    this.jobs = new Jobs($("#jobs"), (job) => {
      if (job.kind === "export") tellExport(job);
      else say(`New takes of ${plural(job.takes, "shot")}.`, "good");
    });
  }

  start() {
    this.controls();
    bulkKeys(this, this.keys);
    this.apply(false);
    this.restore();
    this.changes = new Changes(this.seq, { onchange: (found) => this.changed(found), onlost: lost });
  }

  /** @param {Card} card @param {number} n @param {boolean} focused */
  fill(card, n, focused) {
    const row = this.shown[n];
    const key = keyText(keyOf(row));
    fillCard(card, row, {
      focused, selected: this.selection.has(key), seen: this.seen.has(key), stale: !this.fits.has(row),
      titles: this.titles, query: toUrl(this.state),
    });
  }

  /** @param {string} key @returns {Row | undefined} */
  row(key) {
    return this.rows[this.at.get(key)];
  }

  /** @returns {Row | null} */
  focusedRow() {
    return this.shown[this.grid.focused] ?? null;
  }

  // -- filters -----------------------------------------------------------------------------

  // Where the window is too narrow for them to stand beside the cards.
  /** @param {boolean} [on] */
  showFilters(on = $("#filters").getAttribute("aria-expanded") !== "true") {
    $("#filters").setAttribute("aria-expanded", String(on));
    $(".desk").classList.toggle("filtering", on);
  }

  toFilters() {
    this.showFilters(true);
    $$("#facets input").find((e) => e.checkVisibility())?.focus();
  }

  /** @param {(state: Filters) => unknown} change */
  set(change) {
    change(this.state);
    history.replaceState(null, "", toUrl(this.state) || location.pathname);
    this.apply(true);
  }

  // keep: the shot in focus stays where it is, where it still fits
  /** @param {boolean} keep */
  apply(keep) {
    const held = keep ? this.focusedRow() : null;
    const before = this.grid.focused;
    const found = choose(this.rows, this.state, this.brushed);
    this.shown = found.shown;
    this.fits = new Set(found.shown);
    this.stale = 0;
    $("#fresh").hidden = true;
    this.facets.update(found.counts, this.state);
    this.histogram.update(this.brushed, this.rows, found.open, this.state.ranges[this.brushed] ?? null);
    const now = held && $("#scroller").scrollTop > 0 ? this.shown.indexOf(held) : -1;
    const inList = $("#cards").contains(document.activeElement);
    this.grid.reset(this.shown.length, now >= 0 ? [before, now] : null);
    if (inList) this.grid.go(this.grid.focused);
    this.tell();
    clearTimeout(this.ordering);
    this.ordering = setTimeout(() => session.set("order", { query: toUrl(this.state), keys: this.shown.map(keyOf) }), 200);
  }

  tell() {
    const n = this.shown.length;
    setText($("#count"), n === this.rows.length ? plural(n, "shot") : `${thousands(n)} of ${plural(this.rows.length, "shot")}`);
    $("#nothing").hidden = n > 0;
    $("#sort").value = this.state.sort;
    if (document.activeElement !== $("#search")) $("#search").value = this.state.q;
    this.facets.chips($("#chips"), this.state);
    let decided = 0;
    let seen = 0;
    for (const row of this.rows) {
      if (row.verdict) decided += 1;
      if (row.verdict || this.seen.has(keyText(keyOf(row)))) seen += 1;
    }
    const all = Math.max(1, this.rows.length);
    setText($("#progress-text"), `${thousands(seen)} of ${thousands(this.rows.length)} seen · ${thousands(decided)} decided`);
    $("#progress-seen").style.width = `${(100 * seen) / all}%`;
    $("#progress-decided").style.width = `${(100 * decided) / all}%`;
  }

  // -- what others did ---------------------------------------------------------------------

  // A row is written anew where it stands; the order changes only when somebody asks for it.
  /** @param {Row} row */
  put(row) {
    const key = keyText(keyOf(row));
    const n = this.at.get(key);
    if (n === undefined) return;
    const old = this.rows[n];
    this.rows[n] = row;
    this.facets.learn([row]);
    const place = this.shown.indexOf(old);
    this.fits.delete(old);
    if (place >= 0) {
      this.shown[place] = row;
      if (choose([row], this.state, this.brushed).shown.length) this.fits.add(row);
      else this.stale += 1;
      this.grid.refresh((m) => m === place);
    } else if (choose([row], this.state, this.brushed).shown.length) this.stale += 1;
  }

  retell() {
    const found = choose(this.rows, this.state, this.brushed);
    this.facets.update(found.counts, this.state);
    this.histogram.update(this.brushed, this.rows, found.open, this.state.ranges[this.brushed] ?? null);
    this.tell();
    $("#fresh").hidden = !this.stale;
    setText($("#fresh"), `${plural(this.stale, "change")}: list anew`);
  }

  /** @param {Found} found */
  async changed(found) {
    if (found.shots.length) {
      for (const row of found.shots) this.put(row);
      this.retell();
    }
    this.jobs.update(found.reruns);
    if (found.more || (this.tables && found.tables !== this.tables)) await this.reload();
    this.tables = found.tables ?? "";
  }

  async reload() {
    const table = await get("/api/shots");
    const fresh = rowsOf(table);
    if (fresh.length === this.rows.length && fresh.every((r) => this.at.has(keyText(keyOf(r))))) {
      for (const row of fresh) this.put(row);
      return this.retell();
    }
    this.rows = fresh;
    this.facets.learn(fresh);
    this.at = new Map(fresh.map((r, n) => [keyText(keyOf(r)), n]));
    return this.apply(true);
  }

  // -- the rest of the page ------------------------------------------------------------------

  controls() {
    $("#sort").replaceChildren(...Object.entries(SORTS).map(([value, s]) => new Option(s.label, value)));
    $("#sort").addEventListener("change", (e) => {
      $("#scroller").scrollTop = 0; // another order has another place
      this.set((s) => (s.sort = fieldOf(e).value));
    });
    /** @type {number | undefined} */
    let typing = null;
    $("#search").addEventListener("input", (e) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.set((s) => (s.q = fieldOf(e).value)), 120);
    });
    $("#search").addEventListener("keydown", (e) => {
      if (e.key !== "Escape" && e.key !== "Enter" && e.key !== "ArrowDown") return;
      e.preventDefault();
      clearTimeout(typing);
      this.set((s) => (s.q = e.key === "Escape" ? "" : fieldOf(e).value));
      fieldOf(e).value = this.state.q;
      this.grid.go(0);
    });
    $("#fresh").addEventListener("click", () => this.apply(true));
    const deliver = async () => (await askExport(this.rows)) && this.changes.now();
    $("#export").addEventListener("click", deliver);
    $("#nothing-clear").addEventListener("click", () => this.clear());
    onTheme(() => this.histogram.draw());
    addEventListener("popstate", () => {
      this.state = fromUrl(location.search);
      this.apply(false);
    });
    addEventListener("pagehide", () => this.remember());
    addEventListener("pageshow", (e) => {
      if (!e.persisted) return;
      this.seen = new Set(memory.get(`seen.${this.info.out}`, []));
      this.grid.refresh();
      this.tell();
    });
    const grid = this.grid;
    this.keys.bind("Shots",
      ["ArrowRight", "next shot", () => grid.go(grid.focused + 1)],
      ["ArrowLeft", "previous shot", () => grid.go(grid.focused - 1)],
      [["ArrowDown", "j"], "a row down", () => grid.go(grid.focused + grid.columns)],
      [["ArrowUp", "k"], "a row up", () => grid.go(grid.focused - grid.columns)],
      ["PageDown", "a page down", () => grid.go(grid.focused + grid.columns * grid.pageRows)],
      ["PageUp", "a page up", () => grid.go(grid.focused - grid.columns * grid.pageRows)],
      [["Home"], "the first", () => grid.go(0)],
      [["End"], "the last", () => grid.go(grid.count - 1)],
      ["Enter", "open the shot", () => $(`[data-n="${grid.focused}"]:not([hidden]) a`)?.click()]);
    this.keys.bind("Deliver",
      ["e", "export what was decided", deliver],
      ["d", "the dashboard", () => location.assign("/dashboard")],
      ["c", "the cast: who is seen, and their names", () => location.assign("/cast")],
      ["i", "the report", () => open("/report.html", "_blank", "noopener")]);
    this.keys.bind("Find",
      ["/", "search", () => $("#search").select()],
      ["f", "to the filters", () => this.toFilters()],
      ["h", "to the range of the score", () => $("#histogram input").focus()],
      ["0", "all filters off", () => this.clear()],
      ["u", "list anew, with what changed", () => this.apply(true)]);
  }

  clear() {
    if (isEmpty(this.state)) return say("No filter is on.");
    return this.set((s) => Object.assign(s, { ...empty(), sort: s.sort }));
  }

  remember() {
    const row = this.focusedRow();
    session.set("place", { query: toUrl(this.state), key: row && keyOf(row), top: $("#scroller").scrollTop });
  }

  // Back from a shot: to the shot that was looked at last.
  restore() {
    const hash = decodeURIComponent(location.hash.slice(1));
    const place = session.get("place");
    const key = hash || (place?.query === toUrl(this.state) && place.key ? keyText(place.key) : "");
    const n = key ? this.shown.findIndex((r) => keyText(keyOf(r)) === key) : -1;
    if (!hash && n >= 0) $("#scroller").scrollTop = place.top;
    this.grid.go(Math.max(0, n));
    if (hash) history.replaceState(null, "", location.pathname + location.search);
  }
}

async function main() {
  const keys = new Keys();
  startFrame(keys);
  try {
    const [info, table] = await Promise.all([get("/api/info"), get("/api/shots")]);
    const queue = new Queue(keys, info, table);
    queue.start();
    document.documentElement.dataset.ready = String(Math.round(performance.now()));
    tellRefusal();
  } catch (error) {
    setText($("#count"), "The shots cannot be read.");
    say(error.message, "bad");
    throw error;
  }
}

main();
