// From a close to the rows of its ladder: what passed, which way, when, and what is not known. Pure: nothing is drawn here.
//
// A row is one of
//   { type: "arrow", way: "out" | "in" | null, label, wave?, at?, state?, notes, unknown?, again?, slow?, bad?, far? }
//   { type: "gap", text, ns?, slow? }      time goes by
//   { type: "cross", first, second, text }  two arrows that passed each other
//   { type: "point", text, at?, state?, bad?, unknown? }   something happened at this end alone
// `at` is a moment { earliest_ns, latest_ns }; `far` what is known of the same segment at the peer: { at, state }.

import { bytesLong, counted, duration, owner } from "./format.js";
import { fins } from "./strip.js";
import { CAUSES, REASONS, RESET_CAUSES, TIMEOUTS, TIME_WAIT_ENDS, say } from "./words.js";

/** For each way to begin: direction and segment of the four waves, and the state that each brings. */
const WAVES = {
  local: [
    ["out", "FIN", "FIN_WAIT1"],
    ["in", "ACK", "FIN_WAIT2"],
    ["in", "FIN", "TIME_WAIT"],
    ["out", "ACK", null],
  ],
  peer: [
    ["in", "FIN", "CLOSE_WAIT"],
    ["out", "ACK", null],
    ["out", "FIN", "LAST_ACK"],
    ["in", "ACK", "CLOSE"],
  ],
  both: [
    ["out", "FIN", "FIN_WAIT1"],
    ["in", "FIN", "CLOSING"],
    ["out", "ACK", null],
    ["in", "ACK", "TIME_WAIT"],
  ],
};
/** States whose time goes by ahead of each wave. */
const AHEAD = {
  local: [null, "FIN_WAIT1", "FIN_WAIT2", null],
  peer: [null, null, "CLOSE_WAIT", "LAST_ACK"],
  both: [null, "FIN_WAIT1", null, "CLOSING"],
};
/** The peer's number of the same segment, where both say who was first. */
const AT_PEER = { local: [0, 1, 2, 3], peer: [0, 1, 2, 3], both: [1, 0, 3, 2] };
const MIRROR = { local: "peer", peer: "local", both: "both" };

const GAPS = {
  FIN_WAIT1: ["our FIN on its way, and its acknowledgement back", "our FIN was not acknowledged"],
  FIN_WAIT2: ["the peer's half was still open", "the peer kept its half open"],
  CLOSE_WAIT: ["our half was still open", "our program kept its half open"],
  LAST_ACK: ["our FIN on its way, and its acknowledgement back", "our FIN was not acknowledged"],
  CLOSING: ["our FIN on its way, and its acknowledgement back", "our FIN was not acknowledged"],
};

/** Where FINs cross, FIN_WAIT1 ends with the peer's FIN. */
const CROSSING = ["until the peer's FIN came", "neither an acknowledgement nor the peer's FIN came"];

/** The rows, and the moment that times are counted from. */
export function ladder({ close, time_wait, peer }) {
  const start_ns = close.steps[0]?.time_ns ?? close.last_seen_ns;
  const rows = [
    ...opening(close),
    ...closing(close, time_wait, peer),
    ...ending(close, peer),
    ...afterwards(close, time_wait),
  ];
  return { start_ns, rows };
}

const exactly = (ns) => (ns === null || ns === undefined ? null : { earliest_ns: ns, latest_ns: ns });
const entered = (close, state) =>
  exactly(close.steps.find((step) => step.new === state && step.old !== state)?.time_ns);
const passed = (close, state) => close.steps.some((step) => step.new === state);
const why = (close, claim) => close.unknown?.[claim] ?? null;

