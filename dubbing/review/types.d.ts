// What the review server sends, and what the elements of its pages are: for the type check of static/*.js alone.
// No browser reads this file. tests/test_javascript.py holds it against the server and the templates.

/** Title, language, shot. */
type ShotKey = [title: string, language: string, shot: string];

type Verdict = "approved" | "rejected" | "original" | "chosen";
type Reason = "teeth" | "jaw" | "sync" | "wrong_face" | "covered" | "seam";
type Severity = "note" | "issue" | "blocker";
type Kind = "approve" | "reject" | "original" | "choose" | "comment" | "rerun" | "undo" | "name";
type Which = "source" | "dub";
/** x, y, width, height. */
type Box = [x: number, y: number, width: number, height: number];
/** First and one after the last. */
type Span = [first: number, last: number];
type GeneratorChoice = { name: string; [setting: string]: unknown };

/** What is measured of a take, null or absent where it was not. */
interface Scores {
  lse_d?: number | null;
  lse_c?: number | null;
  lse_offset_frames?: number | null;
  source_lse_d?: number | null;
  source_lse_c?: number | null;
  source_lse_offset_frames?: number | null;
  sharpness?: number | null;
  silence_motion?: number | null;
  lip_leak?: number | null;
  following?: number | null;
}

/** One shot in one language, of /api/shots: a row of its table, what was decided, and how bad it is. */
interface Row extends Scores {
  title: string;
  language: string;
  shot: string;
  start_frame: number;
  end_frame: number;
  start_tc: string | null;
  end_tc: string | null;
  status: "dubbed" | "untouched" | "failed";
  reason: string | null;
  face: string | null;
  face_px: number | null;
  yaw_deg: number | null;
  generator: string | null;
  generator_hash: string | null;
  take: string | null;
  lse_model: string | null;
  lse_windows: number | null;
  needs_review: boolean | null;
  review_reason: string | null;
  seconds: number | null;
  error: string | null;
  actor: string | null;
  /** Of the face, where it is known. */
  character?: string | null;
  lse_at_zero: number | null;
  source_lse_at_zero: number | null;
  foreign_lse_at_zero: number | null;
  rest_opening: number | null;
  excluded_frames: number | null;
  covered_frames: number | null;
  /** In dissolves and fades. */
  mixed_frames?: number | null;
  occluded_frames?: number | null;
  /** Why this take of several. */
  selection?: string | null;
  order: number;
  severity: number;
  severity_parts: { [part: string]: number };
  verdict: Verdict | null;
  by: string | null;
  at: string | null;
  revision: number;
  comments: number;
  comment_severity: Severity | null;
  chosen: string | null;
  reject_reasons: Reason[];
  /** What is said in it, where somebody has listened. */
  said: string | null;
  source_said: string | null;
}

/** Rows as columns and lists. */
interface Table {
  log_seq: number;
  columns: string[];
  rows: unknown[][];
}

interface Limits {
  lse_d_over_source: number;
  offset_frames: number;
  min_sharpness: number;
  max_silence_motion: number;
}

/** A property of a JSON Schema, as far as a form shows it. */
interface Setting {
  type?: string;
  enum?: unknown[];
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  anyOf?: Setting[];
}

interface GeneratorInfo {
  name: string;
  ready: boolean;
  why: string;
  settings: { [name: string]: Setting };
}

interface DubInfo {
  title: string;
  language: string;
  frames: number;
  fps: number;
  width: number;
  height: number;
  run: number | null;
}

interface Info {
  out: string;
  version: string;
  log_seq: number;
  dubs: DubInfo[];
  thresholds: Limits;
  generators: GeneratorInfo[];
}

/** A record of the log. */
interface Decision {
  seq: number;
  time: string;
  reviewer: string;
  title: string;
  language: string;
  shot: string;
  kind: Kind;
  take?: string;
  generator?: GeneratorChoice;
  frame?: number;
  text?: string;
  severity?: Severity;
  undoes?: number;
  reasons: Reason[];
  /** Of a comment: strokes of points, in parts of the picture's width and height. */
  drawing: [x: number, y: number][][];
}

