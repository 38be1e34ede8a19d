// Whether a close that came by the stream fits the filters, as /api/v1/closes decides it.

const OWNERS = ["opener", "acceptor", "closer", "holder"];

/** Whether `close` fits `state`, the filters of the address bar. */
export function fits(close, state) {
  return (
    (!state.kind || close.kind === state.kind) &&
    (!state.first_closer || close.first_closer === state.first_closer) &&
    (!state.port || [close.local_port, close.remote_port].some((port) => String(port) === state.port)) &&
    (!state.peer || isPeer(close.remote_addr, state.peer)) &&
    (!state.process || OWNERS.some((name) => isProcess(close[name], state.process))) &&
    (!state.state || inState(close, state)) &&
    between(close.time_ns ?? close.last_seen_ns, state.start_ns, state.end_ns)
  );
}

const isProcess = (task, asked) => Boolean(task) && (task.comm === asked || String(task.tgid) === asked);

function inState(close, state) {
  const ns = close.dwell_ns?.[state.state];
  if (state.min_ns === undefined && state.max_ns === undefined) return ns !== undefined;
  return ns !== undefined && ns !== null && between(ns, state.min_ns, state.max_ns);
}

const between = (number, least, most) =>
  (least === undefined || number >= Number(least)) && (most === undefined || number <= Number(most));

/** An address, or a network such as 10.0.0.0/8. */
export function isPeer(addr, asked) {
  if (addr === null) return false;
  const [network, length] = asked.split("/");
  if (length === undefined) return addr === network.toLowerCase();
  const [a, b] = [bits(addr), bits(network)];
  const size = Number(length);
  return a !== null && b !== null && a.length === b.length && size <= a.length && a.slice(0, size) === b.slice(0, size);
}

/** The address as a text of zeros and ones; null for what is none. */
function bits(addr) {
  const binary = (number, width) => number.toString(2).padStart(width, "0");
  if (!addr.includes(":")) {
    const parts = addr.split(".").map(Number);
    return parts.length === 4 && parts.every((part) => part >= 0 && part < 256)
      ? parts.map((part) => binary(part, 8)).join("")
      : null;
  }
  const [head, tail] = addr.split("::");
  const left = head ? head.split(":") : [];
  const right = tail ? tail.split(":") : [];
  const gap = tail === undefined ? [] : Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  const groups = [...left, ...gap, ...right].map((group) => Number.parseInt(group, 16));
  return groups.length === 8 && groups.every((group) => group >= 0 && group < 65536)
    ? groups.map((group) => binary(group, 16)).join("")
    : null;
}
