// A close in a few sentences: who closed, what was slow and where to look, what is not known. Says nothing that the record does not.

import { bytesLong, counted, duration, endpoint, owner, share } from "./format.js";
import { cause, span } from "./ladder-model.js";
import { fins } from "./strip.js";
import { KINDS, REASONS, RESET_CAUSES, TIMEOUTS, TIME_WAIT_ENDS, kindOf, say } from "./words.js";

/** Sentences, the most important first. */
export function explain({ close, time_wait, peer }) {
  return [
    first(close, peer),
    slow(close, peer),
    segments(close),
    resent(close),
    half(close),
    after(time_wait),
    other(peer),
    open(close),
  ]
    .flat()
    .filter(Boolean);
}

function first(close, peer) {
  const there = endpoint(close.remote_addr, close.remote_port);
  switch (close.kind) {
    case "active":
      return `This end closed first${how(close)}.`;
    case "passive":
      return `The peer, ${there}, closed first${close.closer || close.cause !== "unknown" ? `; then this end${how(close)}` : ""}.`;
    case "simultaneous":
      return "Both ends closed at once: their FINs crossed.";
    case "reset":
      return reset(close, peer);
    case "timed_out":
      return `The kernel gave up${close.timeout_cause && close.timeout_cause !== "unknown" ? `: ${TIMEOUTS[close.timeout_cause] ?? close.timeout_cause}` : "; on what is not known"}. The peer, or the way to it, is gone.`;
    case "killed":
      return "An administrator destroyed the socket (ss -K).";
    case "refused":
      return `connect() to ${there} was answered by a reset: nothing listens there, or a firewall rejects.`;
    case "connect_timed_out":
      return `connect() to ${there} was not answered${close.total_retrans ? `, though the SYN went ${counted(close.total_retrans + 1, "time")}` : ""}: the host is away, or a firewall drops.`;
    case "connect_cancelled":
      return `The application gave up before ${there} answered.`;
    case "no_free_port":
      return `connect() to ${there} found no local port that was free: too many connections to it, open or in TIME_WAIT.`;
    case "connect_failed":
      return `connect() to ${there} failed${close.error_name ? ` with ${close.error_name}` : ""}.`;
    case "dropped":
      return "It was never accepted, and dropped with its listener.";
    case "unknown":
      return `How it ended is not known: ${say(REASONS, close.unknown?.kind ?? "not_visible")}.`;
    default:
      return `It ended as ${say(KINDS, close.kind)}.`;
  }
}

const how = (close) => (cause(close) ? `: ${cause(close)}` : "");

function reset(close, peer) {
  const by = owner(close.closer);
  const known = close.reset_cause && close.reset_cause !== "unknown" ? say(RESET_CAUSES, close.reset_cause) : null;
  const unread = close.reset_unread_bytes > 0 ? ` (${bytesLong(close.reset_unread_bytes)})` : "";
  const within = close.reset_state ? ` in ${close.reset_state}` : "";
  if (close.reset_direction === "sent")
    return `This end sent a reset${within}${known ? `: ${known}${unread}${by ? `, by ${by}` : ""}` : ""}.`;
  if (close.reset_direction === "received")
    return `The peer sent a reset${within}${peer ? "" : "; why it did is known there"}.`;
  return `A reset ended it${within}; who sent it is not known: ${say(REASONS, close.unknown?.reset_direction ?? "not_visible")}.`;
}

/** The slow state, what explains it and what does not, and where to look. */
function slow(close, peer) {
  const state = close.slow_state;
  const took = state && duration(close.dwell_ns[state]);
  if (!took) return [];
  const there = endpoint(close.remote_addr, close.remote_port);
  const trip = close.srtt_us === null ? "" : ` (${duration(close.srtt_us * 1000)})`;
  if (state === "FIN_WAIT2") {
    const acked =
      close.dwell_ns.FIN_WAIT1 === null || close.dwell_ns.FIN_WAIT1 === undefined
        ? ""
        : ` Our FIN was acknowledged within ${duration(close.dwell_ns.FIN_WAIT1)}, so network and peer kernel answer.`;
    const holder = peer && owner(peer.closer);
    return [
      `${took} went by before ${holder ?? `the program at ${there}`} closed its end, far longer than the round trip${trip} explains.${acked}`,
      "Look there for work after the end of the request, a keep-alive timer, or a pool that reaps slowly.",
    ];
  }
  if (state === "CLOSE_WAIT") {
    const by = owner(close.closer ?? close.acceptor ?? close.opener ?? close.holder);
    return [
      `The peer's FIN waited ${took} for ${by ?? "the program on this host"} to close its end.`,
      "Look here: a program that does not read the end of its input, is busy, or forgot the descriptor.",
    ];
  }
  return [
    `Our FIN was not acknowledged for ${took}, far longer than the round trip${trip} explains: loss, a peer that is gone, or a window that is closed.`,
  ];
}

function segments(close) {
  const number = {
    three: "Three segments: the second FIN carried the acknowledgement of the first.",
    four: "Four segments.",
  }[close.waves];
  if (number) return number;
  const reason = close.unknown?.waves;
  return reason && reason !== "did_not_happen" ? `Three segments or four is not known: ${say(REASONS, reason)}.` : null;
}

function resent(close) {
  const again = close.fin_retransmits;
  if (again) {
    const data = again.data > 0 ? `; ${counted(again.data, "segment")} of data ahead of it` : "";
    return fins(close) > 0
      ? `Our FIN was sent again ${counted(fins(close), "time")}${data}.`
      : again.data > 0
        ? `Data ahead of our FIN was sent again: ${counted(again.data, "segment")}.`
        : "Nothing was sent again while closing.";
  }
  const reason = close.unknown?.fin_retransmits;
  return reason && reason !== "did_not_happen"
    ? `Whether anything was sent again while closing is not known: ${say(REASONS, reason)}.`
    : null;
}

function half(close) {
  if (!close.half_closed_ns || !(close.half_closed_bytes > 0)) return null;
  const part = close.life_ns ? ` (${share(close.half_closed_ns, close.life_ns)} of its life)` : "";
  return `One direction stayed open for ${duration(close.half_closed_ns)}${part}, and carried ${bytesLong(close.half_closed_bytes)} in that time.`;
}

function after(time_wait) {
  if (!time_wait) return null;
  const lasted = time_wait.time_wait_ns ? ` after ${span(time_wait.time_wait_ns).took}` : "";
  if (time_wait.end === "unknown") return null;
  return time_wait.end === "expired"
    ? `TIME_WAIT ended as it should${lasted}: 2MSL and the timer's rounding.`
    : `What was left behind: ${say(TIME_WAIT_ENDS, time_wait.end)}${lasted}.`;
}

/** What the other end's own record says, in a word. */
function other(peer) {
  if (!peer) return null;
  const cause =
    peer.kind === "reset" && peer.reset_cause && peer.reset_cause !== "unknown"
      ? ` (${say(RESET_CAUSES, peer.reset_cause)})`
      : "";
  return `The other end is on this host too; its own record says: ${kindOf(peer)}${cause}.`;
}

function open(close) {
  const parts = [];
  if (close.chain_breaks > 0) parts.push(`${counted(close.chain_breaks, "transition is", "transitions are")} missing.`);
  if (close.seen_from === "middle") parts.push("It was open before finwait looked, so its beginning is not known.");
  if (close.seen_from === "close_only") parts.push("Only its end was seen.");
  return parts;
}
