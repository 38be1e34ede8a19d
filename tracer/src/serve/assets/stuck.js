// The stuck table: connections that stay in a closing state, by age, with who holds them; above it the sums by state.

import { by, el, put } from "./dom.js";
import { count, duration, endpoint, owner } from "./format.js";
import { Table } from "./table.js";
import { STUCK_MEANS } from "./words.js";

/** Younger than this nothing is called stuck, ns. */
export const STUCK_NS = 10e9;

export class Stuck {
  /** `sort(order)` and `pick(state)` change the address bar. */
  constructor(sort, pick) {
    this.pick = pick;
    this.table = new Table(by("stuck"), "Connections in a closing state", columns(), sort);
    this.table.table.classList.add("stuck-table");
  }

  /** Takes an answer of /api/v1/stuck. */
  take(answer) {
    this.answer = answer;
  }

  /** Shows what fits the filters that the API was not asked for. */
  show(state, summary) {
    this.sums(state, summary);
    if (!this.answer) return;
    const { connections, total } = this.answer;
    const rows = connections.filter((row) => fits(row, state));
    const of = total > connections.length ? ` of ${count(total)}` : "";
    by("stuck-note").textContent = rows.length > 0 ? `${count(rows.length)}${of}, 1 s or older` : "";
    this.table.show(rows, state.stuck_sort ?? "age.desc", empty(state), (row) => ({ title: STUCK_MEANS[row.state] }));
  }

  /** `CLOSE_WAIT 1,204, oldest 3d04h: …` for each state that holds something. */
  sums(state, summary) {
    const stuck = Object.entries(summary?.stuck ?? {}).filter(([, sum]) => sum.count > 0 && sum.oldest_ns >= STUCK_NS);
    put(
      by("stuck-sums"),
      stuck.map(([name, sum]) =>
        el(
          "button",
          {
            type: "button",
            class: "sum",
            "aria-pressed": state.state === name,
            onclick: () => this.pick(state.state === name ? null : name),
          },
          el("b", {}, name),
          ` ${count(sum.count)}, oldest ${duration(sum.oldest_ns)}`,
          el("span", { class: "means" }, STUCK_MEANS[name] ?? ""),
        ),
      ),
    );
  }
}

function columns() {
  return [
    { key: "state", label: "state", value: (row) => row.state, cell: (row) => row.state },
    { key: "age", label: "age", num: true, value: (row) => row.age_ns, cell: age },
    { key: "owner", label: "owner", value: (row) => owner(row.owner), cell: holder },
    { key: "where", label: "local → remote", value: (row) => `${row.remote_addr}:${row.remote_port}`, cell: where },
  ];
}

function age(row) {
  const text = duration(row.age_ns);
  if (text === null) return el("span", { class: "none" }, "unknown");
  return row.age_is_minimum
    ? el("span", { title: "at least: it was there when finwait began to look" }, `≥ ${text}`)
    : text;
}

function holder(row) {
  const name = owner(row.owner);
  const unit = row.workload?.unit ?? row.workload?.container?.slice(0, 12) ?? null;
  if (name === null) return el("span", { class: "none" }, unit ? `no process known (${unit})` : "no process known");
  return unit ? [name, el("span", { class: "note" }, ` ${unit}`)] : name;
}

const where = (row) => [
  el("span", { class: "addr" }, endpoint(row.local_addr, row.local_port)),
  " → ",
  el("span", { class: "addr" }, endpoint(row.remote_addr, row.remote_port)),
];

function fits(row, state) {
  if (state.port && ![row.local_port, row.remote_port].map(String).includes(state.port)) return false;
  return !(state.peer && row.remote_addr !== state.peer && !state.peer.includes("/"));
}

function empty(state) {
  const narrowed = ["state", "process", "port", "peer"].some((name) => state[name]);
  return narrowed
    ? "Nothing in a closing state fits the filters."
    : "Nothing is stuck. What stays in a closing state for a second or more appears here, with who holds it.";
}

/** What is stuck by the summary, in words: the most of it, and how much there is besides; null for nothing. */
export function stuckInWords(summary) {
  const found = Object.entries(summary.stuck ?? {}).filter(([, sum]) => sum.count > 0 && sum.oldest_ns >= STUCK_NS);
  if (found.length === 0) return null;
  found.sort(([, a], [, b]) => b.count - a.count);
  const [[state, most], ...others] = found;
  const more = others.reduce((sum, [, other]) => sum + other.count, 0);
  const besides = more > 0 ? `, ${count(more)} more in ${others.map(([name]) => name).join(" and ")}` : "";
  return `${count(most.count)} stuck in ${state} (oldest ${duration(most.oldest_ns)})${besides}`;
}
