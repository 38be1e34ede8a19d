// Numbers and names for people, as finwait's own tables have them. What is absent comes out as null, never as zero.

const US = 1e3;
const MS = 1e6;
const SECOND = 1e9;
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** `40µs`, `0.4ms`, `31ms`, `3.1s`, `9m02s`, `2h03m`, `3d04h` */
export function duration(ns) {
  if (ns === null || ns === undefined) return null;
  const tenths = (unit) => (Math.round((ns * 10) / unit) / 10).toFixed(1);
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const seconds = Math.round(ns / SECOND);
  if (Math.round(ns / US) < 100) return `${Math.round(ns / US)}µs`;
  if (Math.round((ns * 10) / MS) < 100) return `${tenths(MS)}ms`;
  if (Math.round(ns / MS) < 1000) return `${Math.round(ns / MS)}ms`;
  if (Math.round((ns * 10) / SECOND) < 600) return `${tenths(SECOND)}s`;
  if (seconds < HOUR) return `${Math.floor(seconds / MINUTE)}m${two(seconds % MINUTE)}s`;
  if (seconds < DAY) return `${Math.floor(seconds / HOUR)}h${two((seconds % HOUR) / MINUTE)}m`;
  return `${Math.floor(seconds / DAY)}d${two((seconds % DAY) / HOUR)}h`;
}

/** A moment in a close, with digits enough to tell neighbours apart: `0.469 ms`, `48.53 ms`, `3.148 s`, `64.2 s` */
export function moment(ns) {
  const sign = ns < 0 ? "−" : "";
  const size = Math.abs(ns);
  if (size < 10 * MS) return `${sign}${(size / MS).toFixed(3)} ms`;
  if (size < SECOND) return `${sign}${(size / MS).toFixed(2)} ms`;
  if (size < 10 * SECOND) return `${sign}${(size / SECOND).toFixed(3)} s`;
  if (size < 100 * SECOND) return `${sign}${(size / SECOND).toFixed(1)} s`;
  return sign + duration(size);
}

/** `512`, `2.0K`, `640K`, `1.2M`: powers of 1024 */
export function bytes(count) {
  if (count === null || count === undefined) return null;
  if (count < 1024) return String(count);
  let size = count;
  for (const letter of "KMGTPE") {
    size /= 1024;
    if (size < 99.95) return size.toFixed(1) + letter;
    if (size < 1023.5) return Math.round(size) + letter;
  }
  return String(count);
}

/** `512 B`, `2.0 KB` */
export function bytesLong(count) {
  const text = bytes(count);
  if (text === null) return null;
  return /[A-Z]$/.test(text) ? `${text.slice(0, -1)} ${text.slice(-1)}B` : `${text} B`;
}

/** `4,127` */
export function count(number) {
  if (number === null || number === undefined) return null;
  return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** `1 reset`, `4,127 resets` */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** `61 %`, `0.2 %`; `0 %` and `100 %` only where that is exact */
export function share(part, whole) {
  if (!part || !whole) return "0 %";
  if (part >= whole) return "100 %";
  const permille = Math.round((part * 1000) / whole);
  if (permille === 0) return "< 0.1 %";
  if (permille < 95) return `${(permille / 10).toFixed(1)} %`;
  return `${Math.min(99, Math.round(permille / 10))} %`;
}

/** Time of day in the reader's zone: `21:04:11` */
export function clock(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** The same of an RFC 3339 time; null for null */
export const clockOf = (time) => (time ? clock(new Date(time)) : null);

/** `10.0.0.5:443`, `[2001:db8::5]:443`, with `?` for what is not known */
export function endpoint(addr, port) {
  const host = addr === null || addr === undefined ? "?" : addr.includes(":") ? `[${addr}]` : addr;
  return `${host}:${port ?? "?"}`;
}

/** `nginx/811`; null for nobody known */
export const owner = (task) => (task ? `${task.comm}/${task.tgid}` : null);