function opening(close) {
  const rows = [];
  if (passed(close, "SYN_SENT")) rows.push(...connecting(close));
  else if (passed(close, "SYN_RECV")) {
    rows.push({
      type: "arrow",
      way: "in",
      label: "handshake",
      at: entered(close, "ESTABLISHED") ?? entered(close, "SYN_RECV"),
      state: passed(close, "ESTABLISHED") ? "ESTABLISHED" : "SYN_RECV",
      notes: [accepted(close)],
    });
  } else {
    const text = close.seen_from === "middle" ? "it was open before finwait looked" : "only its end was seen";
    rows.push({ type: "point", text, unknown: true });
  }
  if (passed(close, "ESTABLISHED") || close.seen_from !== "handshake")
    rows.push({ type: "gap", text: open(close), ns: close.dwell_ns.ESTABLISHED });
  return rows;
}

function accepted(close) {
  const by = owner(close.acceptor);
  if (by) return `accepted by ${by}`;
  return close.kind === "dropped" ? "never accepted" : null;
}

function connecting(close) {
  const syn = { type: "arrow", way: "out", label: "SYN", at: entered(close, "SYN_SENT"), state: "SYN_SENT" };
  syn.notes = [owner(close.opener) && `connect() by ${owner(close.opener)}`];
  if (close.kind === "no_free_port") {
    return [{ ...syn, type: "point", text: "no local port was free: no SYN was sent", bad: true }];
  }
  if (close.kind === "connect_failed") return [{ ...syn, unknown: "whether it left is not known" }];
  if (close.kind === "connect_timed_out" && close.total_retrans) {
    syn.notes.push(`sent again ${counted(close.total_retrans, "time")}`);
  }
  return [syn, ...answered(close)];
}

/** What came back of the handshake. */
function answered(close) {
  const came = (label, state, note) => ({
    type: "arrow",
    way: "in",
    label,
    at: entered(close, state),
    state,
    notes: [note],
  });
  const rows = [];
  const crossed = passed(close, "SYN_RECV");
  if (crossed) rows.push(came("SYN", "SYN_RECV", "both ends opened at once"));
  if (passed(close, "ESTABLISHED")) {
    const took = duration(close.handshake_ns);
    rows.push(came(crossed ? "ACK" : "SYN, ACK", "ESTABLISHED", took && `handshake ${took}`));
  } else {
    const slow = close.kind === "connect_timed_out";
    rows.push({ type: "gap", ns: close.dwell_ns.SYN_SENT, slow, text: unanswered(close) });
  }
  return rows;
}

function unanswered(close) {
  const waited = duration(close.dwell_ns.SYN_SENT) ?? "an unknown time";
  return close.kind === "refused" ? waited : `${waited} without an answer`;
}

/** `48.2ms open, 512 B sent, 2.0 KB received` */
function open(close) {
  const ns = duration(close.dwell_ns.ESTABLISHED);
  const amount = (bytes, claim, way) =>
    bytesLong(bytes) === null
      ? why(close, claim) === "did_not_happen"
        ? null
        : `unknown ${way}`
      : `${bytesLong(bytes)} ${way}`;
  const parts = [
    ns ? `${ns} open` : "open for an unknown time",
    amount(close.sent_bytes, "sent_bytes", "sent"),
    amount(close.received_bytes, "received_bytes", "received"),
  ];
  return parts.filter(Boolean).join(", ");
}

function closing(close, time_wait, peer) {
  const first = close.first_closer;
  const reasons = [1, 2, 3, 4].map((wave) =>
    close.wave_times[wave - 1] ? null : (why(close, `wave_times.${wave}`) ?? "not_visible"),
  );
  if (!WAVES[first]) return undirected(close, reasons);
  const rows = [];
  const three = close.waves === "three" && first !== "both";
  for (let index = 0; index < 4; index += 1) {
    const gap = ahead(close, AHEAD[first][index], time_wait);
    // In three segments nothing passes between the second wave and the third.
    if (gap && !(three && first === "local" && index === 2)) rows.push(gap);
    const row = wave(close, index, reasons[index], time_wait);
    if (!row) continue;
    row.far = far(close, peer, index);
    if (three && index === 1) continue;
    if (three && index === 2) joined(close, row);
    // The same reason twice in a row is said once.
    if (row.unknown && rows.at(-1)?.unknown === row.unknown) row.again = true;
    rows.push(row);
  }
  return first === "both" ? crossed(rows) : rows;
}

