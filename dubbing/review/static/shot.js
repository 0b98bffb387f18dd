// The shot page: source and take in step, frame by frame. Loads a shot, keeps its parts in step with the player and
// with what others do; `controls` holds its buttons and keys, `verdicts` what is decided.
// Over 400 lines: one class of the page, whose parts are modules already.

import { Changes, get, keyText, pathOf } from "./api.js";
import { bindControls, showControls } from "./controls.js";
import { $, memory, setText } from "./dom.js";
import { Drawing } from "./drawing.js";
import { showCaptions, showFaceChoice, showFacts, showPlace } from "./facts.js";
import { lost, onTheme, reviewer, say, startFrame, whisper } from "./frame.js";
import { Jobs } from "./jobs.js";
import { Keys } from "./keys.js";
import { Order } from "./order.js";
import { Player } from "./player.js";
import { Sound } from "./sound.js";
import { Ahead, awaitProxy } from "./supply.js";
import { firstSides, sideName, sidesOf } from "./takes.js";
import { Clock, timecode } from "./time.js";
import { Timeline, paintOffset } from "./timeline.js";
import { Verdicts } from "./verdicts.js";
import { View } from "./view.js";
import { VERDICT, complaint, faceName, number, signed, thousands } from "./words.js";

/** @import { Held } from "./supply.js" */

const ADDRESS_MS = 200; // browsers refuse an address that changes with every frame

// The frame that the address names: "#f123".
const frameOfAddress = () => {
  const found = /^#f(\d{1,9})$/.exec(location.hash);
  return found ? Number(found[1]) : null;
};

/** @param {ShotFacts} facts */
const newest = (facts) => facts.standing.history.at(-1)?.seq ?? 0;

export class ShotPage {
  /** @param {Keys} keys @param {Info} info */
  constructor(keys, info) {
    this.keys = keys;
    this.info = info;
    /** @type {ShotKey | null} */
    this.key = null;
    /** @type {ShotFacts | null} */
    this.facts = null;
    /** @type {ProxyFacts | null} */
    this.proxy = null;
    /** @type {Curves | null} */
    this.curves = null;
    this.curvesOf = ""; // what they were asked for
    /** @type {FaceCurves | null | undefined} */
    this.offsetOf = undefined; // whose offset is drawn
    /** @type {string | null} */
    this.face = null; // the track whose mouth is looked at, null: of whoever is re-rendered
    /** @type {{ proxy: ProxyFacts, stopped: () => boolean, began: number } | null} */
    this.making = null; // the proxy that a still stands for
    this.start_frame = 0;
    /** @type {Sides} */
    this.sides = { a: "source", b: "current" };
    /** @type {Set<string>} */
    this.fresh = new Set();
    this.token = 0; // of the shot
    this.pictures = 0; // of what is on the stage
    this.naming = 0;
    this.drawn = this.sides;
    this.order = new Order(location.search);
    this.ahead = new Ahead();
    this.sound = new Sound();
    this.player = new Player({ sound: this.sound, onframe: (f) => this.onFrame(f), onstate: () => this.onState(),
      onmissing: (by) => this.stepStill(by), oncut: () => this.cut() });
    this.view = new View($("#picture"));
    this.view.strokes = (frame) => this.strokesAt(frame);
    this.drawing = new Drawing($("#picture"), this.view, { onbegin: () => this.player.pause(), onchange: () => this.view.draw() });
    this.timeline = new Timeline($("#timeline"), { onseek: (f) => this.scrub(f), text: (f) => this.text(f) });
    this.verdicts = new Verdicts(this);
    this.jobs = new Jobs($("#jobs"), (job) => this.jobDone(job));
  }

  start() {
    bindControls(this, this.keys);
    this.verdicts.bind(this.keys);
    onTheme(() => this.paint());
    addEventListener("popstate", () => this.toAddress());
    this.changes = new Changes(this.info.log_seq, { of: () => keyText(this.key), onchange: (found) => this.changed(found), onlost: lost });
    return this.load(this.keyOfAddress());
  }

  /** @returns {ShotKey} */
  keyOfAddress() {
    const [title, language, shot] = location.pathname.split("/").slice(2, 5).map(decodeURIComponent);
    return [title, language, shot];
  }

  // Back, forward, or a frame that somebody wrote behind the "#".
  toAddress() {
    const key = this.keyOfAddress();
    const frame = frameOfAddress();
    if (!this.facts || keyText(key) !== keyText(this.key)) this.load(key);
    else if (frame !== null) this.scrub(frame);
  }

