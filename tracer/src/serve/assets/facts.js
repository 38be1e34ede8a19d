// Everything that a close record says, as a list; then what proves it, and why the rest is not known.

import { el } from "./dom.js";
import { bytesLong, clockOf, duration, endpoint, owner } from "./format.js";
import { EVIDENCE, REASONS, say } from "./words.js";

/** The facts of `{ close }` as a definition list. */
export function facts({ close }) {
  const rows = [...course(close), ...place(close)].filter(([, value]) => value !== null);
  return el(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

/** How it went: names and values. What does not apply is null, what is not known says why. */
function course(close) {
  const none = (text) => el("span", { class: "none" }, text);
  const why = (claim) => {
    const reason = close.unknown?.[claim] ?? "did_not_happen";
    return none(reason === "did_not_happen" ? "none" : `unknown: ${say(REASONS, reason)}`);
  };
  const or = (value, claim) => value ?? why(claim);
  const idle = [close.idle_send_ns, close.idle_receive_ns].map((ns) => duration(ns) ?? "?");
  return [
    ["ended", close.time ? `${new Date(close.time).toLocaleDateString()} ${clockOf(close.time)}` : none("not seen")],
    ["life", or(duration(close.life_ns), "life_ns")],
    ["opened by", or(owner(close.opener), "opener")],
    ["accepted by", or(owner(close.acceptor), "acceptor")],
    ["closed by", or(owner(close.closer), "closer")],
    ["held by", owner(close.holder)],
    ["handshake", or(duration(close.handshake_ns), "handshake_ns")],
    ["sent", or(bytesLong(close.sent_bytes), "sent_bytes")],
    ["received", or(bytesLong(close.received_bytes), "received_bytes")],
    ["round trip", or(close.srtt_us === null ? null : duration(close.srtt_us * 1000), "srtt_us")],
    ["sent again", close.total_retrans === null ? none("unknown") : String(close.total_retrans)],
    ["idle before the FIN", close.idle_send_ns === null ? null : `sending ${idle[0]}, receiving ${idle[1]}`],
    ["error", close.error ? (close.error_name ?? String(close.error)) : null],
  ];
}

/** Where it was, and what it is called. */
function place(close) {
  const { container, runtime, unit, pod } = close.workload ?? {};
  return [
    ["local", endpoint(close.local_addr, close.local_port)],
    ["remote", endpoint(close.remote_addr, close.remote_port)],
    ["container", container ? container.slice(0, 12) + (runtime ? ` (${runtime})` : "") : null],
    ["unit", unit ?? null],
    ["pod", pod ?? null],
    ["netns, uid, mark", [close.netns, close.uid, close.mark].map((value) => value ?? "?").join(", ")],
    ["states", close.sequence.map((state) => (state === "unknown" ? "?" : state)).join(" → ")],
    ["connection", close.conn_id],
  ];
}

/** Two tables: what proves each claim, and why the others are not known. */
export function evidence({ close }) {
  const proven = Object.entries(close.evidence ?? {}).map(([claim, words]) => [
    claim,
    words.map((word) => say(EVIDENCE, word)).join("; "),
  ]);
  const open = Object.entries(close.unknown ?? {});
  const not = open
    .filter(([, reason]) => reason !== "did_not_happen")
    .map(([claim, reason]) => [claim, say(REASONS, reason)]);
  const never = open.filter(([, reason]) => reason === "did_not_happen").map(([claim]) => claim);
  return [
    table("What is not known, and why", not, not.length > 0),
    table("What is known, and by what", proven, false),
    never.length > 0 ? el("p", { class: "note" }, `Did not happen: ${never.join(", ")}.`) : null,
  ];
}

function table(title, rows, open) {
  if (rows.length === 0) return null;
  return el(
    "details",
    { open },
    el("summary", {}, `${title} (${rows.length})`),
    el(
      "table",
      { class: "evidence" },
      rows.map(([claim, words]) => el("tr", {}, el("th", { scope: "row" }, claim), el("td", {}, words))),
    ),
  );
}
