// All that the page asks of its server, and the poll for what others did. Knows no element.

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error ?? `The server answered ${status}.`);
    this.status = status;
    this.body = body ?? {};
  }
}

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

export const get = (path, options) => ask(path, options);

export const post = (path, body, options = {}) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    ...options,
  });

export const pathOf = (key) => key.map(encodeURIComponent).join("/");
export const keyText = (key) => key.join("/");
export const keyOf = (row) => [row.title, row.language, row.shot];

export const thumbUrl = (row) =>
  `/api/thumb/${pathOf(keyOf(row))}.jpg?take=${encodeURIComponent(row.chosen ?? row.take ?? "source")}`;

// Rows come as columns and lists: half the bytes.
export function rowsOf({ columns, rows }) {
  return rows.map((values) => {
    const row = {};
    for (let n = 0; n < columns.length; n++) row[columns[n]] = values[n];
    return row;
  });
}

// Ask every few seconds what changed; calls onchange with the answer, onlost(true | false) when the server goes or returns.
export class Changes {
  constructor(since, { onchange, onlost = () => {}, every_ms = 2000 }) {
    this.since = since;
    this.onchange = onchange;
    this.onlost = onlost;
    this.every_ms = every_ms;
    this.lost = 0;
    this.timer = null;
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
      const found = await get(`/api/changes?since=${this.since}`);
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
