// The last hour in intervals of ten seconds, and how it is cut into columns for a chart. Pure: no page, no network.

/** Ranges that can be shown, in intervals. */
export const RANGES = { "5m": 30, "15m": 90, "1h": 360 };
const KEPT = 360;

export class History {
  constructor() {
    this.intervals = [];
    this.interval_ns = 10_000_000_000;
    this.now_ns = null;
    this.since_ns = null;
    this.replay = false;
  }

  /** From where to ask on: the last interval is still growing, so it is asked for again. */
  get since() {
    return this.intervals.at(-1)?.start_ns;
  }

  /** Takes an answer of /api/v1/history: newer figures of an interval replace older ones. */
  add(answer) {
    this.interval_ns = answer.interval_ns;
    const first = answer.intervals[0]?.start_ns ?? Infinity;
    const last = this.intervals.at(-1)?.start_ns ?? -Infinity;
    const kept = this.intervals.filter((interval) => interval.start_ns < first);
    // A clock that went back is another boot of finwait: what was known before is of no use.
    const renewed = answer.intervals.length > 0 && answer.intervals.at(-1).start_ns < last;
    this.intervals = (renewed ? [] : kept).concat(answer.intervals).slice(-KEPT);
  }

  /** Takes what a summary tells of time. */
  at(summary) {
    if (this.now_ns !== null && summary.since_ns !== this.since_ns) this.intervals = [];
    this.now_ns = summary.time_ns;
    this.since_ns = summary.since_ns;
    this.replay = summary.replay;
  }

  /** The range to show: the one asked for, else the shortest that holds what is known, at most 15 minutes. */
  range(asked) {
    if (Object.hasOwn(RANGES, asked ?? "")) return asked;
    const first = this.intervals[0]?.start_ns;
    const known = first === undefined ? 0 : (this.intervals.at(-1).start_ns - first) / this.interval_ns;
    return known < RANGES["5m"] ? "5m" : "15m";
  }

  /** Wall time of a moment, by the nearest interval that has both; null where none has. */
  wall(ns) {
    const near =
      this.intervals.findLast((interval) => interval.time && interval.start_ns <= ns) ??
      this.intervals.find((interval) => interval.time);
    return near ? new Date(Date.parse(near.time) + (ns - near.start_ns) / 1e6) : null;
  }

  /**
   * The last `range` in at most `most` columns: objects with `start_ns`, `end_ns`, `seconds` and the `intervals` in it.
   * `whole` leaves out the interval that is still growing. Columns keep their bounds as time goes on.
   */
  columns(range, most, whole) {
    const length = RANGES[range];
    const size = this.interval_ns;
    const per = Math.max(1, Math.ceil(length / Math.max(1, most)));
    let intervals = this.intervals;
    if (whole && !this.replay && this.now_ns !== null) {
      intervals = intervals.filter((interval) => interval.start_ns + size <= this.now_ns);
    }
    if (intervals.length === 0) return [];
    const span = per * size;
    const end = (Math.floor(intervals.at(-1).start_ns / span) + 1) * span;
    const columns = [];
    for (let start = end - Math.ceil(length / per) * span; start < end; start += span) {
      columns.push({ start_ns: start, end_ns: start + span, intervals: [], seconds: 0 });
    }
    for (const interval of intervals) {
      const index = Math.floor((interval.start_ns - columns[0].start_ns) / span);
      if (index < 0) continue;
      columns[index].intervals.push(interval);
      columns[index].seconds += size / 1e9;
    }
    return columns;
  }

  /** Sums of one map of the intervals over the last `number` whole ones, by word. */
  recent(map, number) {
    const sums = {};
    const whole = this.intervals.filter(
      (interval) => this.replay || interval.start_ns + this.interval_ns <= (this.now_ns ?? Infinity),
    );
    for (const interval of whole.slice(-number)) {
      for (const [word, value] of Object.entries(interval[map])) sums[word] = (sums[word] ?? 0) + value;
    }
    return sums;
  }
}

/** Sums of `map` over the intervals of a column, by word. */
export function sums(column, map) {
  const total = {};
  for (const interval of column.intervals) {
    for (const [word, value] of Object.entries(interval[map])) total[word] = (total[word] ?? 0) + value;
  }
  return total;
}

/** Closes of a column by the exponent of their time in `state`: a Map. */
export function buckets(column, state) {
  const found = new Map();
  for (const interval of column.intervals) {
    for (const [exponent, number] of interval.durations[state] ?? []) {
      if (number > 0) found.set(exponent, (found.get(exponent) ?? 0) + number);
    }
  }
  return found;
}