/** The two FINs of a simultaneous close as the pair of arrows that they were. */
function crossed(rows) {
  const first = rows.findIndex((row) => row.wave === 1);
  const second = rows.findIndex((row) => row.wave === 2);
  const gap = rows.findIndex((row) => row.type === "gap");
  if (first < 0 || second < 0) return rows;
  const between = gap > first && gap < second ? rows[gap] : null;
  const cross = {
    type: "cross",
    first: rows[first],
    second: rows[second],
    text: between?.text ?? null,
    slow: between?.slow,
  };
  return [...rows.slice(0, first), cross, ...rows.slice(second + 1)];
}

/** The second and the third wave as the one segment that they were. */
function joined(close, row) {
  row.label = "FIN, ACK";
  row.wave = "2+3";
  row.notes.push("one segment: three in all");
  row.slow ||= close.slow_wave === 2;
  if (close.first_closer === "local")
    row.at = { earliest_ns: close.wave_times[1]?.earliest_ns ?? row.at?.earliest_ns, latest_ns: row.at?.latest_ns };
  if (row.at && (row.at.earliest_ns === undefined || row.at.latest_ns === undefined)) row.at = null;
  // Both transitions were made by the one segment: the first of them is when it came.
  if (row.at) row.at = exactly(row.at.earliest_ns);
}

/** Waves of which not even the direction is known. */
function undirected(close, reasons) {
  const open = reasons.filter((reason) => reason !== "did_not_happen");
  if (open.length === 0 || (!passed(close, "ESTABLISHED") && close.seen_from === "handshake")) return [];
  const reason = why(close, "first_closer") ?? open[0];
  return reason === "did_not_happen"
    ? []
    : [
        {
          type: "arrow",
          way: null,
          label: "FIN",
          notes: ["how it closed is not known"],
          unknown: say(REASONS, reason),
        },
      ];
}

function wave(close, index, reason, time_wait) {
  const [way, label, state] = WAVES[close.first_closer][index];
  const row = {
    type: "arrow",
    way,
    label,
    wave: index + 1,
    notes: [],
    slow: close.slow_wave === index + 1,
    at: close.wave_times[index],
  };
  row.state = stateAfter(close, state);
  if (row.at) {
    if (label === "FIN") row.notes.push(...finNotes(close, way));
    return row;
  }
  if (reason === "did_not_happen") return null;
  const hidden = reason === "hidden_fin_wait2" ? fromMiniSocket(index, time_wait) : undefined;
  if (hidden === null) return null;
  if (hidden) return { ...row, ...hidden };
  row.unknown = say(REASONS, reason);
  if (label === "FIN") row.notes.push(...finNotes(close, way));
  const at = row.state && row.state !== "TIME_WAIT" && row.state !== "CLOSE" ? entered(close, row.state) : null;
  row.entered = at;
  return row;
}

/** The state that is shown at a wave: only one that was seen. */
function stateAfter(close, state) {
  if (state === "TIME_WAIT") return close.successor === "time_wait" ? "TIME_WAIT" : null;
  if (state === "CLOSE" && close.fin_outcome !== "acknowledged") return null;
  return state && passed(close, state) ? state : null;
}

/** What the time-wait record knows of the peer's FIN and our ACK; null where they never were, undefined where it does not know. */
function fromMiniSocket(index, time_wait) {
  if (!time_wait) return undefined;
  if (time_wait.entered) {
    const notes = [`seen by its time-wait socket (${time_wait.source})`];
    return index === 2 ? { at: time_wait.entered, state: "TIME_WAIT", notes } : { at: time_wait.entered, notes: [] };
  }
  return time_wait.unknown?.entered === "did_not_happen" ? null : undefined;
}

