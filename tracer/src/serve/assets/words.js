// The records' words in English. Not the sentences about a single close: those are explain.js.

/** States in which a close spends its time, and the mini-socket's, in the order that tables and charts have them. */
export const CLOSING = ["FIN_WAIT1", "FIN_WAIT2", "CLOSING", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"];

/** As the strip has them. */
export const SHORT = {
  SYN_SENT: "SS",
  SYN_RECV: "SR",
  ESTABLISHED: "EST",
  FIN_WAIT1: "FW1",
  FIN_WAIT2: "FW2",
  CLOSING: "CLG",
  CLOSE_WAIT: "CW",
  LAST_ACK: "LA",
  TIME_WAIT: "TW",
};

/** What time in a state means. */
export const STATE_MEANS = {
  FIN_WAIT1: "our FIN is not acknowledged yet",
  FIN_WAIT2: "we closed, the peer has not",
  CLOSING: "FINs crossed, ours is not acknowledged yet",
  CLOSE_WAIT: "the peer closed, our program has not",
  LAST_ACK: "both closed, our FIN is not acknowledged yet",
  TIME_WAIT: "over; the address is kept from reuse",
};

/** What staying in a state means, for the stuck table. */
export const STUCK_MEANS = {
  CLOSE_WAIT: "the peer closed; the program has not: a leak of descriptors",
  FIN_WAIT2: "we closed, the peer has not; without a process it ends by tcp_fin_timeout",
  LAST_ACK: "our FIN is not acknowledged: loss, or the peer is gone",
  FIN_WAIT1: "our FIN is not acknowledged: loss, or the peer is gone",
  CLOSING: "our FIN is not acknowledged: loss, or the peer is gone",
};

/** Kinds in the order of the stack: orderly below, trouble above. */
export const KINDS = {
  passive: "passive",
  active: "active",
  simultaneous: "simultaneous",
  reset: "reset",
  timed_out: "timed out",
  refused: "refused",
  connect_timed_out: "no answer",
  connect_cancelled: "cancelled",
  no_free_port: "no free port",
  connect_failed: "connect failed",
  killed: "killed",
  dropped: "dropped",
  unknown: "unknown",
};

export const FIRST_CLOSERS = { peer: "peer first", local: "local first", both: "both at once", unknown: "unknown" };

/** Kinds that are nobody's trouble. */
export const ORDERLY = new Set(["active", "passive", "simultaneous"]);

export const REASONS = {
  seen_from_middle: "it was first seen after that moment",
  transition_missing: "a transition of this connection is missing",
  loss_in_interval: "events were lost in an interval in which the answer could lie",
  not_visible: "no hook in force shows it",
  field_absent: "this kernel or tier does not have the field",
  hidden_fin_wait2: "closed in FIN_WAIT2: what follows happens in a mini-socket, or was an abort",
  reset_or_late_data: "the peer's reset, or our own on data after close(): both look alike here",
  abort_without_error: "no error is set, but the close was not orderly",
  no_known_way: "the evidence fits no known way to end",
  end_not_seen: "the socket's next connection came before its end was seen",
  no_task: "nobody did it: the kernel, on a segment or a timer",
  time_backwards: "the event times run backwards",
  did_not_happen: "it did not happen",
  hook_loss: "a hook lost events in an interval in which the answer could lie",
  symbols_hidden: "the kernel hides its functions' addresses (kptr_restrict)",
  still_open: "it was not over yet",
  between_dumps: "it happened between two listings of the sockets",
  close_or_shutdown: "close(), or shutdown() of both directions: nothing told them apart",
  ends_contradict: "the two ends contradict each other",
};

export const EVIDENCE = {
  syn_sent: "CLOSE → SYN_SENT",
  listener_child: "LISTEN → SYN_RECV",
  syn_crossed: "SYN_SENT → SYN_RECV",
  established: "ESTABLISHED was entered",
  state_left: "a state was left that can only be reached one way",
  fin_wait1: "FIN_WAIT1 was entered",
  fin_wait2: "FIN_WAIT2 was entered",
  close_wait: "CLOSE_WAIT was entered",
  closing: "CLOSING was entered",
  last_ack: "LAST_ACK was entered",
  sock_done: "the peer's FIN was received (SOCK_DONE)",
  sock_dead: "no descriptor referred to the socket (SOCK_DEAD)",
  sock_alive: "a descriptor still referred to the socket",
  err_none: "no error on the socket",
  err_econnreset: "ECONNRESET",
  err_epipe: "EPIPE",
  err_econnrefused: "ECONNREFUSED",
  err_etimedout: "ETIMEDOUT",
  err_econnaborted: "ECONNABORTED",
  err_other: "another error on the socket",
  lock_owned: "a task held the socket's lock",
  lock_free: "nobody held the socket's lock: softirq or timer",
  so_linger_0: "SO_LINGER with time 0",
  unread_data: "received data had not been read",
  shutdown_none: "no direction was shut down",
  shutdown_send: "the sending direction was shut down",
  shutdown_both: "both directions were shut down",
  same_segment: "two transitions made by one segment",
  other_segment: "two transitions made by different segments",
  ack_pending: "the peer's FIN was not yet acknowledged",
  ack_sent: "the peer's FIN was acknowledged",
  unsent: "data waited to be sent ahead of our FIN",
  all_acked: "everything sent was acknowledged, the FIN included",
  unacked: "not everything sent was acknowledged",
  linger2_negative: "TCP_LINGER2 below 0",
  probes_out: "keepalive probes were unanswered",
  retransmits: "retransmissions were unanswered",
  no_inode: "no descriptor ever referred to the socket",
  same_sequence_space: "sequence numbers fit one connection from first to last event",
  unbroken_chain: "each state left was the last one entered, and nothing was lost",
  reset_sent: "the kernel sent a reset",
  no_reset_sent: "the kernel sent no reset, and its hook lost nothing",
  retransmits_seen: "every retransmission was seen",
  accepted: "a process was seen accepting it",
  task_exiting: "the task was on its way out",
  kernel_thread: "a kernel thread held the socket",
  time_wait_hook: "the kernel's time-wait functions or timers were seen",
  socket_dump: "listings of the sockets showed it",
  same_tuple: "a later connection with the same addresses and ports",
};

export const RESET_CAUSES = {
  so_linger_0: "close() with SO_LINGER 0",
  unread_data: "close() with received data unread",
  disconnect: "connect(AF_UNSPEC)",
  listener_closed: "the listener closed before it was accepted",
  tcp_linger2: "TCP_LINGER2 below 0",
  data_after_close: "data came after close()",
  keepalive: "keepalive probes were not answered",
  administrator: "an administrator destroyed the socket",
  kernel: "another reason of the kernel's",
};

export const CAUSES = {
  close: "close()",
  shutdown: "shutdown()",
  process_exit: "the process exited without closing",
  process_killed: "the process was killed",
  kernel_thread: "a kernel thread on somebody's behalf",
  kernel_timer: "a timer gave up",
  administrator: "an administrator (ss -K)",
  listener_closed: "the listener closed before it was accepted",
  disconnect: "connect(AF_UNSPEC)",
};

export const TIMEOUTS = {
  keepalive: "keepalive probes were not answered",
  retransmission: "data was not acknowledged while the application held the socket",
  orphan: "nothing was acknowledged after the application had closed",
};

export const TIME_WAIT_ENDS = {
  expired: "2MSL over",
  fin_wait2_timed_out: "given up: the peer's FIN never came",
  reused_by_connect: "its place was taken by connect()",
  reused_by_syn: "its place was taken by a SYN",
  reset_received: "ended by the peer's reset",
  late_data: "data came for it and was answered by a reset",
  killed: "destroyed by an administrator",
  namespace_gone: "its network namespace ended",
  never_allocated: "there was no room for it (tcp_max_tw_buckets, or memory)",
};

/** A word for people where there is one, else the word itself: newer versions may know more of them. */
export const say = (words, word) => words[word] ?? String(word).replaceAll("_", " ");

/** The KIND column: `active`, `reset sent`, `timed out` */
export function kindOf(close) {
  if (close.kind !== "reset") return say(KINDS, close.kind);
  return { sent: "reset sent", received: "reset rcvd" }[close.reset_direction] ?? "reset ?";
}