  // The address names the frame that is looked at, so that it can be sent to somebody.
  /** @param {number} frame */
  address(frame) {
    clearTimeout(this.naming);
    if (this.player.playing) return;
    const token = this.token;
    this.naming = setTimeout(() => {
      if (token === this.token) history.replaceState(null, "", `${location.pathname}${location.search}#f${frame}`);
    }, ADDRESS_MS);
  }

  /** @param {number} frame */
  text(frame) {
    const f = this.facts;
    return f ? timecode(f.start_timecode_frames + frame, f.nominal_fps, f.drop_frame) : "";
  }

  // -- a shot --------------------------------------------------------------------------------

  // Go to another shot; its address is this page's from then on.
  /** @param {ShotKey | null} key */
  async go(key) {
    if (!key) {
      say("There is no other shot in this direction.");
      return;
    }
    history.pushState(null, "", `/shot/${pathOf(key)}${this.order.query}`);
    await this.load(key);
  }

  // The film's next shot, in the place of this one: its picture stays until the next has one.
  async cut() {
    const { next } = this.facts.neighbours;
    if (!next) {
      this.player.pause();
      say("The film ends here.");
      return;
    }
    const key = /** @type {ShotKey} */ ([this.key[0], this.key[1], next]);
    history.replaceState(null, "", `/shot/${pathOf(key)}${this.order.query}`);
    const token = this.token + 1;
    await this.load(key, true);
    if (token === this.token && this.player.loop === "film") this.player.play();
  }

  // The first shot of the film, in this language.
  toStart() {
    const { first } = this.facts.neighbours;
    return this.go([this.key[0], this.key[1], first]);
  }

  // on: at a cut of the film, which goes on without a gap
  /** @param {ShotKey} key @param {boolean} [on] */
  async load(key, on = false) {
    const token = ++this.token;
    this.pictures += 1;
    delete document.documentElement.dataset.shown;
    delete document.documentElement.dataset.still;
    const began = performance.now();
    const held = this.ahead.take(key);
    this.player.unload();
    this.key = key;
    this.proxy = null;
    this.face = null;
    this.fresh.clear();
    this.view.set({ overlays: null, ...(on ? {} : { picture: null }) });
    this.forgetCurves("");
    showFaceChoice(this);
    $("aside").setAttribute("aria-busy", "true"); // what stands there is the last shot's
    showPlace(key);
    this.verdicts.reset();
    this.drawing.clear();
    $("#home").href = `/${this.order.query}#${encodeURIComponent(keyText(key))}`;
    document.title = `${key[2]} · ${key[1]} · dub review`;
    try {
      this.facts = held?.shot ?? (await get(`/api/shot/${pathOf(key)}`));
      if (token !== this.token) return;
    } catch (error) {
      if (token === this.token) say(error.message, "bad");
      return;
    }
    this.sides = firstSides(this.facts);
    this.start_frame = frameOfAddress() ?? this.facts.frames[0];
    this.showFacts();
    this.seen();
    this.timeline.set({ first: this.facts.frames[0], last: this.facts.frames[1], shot: this.facts.frames, curves: null,
      comments: this.facts.standing.comments, sound: this.sound.which, fps: this.fps, clock: null, face: null });
    this.placeInQueue(token);
    whisper(`${key[2]}, ${key[1]}. ${complaint(this.facts.row)}.`);
    await this.loadPicture(began, held);
    if (held && token === this.token) this.refresh();
  }

  get fps() {
    return this.facts.fps[0] / this.facts.fps[1];
  }

  /** @param {number} token */
  async placeInQueue(token) {
    try {
      await this.order.read(this.key);
    } catch {
      // the buttons say that there is no neighbour
    }
    if (token !== this.token) return;
    const n = this.order.place(this.key);
    setText($("#place"), n < 0 ? "" : `${thousands(n + 1)} of ${thousands(this.order.keys.length)}`);
    $("#previous").disabled = !this.order.beside(this.key, -1);
    $("#next").disabled = !this.order.beside(this.key, 1);
    this.prepareNext();
  }

  seen() {
    const name = `seen.${this.info.out}`;
    const known = new Set(memory.get(name, []));
    known.add(keyText(this.key));
    memory.set(name, [...known]);
  }