/** Who sent a FIN and how, and how often it went again. */
function finNotes(close, way) {
  if (way !== "out") return [];
  const notes = [cause(close)];
  const unsent = close.unsent_bytes?.FIN_WAIT1 ?? close.unsent_bytes?.LAST_ACK;
  if (unsent > 0) notes.push(`${bytesLong(unsent)} were still to be sent ahead of it`);
  const again = close.fin_retransmits;
  if (fins(close) > 0) {
    const how = [
      [again.by_timeout, "by timeout"],
      [again.by_probe, "by probe"],
      [again.by_recovery, "by recovery"],
    ].filter(([number]) => number > 0);
    notes.push(
      `sent again ${counted(fins(close), "time")} (${how.map(([number, by]) => `${number} ${by}`).join(", ")})`,
    );
  }
  return notes;
}

/** `close() by curl/9120` */
export function cause(close) {
  const by = owner(close.closer);
  if (close.cause === "process_killed")
    return `${by ?? "the process"} was killed${close.exit_signal ? ` by signal ${close.exit_signal}` : ""}`;
  if (close.cause === "process_exit") return `${by ?? "the process"} exited without closing`;
  if (close.cause === "unknown") return by && `by ${by}`;
  return say(CAUSES, close.cause) + (by ? ` by ${by}` : "");
}

function far(close, peer, index) {
  if (!peer || peer.first_closer !== MIRROR[close.first_closer]) return null;
  const there = AT_PEER[close.first_closer][index];
  const state = stateAfter(peer, WAVES[peer.first_closer][there][2]);
  const notes = WAVES[peer.first_closer][there][1] === "FIN" ? finNotes(peer, WAVES[peer.first_closer][there][0]) : [];
  return { at: peer.wave_times[there], state, notes: notes.filter(Boolean) };
}

/** Time in a state, ahead of the wave that ended it. */
function ahead(close, state, time_wait) {
  if (!state || !(state in close.dwell_ns)) return null;
  const slow = close.slow_state === state;
  const [plain, late] = close.first_closer === "both" && state === "FIN_WAIT1" ? CROSSING : GAPS[state];
  let ns = close.dwell_ns[state];
  let took = duration(ns);
  if (ns === null && state === "FIN_WAIT2" && time_wait?.fin_wait2_ns) {
    ({ ns, took } = span(time_wait.fin_wait2_ns));
  }
  // Why the time in FIN_WAIT2 is hidden is said at the wave that would have ended it.
  const unknown = why(close, `dwell_ns.${state}`) ?? "not_visible";
  const reason = took === null && unknown !== "hidden_fin_wait2" ? `: ${say(REASONS, unknown)}` : "";
  const endless = state === "FIN_WAIT2" && time_wait?.end === "fin_wait2_timed_out";
  const text = endless ? "the peer's FIN never came" : slow ? late : plain;
  return {
    type: "gap",
    state,
    ns,
    slow: slow || endless,
    text: `${took ?? "unknown time"} in ${state}${took === null ? reason : `: ${text}`}`,
  };
}

/** `3.1s`, `at least 0.2s`, `0.2s to 1.2s` */
export function span({ min_ns, max_ns }) {
  const [least, most] = [duration(min_ns), duration(max_ns)];
  return { ns: max_ns, took: least === most ? most : `${least} to ${most}` };
}

/** What ended the socket, where that was no wave. */
function ending(close, peer) {
  const at = exactly(close.time_ns);
  const left = close.steps.at(-1)?.old;
  const within = left ? ` in ${left}` : "";
  const rows = [];
  if (close.kind === "refused")
    return [
      {
        type: "arrow",
        way: "in",
        label: "RST",
        at,
        state: "CLOSE",
        bad: true,
        notes: ["connect() was answered by a reset"],
      },
    ];
  const text = {
    connect_timed_out: "given up: no answer came",
    connect_cancelled: `the application gave up before an answer${owner(close.closer) ? ` (${owner(close.closer)})` : ""}`,
    connect_failed: `connect() failed${close.error_name ? `: ${close.error_name}` : ""}`,
    killed: `destroyed by an administrator (ss -K)${within}`,
    dropped: `never accepted: dropped with its listener${within}`,
    timed_out: `the kernel gave up${within}: ${close.timeout_cause === "unknown" ? "why is not known" : (TIMEOUTS[close.timeout_cause] ?? "")}`,
  }[close.kind];
  if (close.reset_direction !== null && close.reset_direction !== undefined) rows.push(reset(close, at, text, peer));
  else if (text) rows.push({ type: "point", at, state: "CLOSE", text, bad: true });
  else if (close.kind === "unknown") {
    rows.push({
      type: "point",
      at,
      state: "CLOSE",
      unknown: true,
      text: `how it ended is not known: ${say(REASONS, why(close, "kind") ?? "not_visible")}`,
    });
  } else if (close.first_closer === "local" && close.successor === "unknown") {
    rows.push({ type: "point", at, state: "CLOSE", text: "the socket is gone; a mini-socket may go on in FIN_WAIT2" });
  }
  return rows;
}

