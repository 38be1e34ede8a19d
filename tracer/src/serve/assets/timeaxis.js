// The time axis below a chart: a few ticks at round local times, and the part before finwait was there.

import { svg } from "./dom.js";

const STEPS_S = [10, 30, 60, 120, 300, 600, 900, 1800];
const TICK_WIDTH = 58;
/** For the words in the field before finwait was started. */
const ROOM = 170;

/** Places of moments: `x(ns)` within `left` … `right`, for the columns that are shown. */
export function scale(columns, left, right) {
  const from = columns[0].start_ns;
  const span = columns.at(-1).end_ns - from;
  return (ns) => left + ((ns - from) / span) * (right - left);
}

/** Ticks with their labels, as SVG nodes. */
export function ticks(history, columns, left, right, top, bottom, quiet = false) {
  const x = scale(columns, left, right);
  const from = history.wall(columns[0].start_ns);
  if (!from) return [];
  const span_s = (columns.at(-1).end_ns - columns[0].start_ns) / 1e9;
  const room = Math.max(2, Math.floor((right - left) / TICK_WIDTH));
  const step = STEPS_S.find((step_s) => span_s / step_s <= room) ?? 3600;
  const zone_s = from.getTimezoneOffset() * 60;
  const start_s = from.getTime() / 1000 - zone_s;
  const nodes = [];
  for (let at_s = Math.ceil(start_s / step) * step; at_s < start_s + span_s; at_s += step) {
    const place = x(columns[0].start_ns + (at_s - start_s) * 1e9);
    const time = new Date((at_s + zone_s) * 1000);
    const two = (number) => String(number).padStart(2, "0");
    const label = `${two(time.getHours())}:${two(time.getMinutes())}${step < 60 ? `:${two(time.getSeconds())}` : ""}`;
    nodes.push(svg("line", { class: "grid", x1: place, x2: place, y1: top, y2: bottom }));
    if (!quiet && place > left + 14 && place < right - 14) {
      nodes.push(svg("text", { class: "tick", x: place, y: bottom + 13, "text-anchor": "middle" }, label));
    }
  }
  return nodes;
}

/** A hatched field over the time before finwait began to look, which says so where there is room. */
export function before(history, columns, left, right, top, bottom) {
  if (history.since_ns === null) return [];
  const end = Math.min(right, scale(columns, left, right)(history.since_ns));
  if (end <= left + 1) return [];
  const text = "before finwait was started";
  const field = svg(
    "rect",
    { class: "unwatched", x: left, y: top, width: end - left, height: bottom - top },
    svg("title", {}, text),
  );
  if (end - left < ROOM) return [field];
  return [
    field,
    svg("text", { class: "unwatched-text", x: (left + end) / 2, y: (top + bottom) / 2, "text-anchor": "middle" }, text),
  ];
}

/** The hatch that `unwatched` and unknown kinds are filled with; its id must be unique in the page. */
export const hatch = (id, name) =>
  svg(
    "pattern",
    { id, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { class: `${name}-ground`, width: 6, height: 6 }),
    svg("line", { class: `${name}-line`, x1: 0, y1: 0, x2: 0, y2: 6 }),
  );
