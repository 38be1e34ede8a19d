// Draws a ladder: this end on the left, the peer on the right, time downwards. A list for those who do not see it.

import { el, onWidth, put, svg } from "./dom.js";
import { endpoint, moment, owner } from "./format.js";
import { ladder } from "./ladder-model.js";

const SLANT = 10;
const HEAD = 7;
/** Where an arrow begins below the top of its row, px; the notes are below it. */
const TOP = 14;

/** The ladder of `{ close, time_wait, peer }` as an element. */
export function drawLadder(parts) {
  const { start_ns, rows } = ladder(parts);
  const list = el(
    "ol",
    { class: "ladder", "aria-label": "The connection from this end" },
    rows.map((row) => item(row, start_ns)),
  );
  const box = el("div", { class: `ladder-box${parts.peer ? " both" : ""}` }, heads(parts), list);
  onWidth(list, () => drawArrows(list));
  return box;
}

function heads({ close, peer }) {
  const here = owner(close.opener ?? close.acceptor ?? close.closer ?? close.holder);
  const there = peer && owner(peer.opener ?? peer.acceptor ?? peer.closer ?? peer.holder);
  return el(
    "div",
    { class: "ladder-heads" },
    el(
      "div",
      { class: "end" },
      el("b", {}, here ?? "process not known"),
      el("span", { class: "addr" }, endpoint(close.local_addr, close.local_port)),
      el(
        "span",
        { class: "note" },
        { opened: "opened it", accepted: "accepted it", opened_both: "both opened" }[close.role] ?? "role not known",
      ),
    ),
    el(
      "div",
      { class: "end far" },
      el("b", {}, there ?? (peer ? "process not known" : "the peer")),
      el("span", { class: "addr" }, endpoint(close.remote_addr, close.remote_port)),
      el("span", { class: "note" }, peer ? "also on this host" : "not seen from here"),
    ),
  );
}

function item(row, start_ns) {
  const classes = [row.type, row.way, row.slow && "is-slow", row.bad && "is-bad", row.unknown && "is-unknown"]
    .filter(Boolean)
    .join(" ");
  return el("li", { class: classes }, near(row, start_ns), between(row), side(row, start_ns));
}

/** The left side: state and time. */
function near(row, start_ns) {
  if (row.type === "cross")
    return el("div", { class: "near" }, label(row.first, start_ns), label(row.second, start_ns));
  return el("div", { class: "near" }, row.type === "gap" ? null : label(row, start_ns));
}

function label(row, start_ns) {
  const at = row.at ?? row.entered;
  const time = at ? when(at, start_ns) : row.type === "arrow" ? "time ?" : "";
  return el("span", { class: "moment" }, row.state ? el("b", {}, row.state) : null, el("span", { class: "at" }, time));
}

/** `48.53 ms`, or `0.24 ms … 44.4 ms` where a moment is known within bounds. */
function when(at, start_ns) {
  const [from, to] = [moment(at.earliest_ns - start_ns), moment(at.latest_ns - start_ns)];
  return from === to ? from : `${from} … ${to}`;
}

function between(row) {
  if (row.type === "gap") {
    const box = el(
      "div",
      { class: "mid gap-mid" },
      el("span", { class: "gap-text" }, row.slow ? el("b", { class: "mark" }, "slow: ") : null, row.text),
    );
    box.style.minHeight = `${height(row.ns)}px`;
    return box;
  }
  if (row.type === "point") {
    return el(
      "div",
      { class: "mid point-mid" },
      el("span", { class: "point-text" }, row.unknown ? el("b", { class: "mark" }, "? ") : null, row.text),
    );
  }
  const line = svg("svg", {
    class: "arrow-line",
    "aria-hidden": "true",
    "data-way": row.type === "cross" ? "cross" : (row.way ?? "none"),
  });
  if (row.type === "cross") {
    return el("div", { class: "mid" }, line, name(row.first), name(row.second), notes([...row.first.notes, row.text]));
  }
  const bounds = row.at && row.at.earliest_ns !== row.at.latest_ns ? "it passed between these two moments" : null;
  return el(
    "div",
    { class: "mid" },
    line,
    name(row),
    notes([...row.notes, typeof row.unknown === "string" && !row.again ? row.unknown : null, bounds]),
  );
}

/** What stands on the arrow; more in words for those who do not see which way it goes. */
function name(row) {
  const way = { out: "sent to the peer: ", in: "received from the peer: " }[row.way] ?? "direction not known: ";
  return el(
    "span",
    { class: "label" },
    row.unknown ? el("b", { class: "mark", title: "not seen" }, "? ") : null,
    el("span", { class: "spoken" }, row.unknown ? "not seen, " : "", way),
    row.wave ? [el("span", { class: "spoken" }, "wave "), el("span", { class: "wave" }, row.wave), " "] : null,
    row.label,
    row.slow ? el("b", { class: "mark" }, " slow") : null,
  );
}

const notes = (lines) =>
  el(
    "span",
    { class: "notes" },
    lines.filter(Boolean).map((line) => el("span", { class: "line" }, line)),
  );

/** A gap is the taller the longer it took: 10 px more for each power of ten above 0.1 ms. */
function height(ns) {
  if (!ns || ns <= 1e5) return 22;
  return Math.min(84, 22 + 10 * Math.log10(ns / 1e5));
}

/** The right side: what the peer's own record says of the same segments. */
function side(row, start_ns) {
  const ends = (row.type === "cross" ? [row.second, row.first] : [row])
    .map((one) => one.far)
    .filter((far) => far && (far.state || far.at));
  return el(
    "div",
    { class: "side" },
    ends.map((far) =>
      el(
        "span",
        { class: "moment" },
        far.state ? el("b", {}, far.state) : null,
        far.at ? el("span", { class: "at" }, when(far.at, start_ns)) : null,
        far.notes.map((line) => el("span", { class: "line" }, line)),
      ),
    ),
  );
}

/** Lines of the arrows, by the width that there is. */
function drawArrows(list) {
  for (const line of list.querySelectorAll(".arrow-line")) {
    const width = line.parentElement.clientWidth;
    const [left, right] = [1, width - 1];
    const way = line.dataset.way;
    const steep = way === "cross" ? 34 : SLANT;
    line.setAttribute("width", width);
    line.setAttribute("height", TOP + steep + 8);
    put(
      line,
      way === "out" || way === "cross" ? arrow(left, TOP, right, TOP + steep) : null,
      way === "in" || way === "cross" ? arrow(right, TOP, left, TOP + steep) : null,
      way === "none" ? svg("line", { x1: left, y1: TOP + steep / 2, x2: right, y2: TOP + steep / 2 }) : null,
    );
  }
}

function arrow(x1, y1, x2, y2) {
  const angle = Math.atan2(y2 - y1, x2 - x1);
  const corner = (turn) => `${x2 - HEAD * 1.5 * Math.cos(angle + turn)} ${y2 - HEAD * 1.5 * Math.sin(angle + turn)}`;
  return svg(
    "g",
    {},
    svg("line", { x1, y1, x2, y2 }),
    svg("path", { class: "head", d: `M${x2} ${y2}L${corner(0.38)}L${corner(-0.38)}Z` }),
  );
}