function reset(close, at, text, peer) {
  const way = { sent: "out", received: "in" }[close.reset_direction] ?? null;
  const notes = [text];
  // What killed, dropped or timed it out says the cause already.
  if (!text) notes.push(resetCause(close));
  if (close.reset_unread_bytes > 0) notes.push(`${bytesLong(close.reset_unread_bytes)} not read`);
  if (!text && close.reset_state) notes.push(`in ${close.reset_state}`);
  if (close.reset_reason && close.reset_reason !== "unknown") notes.push(close.reset_reason);
  const row = { type: "arrow", way, label: "RST", at, state: "CLOSE", bad: true, notes };
  if (peer?.reset_direction && peer.reset_direction !== close.reset_direction) {
    row.far = {
      at: exactly(peer.time_ns),
      state: "CLOSE",
      notes: [peer.reset_direction === "sent" ? resetCause(peer) : null].filter(Boolean),
    };
  }
  if (way === null) row.unknown = `who sent it: ${say(REASONS, why(close, "reset_direction") ?? "not_visible")}`;
  return row;
}

/** `close() with received data unread, api/402`; null where the cause is not known. */
function resetCause(close) {
  if (!close.reset_cause || close.reset_cause === "unknown") return null;
  return say(RESET_CAUSES, close.reset_cause) + (owner(close.closer) ? `, ${owner(close.closer)}` : "");
}

/** What is left behind in TIME_WAIT, and its end. */
function afterwards(close, time_wait) {
  if (!time_wait) {
    const goesOn = { type: "gap", text: "TIME_WAIT goes on; its end was not seen, or has not come" };
    return close.successor === "time_wait" ? [goesOn] : [];
  }
  if (time_wait.end === "never_allocated")
    return [{ type: "point", text: say(TIME_WAIT_ENDS, time_wait.end), bad: true }];
  const rows = [];
  if (time_wait.time_wait_ns) {
    const again = time_wait.rearmed > 0 ? `, its timer set anew ${counted(time_wait.rearmed, "time")}` : "";
    const text = `${span(time_wait.time_wait_ns).took} in TIME_WAIT${again}`;
    rows.push({ type: "gap", ns: time_wait.time_wait_ns.max_ns, text });
  }
  if (time_wait.ended) rows.push(gone(time_wait));
  else if (time_wait.unknown?.ended !== "did_not_happen") {
    const entered = time_wait.entered || close.successor === "time_wait";
    const what = entered ? "the end of its TIME_WAIT" : "what became of its mini-socket";
    const text = `${what}: ${say(REASONS, time_wait.unknown?.ended ?? "still_open")}`;
    rows.push({ type: "point", text, unknown: true });
  }
  return rows;
}

/** The end of a mini-socket. */
function gone(time_wait) {
  const unknown = time_wait.end === "unknown";
  const by = owner(time_wait.ended_by);
  const why = say(REASONS, time_wait.unknown?.end ?? "not_visible");
  const text = unknown ? `ended, why is not known: ${why}` : say(TIME_WAIT_ENDS, time_wait.end);
  return { type: "point", at: time_wait.ended, state: "gone", text: by ? `${text} by ${by}` : text, unknown };
}