/** What holds for a shot. */
interface Standing {
  verdict: Verdict | null;
  about: string | null;
  by: string | null;
  at: string | null;
  take: string | null;
  generator: GeneratorChoice | null;
  revision: number;
  comments: Decision[];
  history: Decision[];
  reasons: Reason[];
  chosen_by: string | null;
  chosen_at: string | null;
}

/** The columns of a row that belong to a take, of this one. */
type TakeRow = Scores & Pick<Row, "status" | "reason" | "review_reason" | "severity" | "severity_parts"> & { face?: string | null };

/** One re-rendered face of a take, over the frames in which it is. */
interface FaceScores extends Scores {
  track: string;
  start_frame: number;
  end_frame: number;
  rendered_frames: number;
  face_px: number | null;
  yaw_deg: number | null;
  lse_model: string | null;
  lse_windows: number | null;
  lse_at_zero: number | null;
  source_lse_at_zero: number | null;
  foreign_lse_at_zero: number | null;
  rest_opening: number | null;
  severity: number;
  review_reason: string | null;
}

interface Take {
  id: string;
  generator: GeneratorChoice;
  status: Row["status"];
  reason: string | null;
  row: TakeRow;
  /** The worst first. */
  faces: FaceScores[];
  made: string;
  current: boolean;
  /** By which it was selected of several, less is better; null where it was not compared. */
  score: number | null;
}

/** Of /api/shot. */
interface ShotFacts {
  row: Row;
  standing: Standing;
  frames: Span;
  takes: Take[];
  fps: [numerator: number, denominator: number];
  nominal_fps: number;
  drop_frame: boolean;
  start_timecode_frames: number;
  timecodes: { start: string; end: string };
  neighbours: { first: string; previous: string | null; next: string | null };
  /** The characters of its faces that are known, by track. */
  names: { [track: string]: string };
}

/** Of /api/decide; what a conflict answers has no record, and says why. */
interface Decided {
  record: Decision;
  row: Row | null;
  standing: Standing;
}

interface Layout {
  width: number;
  height: number;
  panes: { [name: string]: Box };
  diff_gain: number;
  mouth_scale: number | null;
}

/** Of /api/proxy: frames first to last of a title as one small video of panes. */
interface ProxyFacts {
  state: "making" | "ready" | "failed";
  progress: number;
  url: string;
  error: string | null;
  layout: Layout;
  first: number;
  last: number;
  pts_s: number[];
  duration_s: number;
  mouth_boxes: Box[] | null;
  size: [width: number, height: number];
  /** Whose mouth is shown, from one frame to another. */
  mouths: [first: number, end: number, track: string][];
  /** The tracks that are re-rendered. */
  faces: string[];
}

type Curve = (number | null)[] | null;
type Heard = [word: string, start_s: number, end_s: number, character: string | null];
interface Wave {
  start_s: number;
  step_s: number;
  low: number[];
  high: number[];
}

/** Of /api/curves. */
interface Curves {
  frames: Span;
  faces: FaceCurves[];
  waveform: { source: Wave | null; dub: Wave | null };
  /** On the proxy's clock; empty where nobody has listened. */
  words: { source: Heard[]; dub: Heard[] };
  silence: Span[];
}
interface FaceCurves {
  track: string;
  rendered: Span[];
  opening: { frames: number[]; wanted: Curve; seen: Curve; was: Curve };
  confidence: { frames: number[]; dub: Curve; source: Curve };
  offset: Offset;
}
interface Offset {
  shifts: number[];
  distance: number[] | null;
  source_distance: number[] | null;
}

/** Of /api/overlays. */
interface Overlays {
  frames: Span;
  faces: Face[];
  mattes: { [frame: string]: number[][] };
  matte_step: number;
}
interface Face {
  track: string;
  /** Where the take changes it. */
  rendered: Span[];
  boxes: { [frame: string]: Box };
  unseen: number[];
}

/** A rerun or an export. */
interface Job {
  id: number;
  kind: "rerun" | "export";
  reviewer: string;
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  progress: number;
  message: string;
  /** How many it renders, and the first of them. */
  shots: number;
  first: ShotKey | null;
  /** How many takes it made; and what it made of the shot that was asked about. */
  takes: number;
  made: { key: ShotKey; take: string | null; known: boolean; error: string | null }[];
  result: Exported | null;
  /** Of a rerun. */
  generator?: GeneratorChoice;
}
/** files, changed: how many files, and shots with another picture. */
interface Exported {
  delivery: number;
  files: number;
  changed: number;
  errors: string[];
}