  // The facts anew: others decided, a take was made. Says what is new.
  async refresh() {
    const token = this.token;
    const before = this.facts;
    let facts;
    try {
      facts = await get(`/api/shot/${pathOf(this.key)}`);
    } catch {
      return; // the poll says when the server is gone
    }
    // an answer that was on its way while something was decided tells of the time before
    if (token !== this.token || newest(facts) < newest(this.facts)) return;
    const known = new Set(before.takes.map((t) => t.id));
    const made = facts.takes.filter((t) => !known.has(t.id));
    /** @param {ShotFacts} f */
    const current = (f) => f.takes.find((t) => t.current)?.id;
    this.facts = facts;
    for (const take of made) this.announce(take);
    this.showFacts();
    this.timeline.set({ comments: facts.standing.comments });
    if (current(before) !== current(facts) && Object.values(this.sides).includes("current")) this.loadPicture(performance.now());
  }

  /** @param {Take} take */
  announce(take) {
    this.fresh.add(take.id);
    const name = sideName(take.id, this.facts.takes);
    say(`New: ${name}.`, "good", { label: "Compare", do: () => this.compare({ a: this.sides.b, b: take.id }) });
  }

  // -- what is shown -------------------------------------------------------------------------

  showFacts() {
    showFacts(this);
    $("aside").removeAttribute("aria-busy");
  }

  // Look at the mouth of one face throughout; null: of whoever is re-rendered at each frame.
  /** @param {string | null} track */
  async follow(track) {
    if (track === this.face) return;
    this.face = track;
    if (this.player.ready) this.start_frame = this.player.frame;
    showFaceChoice(this);
    this.showFacts();
    this.paint();
    await this.loadPicture(performance.now());
  }

  // Whose curves belong to a frame: the face that is looked at there.
  /** @param {number} frame @returns {FaceCurves | null} */
  faceAt(frame) {
    const faces = this.curves?.faces ?? [];
    const now = this.face ?? this.proxy?.mouths.find(([first, end]) => frame >= first && frame < end)?.[2];
    return faces.find((f) => f.track === now) ?? faces[0] ?? null;
  }

  // The take that a verdict would be about: what B shows, else what A shows, else the delivered one.
  /** @returns {Take | null} */
  lookedAt() {
    const { takes } = this.facts;
    const named = [this.sides.b, this.sides.a].find((s) => s !== "source" && s !== "current");
    return takes.find((t) => t.id === named) ?? takes.find((t) => t.current) ?? takes.find((t) => t.id === this.facts.row.take) ?? null;
  }

  // -- picture -------------------------------------------------------------------------------

  /** @param {Sides} sides */
  async compare(sides) {
    if (sides.a === this.sides.a && sides.b === this.sides.b) return;
    this.sides = sides;
    this.start_frame = this.player.ready ? this.player.frame : this.facts.frames[0];
    this.showFacts();
    await this.loadPicture(performance.now());
  }

  /** @param {keyof Sides} which */
  nextSide(which) {
    const all = sidesOf(this.facts.takes);
    const now = all.indexOf(this.sides[which]);
    this.compare({ ...this.sides, [which]: all[(now + 1) % all.length] });
  }

  /** @param {number} began @param {Held | null} [held] */
  async loadPicture(began, held = null) {
    const token = ++this.pictures;
    delete document.documentElement.dataset.shown;
    const { key, sides } = this;
    this.forgetCurves(this.curvesPath());
    const stopped = () => token !== this.pictures;
    const put = () => {
      if (this.player.ready) this.start_frame = this.player.frame; // of the sides shown before
      this.drawn = sides;
      showCaptions(this);
    };
    /** @param {string} message */
    const fail = (message) => {
      setText($("#making span"), message);
      $("#making").hidden = false;
      $("#making progress").hidden = true;
      say(message, "bad");
    };
    $("#making progress").hidden = false;
    let still = false;
    /** @param {ProxyFacts} proxy */
    const onprogress = (proxy) => {
      if (this.drawn !== sides || !this.view.picture) {
        put();
        this.player.unload();
        this.view.set({ picture: null });
      }
      $("#making").hidden = false;
      setText($("#making span"), `Making the moving picture: ${Math.round(100 * proxy.progress)} %`);
      $("#making progress").value = proxy.progress;
      if (!still && proxy.layout) {
        this.showStill(proxy, stopped, began);
        still = true;
      }
    };
    try {
      const proxy = held?.proxy ?? (await awaitProxy(key, this.face ? { ...sides, face: this.face } : sides, { onprogress, stopped }));
      if (stopped() || !proxy) return;
      if (proxy.state === "failed") {
        fail(proxy.error || "The proxy could not be made.");
        return;
      }
      this.proxy = proxy;
      if (this.face && !proxy.faces.includes(this.face)) this.face = null;
      showFaceChoice(this);
      put();
      this.timeline.set({ first: proxy.first, last: proxy.last, clock: null });
      const first = this.player.load(proxy, this.facts.frames, this.start_frame, held?.video);
      this.timeline.set({ clock: this.player.clock });
      this.timeline.strip.load(null); // its pictures are those of the sides shown before
      showControls(this);
      await first;
      if (stopped()) return;
      $("#making").hidden = true;
      document.documentElement.dataset.shown = String(Math.round(performance.now() - began));
    } catch (error) {
      if (!stopped()) fail(error.message);
      return;
    }
    this.timeline.strip.load(this.proxy);
    this.timeline.redraw();
    if (!still) this.loadCurves();
    this.prepareNext();
  }

