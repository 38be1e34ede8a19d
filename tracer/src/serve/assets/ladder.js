// Draws a ladder: this end on the left, the peer on the right, time downwards. A list for those who do not see it.

import { el, onWidth, put, svg } from "./dom.js";
import { endpoint, moment, owner } from "./format.js";
import { ladder } from "./ladder-model.js";

const SLANT = 12;
const HEAD = 7;

/** The ladder of `{ close, time_wait, peer }` as an element. */
export function drawLadder(parts) {
  const { start_ns, rows } = ladder(parts);
  const list = el("ol", { class: "ladder", "aria-label": "The connection from this end" }, rows.map((row) => item(row, start_ns)));
  const box = el("div", { class: `ladder-box${parts.peer ? " both" : ""}` }, heads(parts), list);
  onWidth(list, () => drawArrows(list));
  return box;
}

function heads({ close, peer }) {
  const here = owner(close.opener ?? close.acceptor ?? close.closer ?? close.holder);
  const there = peer && owner(peer.opener ?? peer.acceptor ?? peer.closer ?? peer.holder);
  return el("div", { class: "ladder-heads" },
    el("div", { class: "end" }, el("b", {}, here ?? "process not known"), el("span", { class: "addr" }, endpoint(close.local_addr, close.local_port)), el("span", { class: "note" }, { opened: "opened it", accepted: "accepted it", opened_both: "both opened" }[close.role] ?? "role not known")),
    el("div", { class: "end far" }, el("b", {}, there ?? (peer ? "process not known" : "the peer")), el("span", { class: "addr" }, endpoint(close.remote_addr, close.remote_port)), el("span", { class: "note" }, peer ? "also on this host" : "not seen from here")));
}

function item(row, start_ns) {
  const classes = [row.type, row.way, row.slow && "slow", row.bad && "bad", row.unknown && "unknown", row.cross && "cross"].filter(Boolean).join(" ");
  return el("li", { class: classes }, near(row, start_ns), between(row), side(row, start_ns));
}

/** The left side: state and time. */
function near(row, start_ns) {
  const at = row.at ?? row.entered;
  return el("div", { class: "near" }, row.state ? el("b", {}, row.state) : null, el("span", { class: "at" }, at ? when(at, start_ns) : row.type === "gap" || row.type === "point" ? "" : "time ?"));
}

/** `48.53 ms`, or `0.24 … 44.4 ms` where a moment is known within bounds. */
function when(at, start_ns) {
  const [from, to] = [moment(at.earliest_ns - start_ns), moment(at.latest_ns - start_ns)];
  if (from === to) return from;
  return `${from} … ${to}`;
}

function between(row) {
  if (row.type === "gap") {
    const box = el("div", { class: "mid gap-mid" }, el("span", { class: "gap-text" }, row.slow ? el("b", { class: "mark" }, "slow ") : null, row.text));
    box.style.minHeight = `${height(row.ns)}px`;
    return box;
  }
  if (row.type === "point") {
    return el("div", { class: "mid point-mid" }, el("span", { class: "point-text" }, row.unknown ? el("b", { class: "mark" }, "? ") : null, row.text));
  }
  return el("div", { class: "mid" }, el("span", { class: "spoken" }, spoken(row)), svg("svg", { class: "arrow-line", "aria-hidden": "true", "data-way": row.way ?? "none", "data-open": row.unknown ? "1" : null }),
    el("span", { class: "label", "aria-hidden": "true" }, row.unknown ? el("b", { class: "mark" }, "? ") : null, row.wave ? el("span", { class: "wave" }, row.wave) : null, row.label, row.slow ? el("b", { class: "mark" }, " slow") : null));
}

/** A gap is the taller the longer it took: 10 px more for each power of ten above 0.1 ms. */
function height(ns) {
  if (!ns || ns <= 1e5) return 22;
  return Math.min(84, 22 + 10 * Math.log10(ns / 1e5));
}

function spoken(row) {
  const way = { out: "sent to the peer: ", in: "received from the peer: " }[row.way] ?? "direction not known: ";
  return `${row.unknown ? "not seen: " : ""}${way}${row.wave ? `wave ${row.wave}, ` : ""}${row.label}${row.slow ? ", slow" : ""}`;
}

/** The right side: what the peer's own record says, then the notes. */
function side(row, start_ns) {
  const notes = [...(row.notes ?? []), row.unknown && typeof row.unknown === "string" ? row.unknown : null].filter(Boolean);
  const bounds = row.at && row.at.earliest_ns !== row.at.latest_ns ? "it passed between these two moments" : null;
  const far = row.far && (row.far.state || row.far.at)
    ? el("span", { class: "far" }, row.far.state ? el("b", {}, row.far.state, " ") : null, row.far.at ? el("span", { class: "at" }, when(row.far.at, start_ns)) : null)
    : null;
  const lines = [...notes, bounds, ...(row.far?.notes ?? [])].filter(Boolean).map((note) => el("span", { class: "line" }, note));
  return el("div", { class: "side" }, far, lines);
}

/** Lines of the arrows, by the width that there is. */
function drawArrows(list) {
  for (const line of list.querySelectorAll(".arrow-line")) {
    const width = line.parentElement.clientWidth;
    const height = line.parentElement.clientHeight;
    const way = line.dataset.way;
    const top = height / 2 + 3 - SLANT / 2;
    const [left, right] = [1, width - 1];
    const from = way === "in" ? right : left;
    const to = way === "in" ? left : right;
    const [y1, y2] = way === "none" ? [top + SLANT / 2, top + SLANT / 2] : [top, top + SLANT];
    put(line, svg("line", { x1: from, y1, x2: to, y2 }));
    line.setAttribute("width", width);
    line.setAttribute("height", height);
    if (way !== "none") line.append(svg("path", { class: "head", d: head(from, y1, to, y2) }));
  }
}

function head(x1, y1, x2, y2) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const corner = (turn) => `${x2 - HEAD * 1.5 * Math.cos(angle + turn)} ${y2 - HEAD * 1.5 * Math.sin(angle + turn)}`;
  return `M${x2} ${y2}L${corner(0.38)}L${corner(-0.38)}Z`;
}
