// A close in one line, as the CLOSE column of `finwait closes` has it: `FW1 0.4ms · FW2 3.1s! · TW`.

import { bytes, counted, duration, endpoint, owner } from "./format.js";
import { CLOSING, SHORT } from "./words.js";

/** Pieces of the line: `{ text, tone }`, tone one of plain, slow, bad, unknown. */
export function strip(close) {
  const pieces = [];
  for (const [state, ns] of Object.entries(close.dwell_ns ?? {})) {
    if (!CLOSING.includes(state)) continue;
    const slow = close.slow_state === state;
    if (ns === null) pieces.push({ text: `${SHORT[state]} ?`, tone: "unknown" });
    else pieces.push({ text: `${SHORT[state]} ${duration(ns)}${slow ? "!" : ""}`, tone: slow ? "slow" : "plain" });
  }
  if (close.successor === "time_wait") pieces.push({ text: "TW", tone: "plain" });
  const said = remark(close, pieces.length === 0 ? close.steps?.at(-1)?.old : null);
  if (said) pieces.push({ text: said, tone: close.kind === "unknown" ? "unknown" : "bad" });
  const again = fins(close);
  if (again > 0) pieces.push({ text: `FIN ×${again}`, tone: "slow" });
  if (close.cause === "process_killed") pieces.push({ text: `killed ${close.exit_signal ?? ""}`.trim(), tone: "bad" });
  if (close.cause === "process_exit") pieces.push({ text: "exit", tone: "plain" });
  if (close.cause === "shutdown") pieces.push({ text: "shutdown", tone: "plain" });
  return pieces;
}

/** How often our FIN was sent again, as far as that was seen. */
export function fins(close) {
  const again = close.fin_retransmits;
  return again ? again.by_timeout + again.by_probe + again.by_recovery : 0;
}

function remark(close, state) {
  const within = (text) => (state ? `${text} in ${state}` : text);
  const connecting = (detail) =>
    [`SYN_SENT ${duration(close.dwell_ns?.SYN_SENT) ?? "?"}`, detail].filter(Boolean).join(", ");
  switch (close.kind) {
    case "active":
    case "passive":
    case "simultaneous":
      return null;
    case "reset":
      return within(reset(close));
    case "timed_out":
      return within(
        { keepalive: "keepalive unanswered", retransmission: "data unacknowledged", orphan: "orphan given up" }[
          close.timeout_cause
        ] ?? "gave up",
      );
    case "killed":
      return within("by an administrator");
    case "refused":
    case "connect_cancelled":
      return connecting("");
    case "connect_timed_out":
      return connecting(close.total_retrans ? counted(close.total_retrans, "retry", "retries") : "");
    case "no_free_port":
      return "no local port was free";
    case "connect_failed":
      return connecting(close.error_name ?? (close.error ? `errno ${close.error}` : ""));
    case "dropped":
      return within("never accepted");
    default:
      return close.unknown?.kind ? `? ${WHY[close.unknown.kind] ?? close.unknown.kind.replaceAll("_", " ")}` : null;
  }
}

/** Why a kind is unknown, short. */
const WHY = {
  seen_from_middle: "began before finwait",
  loss_in_interval: "events lost meanwhile",
  field_absent: "not shown by this kernel",
  transition_missing: "a transition is missing",
  not_visible: "not visible to finwait",
  reset_or_late_data: "reset, or data after close",
};

function reset(close) {
  const words = {
    unread_data: close.reset_unread_bytes === null ? "unread data" : `unread ${bytes(close.reset_unread_bytes)}`,
    so_linger_0: "SO_LINGER 0",
    disconnect: "disconnected",
    listener_closed: "listener closed",
    tcp_linger2: "TCP_LINGER2",
    data_after_close: "data after close",
    keepalive: "keepalive unanswered",
    administrator: "by an administrator",
  };
  return words[close.reset_cause] ?? "reset";
}

/** `curl/9120 ▶ 10.0.0.7:8080` for what was opened here, `nginx/811 ◀ 203.0.113.9:51122` for what was accepted. */
export function route(close) {
  const task = owner(close.opener ?? close.acceptor ?? close.closer ?? close.holder) ?? "?";
  const arrow = { opened: "▶", accepted: "◀", opened_both: "◀▶" }[close.role] ?? "?";
  const local = close.role === "accepted" ? ` :${close.local_port ?? "?"}` : "";
  return { task, arrow: `${local} ${arrow} `, remote: endpoint(close.remote_addr, close.remote_port) };
}