  // Once this shot is on the screen, and the queue's order is known: whichever is later.
  prepareNext() {
    if (!document.documentElement.dataset.shown || this.ahead.held) return;
    const { next } = this.facts.neighbours;
    if (this.player.loop !== "film") this.ahead.prepare(this.order.beside(this.key, 1));
    else if (next) this.ahead.prepare([this.key[0], this.key[1], next], true);
  }

  // Something to look at, at once: the same picture as one image.
  /** @param {ProxyFacts} proxy @param {() => boolean} stopped @param {number} began */
  showStill(proxy, stopped, began) {
    this.making = { proxy, stopped, began };
    this.start_frame = Math.min(proxy.last - 1, Math.max(proxy.first, this.start_frame));
    this.timeline.set({ first: proxy.first, last: proxy.last, clock: new Clock(proxy) });
    const image = new Image();
    const frame = this.start_frame;
    image.onload = () => {
      if (stopped()) return;
      this.loadCurves();
      if (this.player.ready || frame !== this.start_frame) return;
      this.view.show({ ...this.pictureOf(proxy), source: image, frame });
      document.documentElement.dataset.still ??= String(Math.round(performance.now() - began));
      this.timeline.at(frame);
      this.tell(frame);
    };
    const { a, b } = this.sides;
    image.src = `/api/still/${pathOf(this.key)}.jpg?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}&frame=${frame}${
      this.face ? `&face=${encodeURIComponent(this.face)}` : ""}`;
  }

  // Frame by frame while the moving picture is still being made.
  /** @param {number} by */
  stepStill(by) {
    if (!this.making || this.making.stopped()) return;
    const { proxy, stopped, began } = this.making;
    this.start_frame = Math.min(proxy.last - 1, Math.max(proxy.first, this.start_frame + by));
    this.showStill(proxy, stopped, began);
  }

  /** @param {ProxyFacts} proxy */
  pictureOf({ layout, first, mouth_boxes, size, mouths, faces }) {
    return { layout, first, mouth_boxes, size, mouths, faces };
  }

  // What is drawn over a frame: by comments, and by the pointer just now.
  /** @param {number} frame */
  strokesAt(frame) {
    const said = (this.facts?.standing.comments ?? []).filter((c) => c.frame === frame).flatMap((c) => c.drawing ?? []);
    return this.drawing.frame === frame ? [...said, ...this.drawing.strokes] : said;
  }

  onState() {
    showControls(this);
    if (this.player.ready && this.facts) this.address(this.player.frame);
  }

  /** @param {number} frame */
  onFrame(frame) {
    /** @param {number} seconds */
    const frameAt = (seconds) => this.player.drawable(seconds);
    this.view.show({ ...this.pictureOf(this.proxy), source: this.player.video, frame, frameAt });
    this.timeline.at(frame);
    this.tell(frame);
  }

  /** @param {number} frame */
  tell(frame) {
    setText($("#timecode"), this.text(frame));
    setText($("#frame"), String(frame));
    this.showOffset(frame);
    const [first, last] = this.facts.frames;
    const part = frame < first ? "before the shot" : frame >= last ? "after the shot" : `${frame - first + 1} of ${last - first}`;
    setText($("#frame-of"), part);
    this.address(frame);
    if (this.player.playing) return; // not read out at every frame
    const slider = $("#timeline");
    slider.setAttribute("aria-valuemin", String(this.proxy?.first ?? first));
    slider.setAttribute("aria-valuemax", String((this.proxy?.last ?? last) - 1));
    slider.setAttribute("aria-valuenow", String(frame));
    slider.setAttribute("aria-valuetext", `${this.text(frame)}, ${part}`);
  }

