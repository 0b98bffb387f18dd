// All that the page asks of its server, and the poll for what others did. Knows no element.

export class ApiError extends Error {
  /** @param {number} status @param {Partial<Decided> & { error?: string }} body */
  constructor(status, body) {
    super(body?.error ?? `The server answered ${status}.`);
    this.status = status;
    this.body = body ?? {};
  }
}

/** @param {Response} response */
async function answer(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // an error page of something between us and the server
  }
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}

/** @param {string} path @param {RequestInit} [options] */
async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { error: "The server does not answer; is `dub review` still running?" });
  }
  return answer(response);
}

/** @template {string} P
 * @param {P} path @param {RequestInit} [options] @returns {Promise<Answer<P>>} */
export const get = (path, options) => ask(path, options);

/** @template {string} P
 * @param {P} path @param {object} body @param {RequestInit} [options] @returns {Promise<Answer<P>>} */
export const post = (path, body, options = {}) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    ...options,
  });

/** @param {ShotKey} key */
export const pathOf = (key) => key.map(encodeURIComponent).join("/");
/** @param {ShotKey} key */
export const keyText = (key) => key.join("/");
/** @param {Row} row @returns {ShotKey} */
export const keyOf = (row) => [row.title, row.language, row.shot];

/** @param {Row} row */
export const thumbUrl = (row) =>
  `/api/thumb/${pathOf(keyOf(row))}.jpg?take=${encodeURIComponent(row.chosen ?? row.take ?? "source")}`;

// Rows come as columns and lists: half the bytes.
/** @param {Table} table @returns {Row[]} */
export function rowsOf({ columns, rows }) {
  return rows.map((values) => {
    const row = /** @type {any} */ ({});
    for (let n = 0; n < columns.length; n++) row[columns[n]] = values[n];
    return row;
  });
}

// Ask every few seconds what changed; of(): the shot whose reruns are told, or all. Calls onchange with the answer, onlost(true | false) when the server goes or returns.
export class Changes {
  /** @param {number} since
   * @param {{ onchange: (found: Found) => unknown, of?: () => string, onlost?: (gone: boolean, message?: string) => void, every_ms?: number }} told */
  constructor(since, { onchange, of = () => "", onlost = () => {}, every_ms = 2000 }) {
    this.since = since;
    this.onchange = onchange;
    this.of = of;
    this.onlost = onlost;
    this.every_ms = every_ms;
    this.lost = 0;
    this.timer = 0;
    this.busy = false;
    this.schedule();
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.now();
    });
  }

  schedule() {
    clearTimeout(this.timer);
    const slow = document.hidden ? 5 : 1 + Math.min(this.lost, 4);
    this.timer = setTimeout(() => this.now(), this.every_ms * slow);
  }

  async now() {
    if (this.busy) return;
    this.busy = true;
    try {
      const found = await get(`/api/changes?since=${this.since}&of=${encodeURIComponent(this.of())}`);
      this.since = found.log_seq;
      if (this.lost) this.onlost(false);
      this.lost = 0;
      this.onchange(found);
    } catch (error) {
      if (!this.lost) this.onlost(true, error.message);
      this.lost += 1;
    } finally {
      this.busy = false;
      this.schedule();
    }
  }
}
