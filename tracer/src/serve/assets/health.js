// One sentence of health, the rates under it, the loss line that is always there, and what kind of run this is.

import { by, el, put } from "./dom.js";
import { count, counted, share } from "./format.js";
import { stuckInWords } from "./stuck.js";

const MARKS = { ok: "●", warn: "▲", bad: "■", wait: "○" };
const NAMES = { ok: "All well", warn: "Worth a look", bad: "Trouble", wait: "Waiting" };
/** Figures older than this are told to be old, s. */
const OLD_S = 3;

/** Shows an answer of /api/v1/summary; `recent` are closes of the last minute by first closer and by kind. */
export function showHealth(summary, recent) {
  const parts = sentence(summary, recent);
  const level = worst(parts.map((part) => part.level));
  const box = by("health");
  box.dataset.level = level;
  put(
    box,
    el("span", { class: "mark", title: NAMES[level] }, MARKS[level]),
    " ",
    parts.flatMap((part, index) => [index > 0 ? ", " : "", el("span", { class: part.level }, part.text)]),
    ".",
  );
  speak(level, parts);
  showRates(summary);
  showLosses(summary.losses, summary);
  showRun(summary);
}

const worst = (levels) => ["bad", "warn", "ok"].find((level) => levels.includes(level)) ?? "ok";

function sentence(summary, recent) {
  const rate = Math.round(summary.rates.closes_per_minute ?? 0);
  const parts = [
    {
      level: "ok",
      text: summary.replay
        ? counted(summary.closes.total, "close") + " in this recording"
        : rate === 0
          ? "no closes in the last minute"
          : `${counted(rate, "close")} a minute`,
    },
  ];
  const first = summary.replay ? summary.closes.by_first_closer : recent.first_closer;
  const all = Object.values(first).reduce((sum, number) => sum + number, 0);
  if (all > 0) {
    const [end, number] = first.peer >= (first.local ?? 0) ? ["peer", first.peer] : ["local", first.local];
    if (number > 0) parts.push({ level: "ok", text: `${end} first ${share(number, all)}` });
  }
  const resets = (summary.replay ? summary.closes.by_kind : recent.closes).reset ?? 0;
  const kinds = Object.values(summary.replay ? summary.closes.by_kind : recent.closes).reduce(
    (sum, number) => sum + number,
    0,
  );
  if (resets > 0) parts.push({ level: resets * 5 >= kinds ? "warn" : "ok", text: counted(resets, "reset") });
  const stuck = stuckInWords(summary);
  parts.push(stuck ? { level: "bad", text: stuck } : { level: "ok", text: "nothing stuck" });
  parts.push(lost(summary.losses));
  return parts;
}

function lost(losses) {
  if (losses.lost > 0) return { level: "warn", text: `${counted(losses.lost, "transition")} lost` };
  if (losses.lost === null || losses.lost === undefined) return { level: "warn", text: "losses not counted" };
  const elsewhere = (losses.hooks_lost ?? 0) + (losses.decode_errors ?? 0);
  return elsewhere > 0
    ? { level: "warn", text: `${counted(elsewhere, "event")} of the hooks lost` }
    : { level: "ok", text: "nothing lost" };
}

let spoken = "";

/** The sentence is read out when it changes its meaning, not with each figure. */
function speak(level, parts) {
  const meaning =
    level +
    parts
      .filter((part) => part.level !== "ok")
      .map((part) => part.text.replace(/[\d,.]+\w*/g, ""))
      .join();
  if (meaning === spoken) return;
  spoken = meaning;
  by("health-spoken").textContent = `${NAMES[level]}: ${parts.map((part) => part.text).join(", ")}.`;
}

function showRates(summary) {
  const sent = Object.values(summary.resets.sent).reduce((sum, number) => sum + number, 0);
  const failed = Object.values(summary.handshake_failures).reduce((sum, number) => sum + number, 0);
  const now = ["ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT2", "LAST_ACK", "TIME_WAIT"].filter(
    (state) => summary.sockets[state] !== undefined,
  );
  const figures = [
    ["ended so far", count(summary.closes.total)],
    ["resets sent", count(sent)],
    ["resets received", count(summary.resets.received)],
    ["never established", count(failed)],
    ...now.map((state) => [state, count(summary.sockets[state]) ?? "?"]),
  ];
  put(
    by("rates"),
    figures.map(([name, value]) => el("span", { class: "figure" }, el("b", {}, value), ` ${name}`)),
  );
}

function showLosses(losses, summary) {
  const box = by("losses");
  const { level, text } = lost(losses);
  box.dataset.level = level;
  const unknown = (value) => (value === null || value === undefined ? "?" : count(value));
  const extra = [
    ["ring", losses.lost_ring],
    ["rescued", losses.rescued],
    ["gaps", losses.gaps],
    ["chain breaks", losses.chain_breaks],
    ["evicted", losses.evicted],
    ["undecoded", losses.decode_errors],
    ["hooks lost", losses.hooks_lost],
  ];
  const told = extra.filter(([, value]) => value !== 0);
  put(
    box,
    el("span", { class: "mark" }, MARKS[level]),
    " ",
    `saw ${counted(losses.received, "transition")}, `,
    el("b", {}, text),
    told.map(([name, value]) => [", ", el("span", {}, `${name} ${unknown(value)}`)]).flat(),
  );
  const { connections, limit } = summary.tracked;
  const groups =
    summary.groups?.overflows > 0
      ? `; ${counted(summary.groups.overflows, "group")} over the limit, counted as other`
      : "";
  by("tracked").textContent = `${count(connections)} of at most ${count(limit)} connections tracked${groups}`;
}

function showRun(summary) {
  const { host } = summary;
  by("host").textContent = [
    host.kernel && `kernel ${host.kernel}`,
    host.tier,
    host.time_wait && `time-wait: ${host.time_wait}`,
  ]
    .filter(Boolean)
    .join(" · ");
  by("host").title = host.hooks?.length ? `hooks in force: ${host.hooks.join(", ")}` : "no hooks in force";
  const badges = [];
  if (summary.replay) badges.push(["replay", "Figures of a recording, not of this host now"]);
  if (summary.redacted) badges.push(["redacted", "Of peers only the network is told: its first address stands for all of them"]);
  if (summary.snapshot_age_seconds > OLD_S)
    badges.push([
      `figures ${Math.round(summary.snapshot_age_seconds)} s old`,
      "The tracer is busy: these are its last figures",
    ]);
  put(
    by("badges"),
    badges.map(([name, title]) => el("span", { class: "badge", title }, name)),
  );
}