  /** @param {number} frame */
  scrub(frame) {
    if (!this.player.ready) {
      this.stepStill(frame - this.start_frame);
      return;
    }
    this.player.pause();
    this.player.seek(frame);
  }

  // The curves of the take that is looked at.
  curvesPath() {
    const take = this.lookedAt()?.id;
    return `${pathOf(this.key)}${take ? `?take=${take}` : ""}`;
  }

  // Those of another take or shot are gone from the page before the new ones are there.
  /** @param {string} next */
  forgetCurves(next) {
    if (next && next === this.curvesOf) return;
    this.curvesOf = "";
    this.curves = null;
    this.offsetOf = undefined;
    this.view.set({ overlays: null });
    this.timeline.set({ unread: "", comments: next ? this.facts.standing.comments : [] });
    this.paint();
  }

  async loadCurves() {
    const of = this.curvesPath();
    if (of === this.curvesOf) return; // here, or on their way
    this.curvesOf = of;
    /** @template {string} P
     * @param {P} path @param {(found: Answer<P>) => void} then */
    const put = async (path, then) => {
      try {
        const found = await get(path);
        if (of === this.curvesOf) then(found);
      } catch {
        if (of === this.curvesOf) this.timeline.set({ unread: "could not be read" });
      }
    };
    // each when it is there: outlines may have to be read from the mattes first
    await Promise.all([
      put(`/api/curves/${of}`, (curves) => {
        this.curves = curves;
        this.paint();
      }),
      put(`/api/overlays/${of}`, (overlays) => this.view.set({ overlays })),
    ]);
  }

  paint() {
    this.timeline.set({ curves: this.curves, sound: this.sound.which, face: this.face });
    this.offsetOf = undefined;
    this.showOffset(this.timeline.frame);
    this.view.draw();
  }

  // The offset of the face that is looked at; drawn when that is another.
  /** @param {number} frame */
  showOffset(frame) {
    const face = this.faceAt(frame);
    if (this.offsetOf === face) return;
    this.offsetOf = face;
    const offset = face?.offset;
    paintOffset($("#offset"), offset, this.curves ? "not measured" : this.timeline.data?.unread || "reading …");
    setText($("#offset-face"), face && this.curves.faces.length > 1 ? `, ${faceName(face.track)}` : "");
    /** @param {number[] | null | undefined} values */
    const best = (values) => (values?.length ? offset.shifts[values.indexOf(Math.min(...values))] : null);
    const [mine, theirs] = [best(offset?.distance), best(offset?.source_distance)];
    setText($("#offset-words"), mine === null ? "" : `dub ${signed(mine, 0)} (${number(Math.min(...offset.distance), 1)})${
      theirs === null ? "" : ` · original ${signed(theirs, 0)} (${number(Math.min(...offset.source_distance), 1)})`}`);
  }

  // -- what others do ------------------------------------------------------------------------

  /** @param {Found} found */
  changed(found) {
    const mine = found.shots.find((r) => r.title === this.key[0] && r.language === this.key[1] && r.shot === this.key[2]);
    if (mine && this.facts) {
      const known = this.facts.standing;
      if (mine.revision !== known.revision || mine.comments !== known.comments.length) {
        if (mine.by && mine.by !== reviewer() && mine.revision !== known.revision) {
          say(mine.verdict ? `${mine.by}: ${VERDICT[mine.verdict].word}.` : `${mine.shot} was decided anew by somebody else.`);
        }
        this.refresh();
      }
    }
    this.jobs.update(found.reruns);
  }

  /** @param {Job} job */
  jobDone(job) {
    const failed = job.made.find((m) => m.error);
    if (failed) say(`The rerun failed: ${failed.error}`, "bad");
    else if (job.made.some((m) => m.known)) say("The rerun gave a take that was there already.");
    this.refresh();
  }

}

async function main() {
  const keys = new Keys();
  startFrame(keys);
  try {
    const page = new ShotPage(keys, await get("/api/info"));
    await page.start();
  } catch (error) {
    say(error.message, "bad");
    throw error;
  }
}

main();