/** Of /api/changes. */
interface Found {
  log_seq: number;
  tables: string;
  tables_changed: boolean;
  shots: Row[];
  more: boolean;
  reruns: Job[];
}

// -- the page's own ------------------------------------------------------------------------------

/** Two sides of a comparison: `source`, `current`, or a take's id. */
interface Sides {
  a: string;
  b: string;
}
/** Two sides, and the track whose mouth is looked at; without: of whoever is re-rendered. */
type Looked = Sides & { face?: string };

/** What the queue shows: a search, an order, values of facets, ranges of scores. */
interface Filters {
  q: string;
  sort: string;
  chosen: { [facet: string]: Set<string> };
  ranges: { [score: string]: [low: number, high: number] };
}
interface Facet {
  name: string;
  label: string;
  of: (row: Row) => string | string[] | null | undefined;
  word: (value: string) => string;
  order?: string[];
}
type Counts = { [facet: string]: Map<string, number> };

/** What is on the stage: a video or image of panes, and which frame it shows. */
interface Picture extends Pick<ProxyFacts, "layout" | "first" | "mouth_boxes" | "size" | "mouths" | "faces"> {
  source: HTMLVideoElement | HTMLImageElement;
  frame: number;
  /** Of a video: which frame is shown at a time, null where it is not to be drawn. */
  frameAt?: (seconds: number) => number | null;
}
/** Where a pane lies on the canvas. */
interface Pane {
  region: string;
  side: string;
  x: number;
  y: number;
  w: number;
  h: number;
}

/** What the server answers to a path. */
type Answer<P extends string> = P extends "/api/info" ? Info
  : P extends "/api/shots" ? Table
  : P extends `/api/changes${string}` ? Found
  : P extends `/api/shot/${string}` ? ShotFacts
  : P extends `/api/curves/${string}` ? Curves
  : P extends `/api/overlays/${string}` ? Overlays
  : P extends `/api/proxy/${string}` ? ProxyFacts
  : P extends "/api/refusal" ? { why: string | null }
  : P extends "/api/decide" ? Decided
  : P extends "/api/name" ? { note: string | null }
  : P extends "/api/rerun" | "/api/export" | "/api/cancel" ? Job
  : never;

/** What a decision says beside its kind. */
type About = Partial<Pick<Decision, "take" | "text" | "severity" | "frame" | "undoes" | "reasons" | "drawing">>;
/** The low and high end of a score; null: no brush. */
type Brush = [low: number, high: number] | null;
interface Score {
  label: string;
  of: (row: Row) => number | null;
  digits: number;
  limit?: (limits: Limits) => number;
}
type Action = { label: string; do: () => unknown };
type Child = Node | string | null | undefined | false;
type Context = CanvasRenderingContext2D;

// -- elements ------------------------------------------------------------------------------------

type Tags = HTMLElementTagNameMap;
type OfTag<T extends string> = T extends keyof Tags ? Tags[T] : HTMLElement;
/** What `h` makes of "button.small.quiet". */
type Made<S extends string> = S extends `${infer T}.${string}` ? OfTag<T> : OfTag<S>;

/** What `$` finds: an element of a template by its id, another by its tag; an id that no template has is an error. */
type Sought<S extends string> = S extends keyof Ids ? Ids[S]
  : S extends `#${string} ${infer T}` ? OfTag<T>
  : S extends `#${string}` ? never
  : OfTag<S>;

