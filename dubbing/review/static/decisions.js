// What a reviewer says of a shot, and how it is said to the server: one at a time, many at once, taken back.
// Knows the server's rules (a revision, a conflict); draws nothing.

import { get, keyOf, pathOf, post } from "./api.js";
import { session } from "./dom.js";

/** @import { ApiError } from "./api.js" */

// Say one thing of one shot. Throws ApiError; status 409: somebody else decided meanwhile, body.row is what holds.
/** @param {ShotKey} key @param {Kind} kind
 * @param {{ reviewer: string, revision: number } & About} about @returns {Promise<Decided>} */
export async function decide(key, kind, { reviewer, revision, ...about }) {
  const found = await post("/api/decide", { key, kind, reviewer, revision, ...about });
  if (kind !== "undo") remember(key, found.record.seq);
  return found;
}

/** @typedef {{ key: ShotKey, seq: number }} Done */

// What this tab decided, newest last, so that it can be taken back wherever one is.
/** @param {ShotKey} key @param {number} seq */
function remember(key, seq) {
  session.set("done", [...session.get("done", []), { key, seq }].slice(-200));
}

/** @returns {Done | null} */
export function lastDone() {
  return session.get("done", []).at(-1) ?? null;
}

/** @param {number} seq */
export function forget(seq) {
  session.set("done", session.get("done", []).filter((/** @type {Done} */ d) => d.seq !== seq));
}

// Take back the newest decision of this tab. Resolves to {key, found}, or null where there is none.
/** @param {string} reviewer @returns {Promise<{ key: ShotKey, found: Decided } | null>} */
export async function undoLast(reviewer) {
  const last = lastDone();
  if (!last) return null;
  try {
    const found = await post("/api/decide", { key: last.key, kind: "undo", undoes: last.seq, reviewer });
    return { key: last.key, found };
  } finally {
    forget(last.seq);
  }
}

// The take that a verdict is about: the row's, or, where it names none (a shot left alone), the shot's own.
/** @param {Row} row @returns {Promise<string | null>} */
async function takeOf(row) {
  if (row.take) return row.take;
  const shot = await get(`/api/shot/${pathOf(keyOf(row))}`);
  return shot.takes.find((t) => t.current)?.id ?? null;
}

// The same of many shots, a few at a time. onone(row, found | null, error | null) after each.
/** @param {Row[]} rows @param {Kind} kind
 * @param {{ reviewer: string, reasons: Reason[] }} said
 * @param {(row: Row, found: Decided | null, error: ApiError | null) => void} onone */
export async function decideMany(rows, kind, { reviewer, reasons }, onone) {
  const left = [...rows];
  const work = async () => {
    for (let row = left.shift(); row; row = left.shift()) {
      try {
        const take = kind === "approve" || kind === "reject" ? await takeOf(row) : undefined;
        const about = { ...(take ? { take } : {}), ...(reasons.length ? { reasons } : {}) };
        onone(row, await decide(keyOf(row), kind, { reviewer, revision: row.revision, ...about }), null);
      } catch (error) {
        onone(row, null, error);
      }
    }
  };
  await Promise.all([work(), work(), work()]);
}

/** @param {ShotKey[]} keys @param {GeneratorChoice} generator @param {string} reviewer @returns {Promise<Job>} */
export const rerun = (keys, generator, reviewer) => post("/api/rerun", { keys, generator, reviewer });
