// Puts the page together: asks, keeps what the address bar says, and tells each part what to show.

import { get, poll, stream } from "./api.js";
import { CloseView } from "./close.js";
import { by } from "./dom.js";
import { Feed } from "./feed.js";
import { Filters } from "./filters.js";
import { clock } from "./format.js";
import { Heat } from "./heatmap.js";
import { showHealth } from "./health.js";
import { History } from "./history.js";
import { Mix } from "./mix.js";
import { Services } from "./services.js";
import { CELL, FILTERS, onChange, open, openClose, read, set, shut } from "./state.js";
import { Stuck } from "./stuck.js";

/** Intervals of ten seconds that make the minute of the sentence of health. */
const MINUTE = 6;

const history = new History();
let summary = null;
/** What was shown last; null before anything was. */
let shown = null;

const mix = new Mix(history, (filter, word) => set({ [filter]: word }));
const heat = new Heat(history, openCell);
const services = new Services(
  (sort) => set({ sort }, true),
  (port) => set({ port: read().port === port ? null : port }),
);
const stuck = new Stuck(
  (stuck_sort) => set({ stuck_sort }, true),
  (state) => set({ state, ...noCell() }),
);
const feed = new Feed(open, () => close.listed());
const close = new CloseView(() => feed.ids(), open, shut);
const filters = new Filters(set);

feed.clock = (ns) => {
  const wall = history.wall(ns);
  return wall && clock(wall);
};
feed.leaveCell = () => set({ state: null, ...noCell() });

function noCell() {
  return Object.fromEntries(CELL.map((name) => [name, null]));
}

function openCell(cell) {
  set(cell);
  by("closes").scrollIntoView({ block: "nearest" });
  by("closes").focus({ preventScroll: true });
}

/** Everything after a change of the address bar; what did not change is not asked for again. */
function show() {
  const state = read();
  const first = shown === null;
  const changed = (names) => first || names.some((name) => state[name] !== shown[name]);
  const narrowed = changed([...FILTERS, ...CELL]);
  const asked = changed(["state", "process"]);
  shown = state;
  filters.show(state);
  pressed("range", history.range(state.range));
  pressed("mix-by", state.mix ?? "kind");
  mix.show(state);
  heat.show(state);
  services.show(state);
  stuck.show(state, summary);
  if (narrowed) feed.show(state);
  else feed.relink();
  if (asked && !first) askStuck();
  close.show(openClose());
}

function pressed(group, value) {
  for (const button of by(group).querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.dataset.value === value));
}

/** The buttons at `group` set `name`; the usual value is not written down. */
function choices(group, name, usual) {
  by(group).addEventListener("click", (event) => {
    const value = event.target.closest("button")?.dataset.value;
    if (value) set({ [name]: value === usual ? null : value });
  });
}

async function takeSummary() {
  summary = await get("summary");
  history.at(summary);
  showHealth(summary, {
    first_closer: history.recent("first_closer", MINUTE),
    closes: history.recent("closes", MINUTE),
  });
  stuck.sums(read(), summary);
}

async function takeHistory() {
  history.add(await get("history", { since_ns: history.since }));
  pressed("range", history.range(read().range));
  mix.draw();
  heat.draw();
}

async function takeServices() {
  services.take(await get("services"));
  services.show(read());
}

async function takeStuck() {
  const { state, process } = read();
  stuck.take(await get("stuck", { state, process, older_s: 1, limit: 200 }));
  stuck.show(read(), summary);
}

/** What was said last of each thing that is asked for. */
const health = new Map();
let lostAt = null;

function hear(name) {
  return (said) => {
    health.set(name, said);
    banner();
  };
}

/** One banner for all that is away. */
function banner() {
  const failed = [...health].filter(([, said]) => !said.ok);
  const box = by("banner");
  document.body.classList.toggle("stale", failed.length > 0);
  if (failed.length === 0) {
    box.hidden = true;
    lostAt = null;
    return;
  }
  lostAt ??= new Date();
  const away = failed.length === health.size;
  const errors = [...new Set(failed.map(([, said]) => said.error))].join("; ");
  const what = away ? "finwait does not answer" : `Not up to date: ${failed.map(([name]) => name).join(", ")}`;
  const text = `${what} since ${clock(lostAt)} (${errors}). What is shown is what was last known; it is asked for again by itself.`;
  if (box.textContent !== text) box.textContent = text;
  box.hidden = false;
}

function listen() {
  let opened = false;
  stream({
    close: (record) => feed.add(record),
    skipped: (number) => feed.addSkipped(number),
    state: (state) => {
      by("link").dataset.state = state;
      by("link").textContent = state === "live" ? "live" : "stream lost, reconnecting";
      // What happened between two streams is in the list that is asked for again.
      if (state === "live" && opened) feed.resume();
      opened ||= state === "live";
    },
  });
}

by("home").addEventListener("click", (event) => {
  if (openClose() === null || event.metaKey || event.ctrlKey) return;
  event.preventDefault();
  shut();
});
choices("range", "range", null);
choices("mix-by", "mix", "kind");
onChange(show);
poll(takeSummary, 2, hear("figures"));
poll(takeHistory, 5, hear("charts"));
poll(takeServices, 5, hear("services"));
const askStuck = poll(takeStuck, 5, hear("stuck"));
show();
listen();