/** The ids of the templates. */
interface Ids {
  "#home": Tags["a"];
  "#reviewer": Tags["button"];
  "#reviewer-name": Tags["span"];
  "#theme": Tags["button"];
  "#help-button": Tags["button"];
  "#lost": Tags["div"];
  "#notices": Tags["div"];
  "#alerts": Tags["div"];
  "#whisper": Tags["div"];
  "#name": Tags["dialog"];
  "#name-title": Tags["h2"];
  "#name-input": Tags["input"];
  "#rerun": Tags["dialog"];
  "#rerun-title": Tags["h2"];
  "#rerun-about": Tags["p"];
  "#rerun-generator": Tags["select"];
  "#rerun-why": Tags["p"];
  "#rerun-settings": Tags["div"];
  "#rerun-error": Tags["p"];
  "#rerun-send": Tags["button"];
  "#reject": Tags["dialog"];
  "#reject-title": Tags["h2"];
  "#reject-of": Tags["span"];
  "#reject-reasons": Tags["div"];
  "#help": Tags["dialog"];
  "#help-title": Tags["h2"];
  "#help-keys": Tags["div"];
  "#help-on": Tags["input"];
  "#search": Tags["input"];
  "#progress": Tags["div"];
  "#progress-decided": Tags["i"];
  "#progress-seen": Tags["i"];
  "#progress-text": Tags["span"];
  "#facets": Tags["nav"];
  "#main": Tags["main"];
  "#filters": Tags["button"];
  "#count": Tags["span"];
  "#chips": Tags["div"];
  "#fresh": Tags["button"];
  "#export": Tags["button"];
  "#sort": Tags["select"];
  "#histogram": Tags["section"];
  "#scroller": Tags["div"];
  "#cards": Tags["ul"];
  "#nothing": Tags["p"];
  "#nothing-clear": Tags["button"];
  "#selection": Tags["div"];
  "#selected-count": Tags["b"];
  "#jobs": Tags["div"];
  "#deliver": Tags["dialog"];
  "#deliver-title": Tags["h2"];
  "#deliver-about": Tags["p"];
  "#tongues": Tags["ul"];
  "#mouths": Tags["button"];
  "#all-languages": Tags["a"];
  "#choice": Tags["form"];
  "#score": Tags["select"];
  "#by": Tags["select"];
  "#spread-title": Tags["h2"];
  "#rejected-title": Tags["h2"];
  "#alone-title": Tags["h2"];
  "#where-title": Tags["span"];
  "#where-language": Tags["span"];
  "#where-shot": Tags["h1"];
  "#verdict": Tags["span"];
  "#previous": Tags["button"];
  "#place": Tags["span"];
  "#next": Tags["button"];
  "#modes": Tags["div"];
  "#adjust": Tags["label"];
  "#adjust-name": Tags["span"];
  "#adjust-range": Tags["input"];
  "#adjust-value": Tags["output"];
  "#zooms": Tags["div"];
  "#face-choice": Tags["div"];
  "#faces": Tags["button"];
  "#matte": Tags["button"];
  "#draw": Tags["button"];
  "#stage": Tags["div"];
  "#picture": Tags["canvas"];
  "#making": Tags["div"];
  "#step-back": Tags["button"];
  "#play": Tags["button"];
  "#step-on": Tags["button"];
  "#timecode": Tags["output"];
  "#frame": Tags["output"];
  "#frame-of": Tags["span"];
  "#speed": Tags["select"];
  "#loop": Tags["select"];
  "#sounds": Tags["div"];
  "#timeline": Tags["canvas"];
  "#hover": Tags["div"];
  "#hover-picture": Tags["canvas"];
  "#hover-text": Tags["span"];
  "#offset": Tags["canvas"];
  "#offset-face": Tags["span"];
  "#offset-words": Tags["p"];
  "#conflict": Tags["p"];
  "#do-comment": Tags["button"];
  "#do-rerun": Tags["button"];
  "#do-undo": Tags["button"];
  "#stand": Tags["p"];
  "#advance": Tags["input"];
  "#numbers-title": Tags["h2"];
  "#numbers-of": Tags["span"];
  "#complaint": Tags["p"];
  "#numbers": Tags["div"];
  "#takes-title": Tags["h2"];
  "#takes": Tags["div"];
  "#comments-title": Tags["h2"];
  "#comments-count": Tags["span"];
  "#comments": Tags["div"];
  "#history": Tags["div"];
  "#comment": Tags["dialog"];
  "#comment-title": Tags["h2"];
  "#comment-at": Tags["span"];
  "#comment-drawing": Tags["p"];
  "#comment-text": Tags["textarea"];
}
