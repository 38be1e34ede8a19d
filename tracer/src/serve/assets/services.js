// The services table: each group of connections with its figures, by trouble at first.

import { by, el } from "./dom.js";
import { count, counted, duration, share } from "./format.js";
import { Table } from "./table.js";

const SLOW_NS = 200e6;
const LONG_NS = 10e9;

export class Services {
  /** `sort(order)` and `pick(port)` change the address bar. */
  constructor(sort, pick) {
    this.pick = pick;
    this.sort = sort;
  }

  /** Takes an answer of /api/v1/services. */
  take(answer) {
    this.answer = answer;
    const dimensions = answer.dimensions.join();
    if (dimensions !== this.dimensions) {
      this.dimensions = dimensions;
      this.table = new Table(by("services"), "Services", this.columns(answer.dimensions), this.sort);
    }
  }

  show(state) {
    if (!this.answer) return;
    const { services } = this.answer;
    const used = services.filter((service) => service.closed > 0 || service.opened > 0 || closing(service) > 0);
    const rows = used.filter((service) => wanted(service, state));
    const hidden = used.length - rows.length;
    by("services-note").textContent =
      hidden > 0 ? `${count(hidden)} more hidden by the filters` : "by trouble; a service filters by its port";
    const empty =
      used.length > 0
        ? "No service fits the filters."
        : "Nothing yet. Each service that opens or accepts connections gets a line here.";
    this.table.show(rows, state.sort ?? "trouble.desc", empty);
  }

  columns(dimensions) {
    const labels = dimensions.map((name, index) => ({
      key: name,
      label: name.replaceAll("_", " "),
      value: (row) => row.labels[name] ?? null,
      cell: (row) => (index === dimensions.length - 1 ? this.link(row, name) : (row.labels[name] ?? null)),
    }));
    return [...labels, ...FIGURES];
  }

  /** The last label; a port filters the page. */
  link(row, name) {
    const label = row.labels[name] ?? "unknown";
    if (name !== "service_port" || !/^\d+$/.test(label)) return label;
    return el(
      "button",
      {
        type: "button",
        class: "link-button",
        title: `Show only port ${label}`,
        "data-focus": `${row.labels.role ?? ""}:${label}`,
        onclick: () => this.pick(label),
      },
      label,
    );
  }
}

const closing = (service) =>
  Object.entries(service.sockets ?? {}).reduce((sum, [state, number]) => sum + (state === "TIME_WAIT" ? 0 : number), 0);
const peerFirst = (row) => (row.closed > 0 ? (row.by_first_closer?.peer ?? 0) / row.closed : null);
const oldest = (row) => row.oldest_close_wait_ns || null;

/** Of a column of figures, what is common to them. */
const figure = (key, label, title, value, cell) => ({ key, label, title, num: true, value, cell });
const number = (key, label, title, value) => figure(key, label, title, value, (row) => zero(value(row)));

function time(state, which, label, title) {
  const value = (row) => row.quantiles?.[state]?.[`${which}_ns`] ?? null;
  return figure(`${state}_${which}`, label, title, value, (row) => slow(value(row), state));
}

/** The columns beside the labels. */
const FIGURES = [
  figure("trouble", "trouble", "How much of it is out of the ordinary", (row) => row.trouble, trouble),
  { key: "why", label: "what stands out", value: standsOut, cell: standsOut },
  number("closed", "closed", "Connections that ended", (row) => row.closed),
  figure("peer", "peer first", "Closes in which the peer sent the first FIN", peerFirst, (row) =>
    row.closed > 0 ? share(row.by_first_closer?.peer ?? 0, row.closed) : null,
  ),
  number("resets_sent", "resets sent", "Resets that this end sent", (row) => row.resets_sent),
  number("resets_received", "rcvd", "Resets that the peer sent", (row) => row.resets_received),
  number("failed", "failed", "Connections that were never established", failures),
  number("fin_retransmits", "FIN again", "FINs that were sent again", (row) => row.fin_retransmits),
  number("close_wait", "CW now", "Sockets in CLOSE_WAIT now", (row) => row.sockets?.CLOSE_WAIT ?? null),
  figure("oldest", "oldest CW", "The oldest socket in CLOSE_WAIT", oldest, (row) =>
    slow(oldest(row), "CLOSE_WAIT", LONG_NS),
  ),
  time("FIN_WAIT1", "p99", "FW1 p99", "FIN_WAIT1: 99 of 100 took no longer"),
  time("FIN_WAIT2", "p99", "FW2 p99", "FIN_WAIT2: 99 of 100 took no longer"),
  time("CLOSE_WAIT", "p99", "CW p99", "CLOSE_WAIT: 99 of 100 took no longer"),
  time("LAST_ACK", "p99", "LA p99", "LAST_ACK: 99 of 100 took no longer"),
  time("life", "p50", "life p50", "Half of the connections lived no longer"),
];

/** A filter that the groups can answer hides the others. */
function wanted(service, state) {
  const label = service.labels;
  if (
    state.port &&
    label.service_port !== undefined &&
    /^\d+$/.test(label.service_port) &&
    label.service_port !== state.port
  )
    return false;
  return !(state.process && label.process !== undefined && label.process !== state.process);
}

/** The API may give one number or one for each cause. */
function failures(row) {
  const failed = row.handshake_failures;
  return typeof failed === "object" && failed !== null
    ? Object.values(failed).reduce((sum, number) => sum + number, 0)
    : (failed ?? null);
}

/** A measured zero is shown, but quietly. */
function zero(number) {
  if (number === null || number === undefined) return null;
  return number === 0 ? el("span", { class: "zero" }, "0") : count(number);
}

/** A duration, marked where neither network nor protocol explains it. */
function slow(ns, state, bound = SLOW_NS) {
  if (ns === null) return null;
  const text = duration(ns);
  const marked = ns > bound && ["FIN_WAIT1", "FIN_WAIT2", "CLOSING", "CLOSE_WAIT", "LAST_ACK"].includes(state);
  return marked ? el("span", { class: "slow" }, `${text} !`) : text;
}

function trouble({ trouble: number }) {
  const text = number === 0 ? "0" : number < 10 ? number.toFixed(1) : count(Math.round(number));
  return el("span", { class: number >= 1 ? "slow" : number > 0 ? null : "zero" }, text);
}

/** In a few words what makes the trouble, the worst first. */
function standsOut(row) {
  const parts = [];
  if (oldest(row) > LONG_NS) parts.push(`CLOSE_WAIT for ${duration(oldest(row))}`);
  if (row.resets_sent > 0) parts.push(counted(row.resets_sent, "reset sent", "resets sent"));
  if (failures(row) > 0) parts.push(`${count(failures(row))} never established`);
  const late = ["FIN_WAIT2", "CLOSE_WAIT", "LAST_ACK", "FIN_WAIT1"].filter(
    (state) => row.quantiles?.[state]?.p99_ns > SLOW_NS,
  );
  if (parts.length < 2 && late.length > 0) parts.push(`slow ${late[0]}`);
  if (parts.length < 2 && row.fin_retransmits > 0) parts.push(`${counted(row.fin_retransmits, "FIN")} sent again`);
  return parts.slice(0, 2).join(", ") || null;
}
