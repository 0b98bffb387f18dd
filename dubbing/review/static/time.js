// SMPTE timecode, frames and film time of a proxy. Knows no element.

// Timecode of a frame count since midnight, as SMPTE ST 12-1 counts: drop-frame leaves out numbers, never frames.
/** @param {number} count @param {number} base @param {boolean} drop */
export function timecode(count, base, drop) {
  let n = count;
  if (drop) {
    const skip = Math.round(base / 15);
    const per10 = base * 600 - skip * 9;
    const per1 = base * 60 - skip;
    const tens = Math.floor(n / per10);
    const rest = n - tens * per10;
    n += skip * 9 * tens;
    if (rest >= base * 60) n += skip * (1 + Math.floor((rest - base * 60) / per1));
  }
  /** @param {number} x */
  const two = (x) => String(x).padStart(2, "0");
  const s = Math.floor(n / base);
  const frames = two(n % base);
  return `${two(Math.floor(s / 3600) % 24)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}${drop ? ";" : ":"}${frames}`;
}

// The clock of one proxy: frames of the title against seconds of the file.
export class Clock {
  /** @param {Pick<ProxyFacts, "first" | "last" | "pts_s" | "duration_s">} proxy */
  constructor({ first, last, pts_s, duration_s }) {
    this.first = first;
    this.last = last; // one after the last frame
    this.pts_s = pts_s;
    this.duration_s = duration_s;
  }

  /** @param {number} frame */
  start(frame) {
    const n = frame - this.first;
    return n >= this.pts_s.length ? this.duration_s : this.pts_s[Math.max(0, n)];
  }

  // Where to seek so that this frame, and no other, is shown: the middle of its interval.
  /** @param {number} frame */
  middle(frame) {
    return (this.start(frame) + this.start(frame + 1)) / 2;
  }

  // The frame that is shown at a time; a hair of slack, because media times are rounded to microseconds.
  /** @param {number} seconds */
  at(seconds) {
    let low = 0;
    let high = this.pts_s.length - 1;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (this.pts_s[mid] <= seconds + 0.0005) low = mid;
      else high = mid - 1;
    }
    return this.first + low;
  }

  /** @param {number} frame */
  clamp(frame) {
    return Math.min(this.last - 1, Math.max(this.first, frame));
  }
}

// "13:05", or with its day where that is not today
/** @param {string | null} iso */
export function when(iso) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso ?? "";
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${time}`;
}
