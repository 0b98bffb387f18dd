// Export: asks once more, starts it, and says what came of it. The line while it runs is `jobs`'s.

import { get, post } from "./api.js";
import { $, setText } from "./dom.js";
import { askReviewer, openDialog, say } from "./frame.js";
import { plural } from "./words.js";

/** @param {Row[]} rows @returns {Promise<Job | null>} */
export async function askExport(rows) {
  const reviewer = await askReviewer();
  if (!reviewer) return null;
  const decided = rows.filter((r) => r.verdict || r.chosen).length;
  const blockers = rows.filter((r) => r.comment_severity === "blocker").length;
  const open = blockers ? ` ${plural(blockers, "shot")} with a blocker.` : "";
  setText($("#deliver-about"), `${plural(decided, "shot")} decided, of ${plural(rows.length, "shot")}.${open}`);
  if (!(await openDialog("#deliver"))) return null;
  try {
    return await post("/api/export", { reviewer });
  } catch (error) {
    say(error.message, "bad");
    return null;
  }
}

/** @param {Job} job */
export function tellExport({ result }) {
  if (!result) return;
  for (const error of result.errors) say(error, "bad");
  say(`Delivery ${result.delivery} is written: ${plural(result.files, "file")}, ${plural(result.changed, "shot")} with another picture.`, "good");
}

// Before an hour is spent: whether what is decided can be delivered as the run is now.
export async function tellRefusal() {
  try {
    const { why } = await get("/api/refusal");
    if (why) say(`What you decide is kept, but cannot be exported yet. ${why}`, "bad");
  } catch {
    // the poll says when the server is gone
  }
}
