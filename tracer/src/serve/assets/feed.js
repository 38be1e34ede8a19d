// The list of closes at the edge: the newest come by the stream, older ones are asked for; or what a heat map's cell holds.

import { get } from "./api.js";
import { by, el, put } from "./dom.js";
import { clockOf, count, duration } from "./format.js";
import { fits } from "./match.js";
import { CELL, FILTERS, closeUrl, filtered } from "./state.js";
import { route, strip } from "./strip.js";
import { kindOf } from "./words.js";

const PAGE = 60;
const MOST = 400;
/** How often new closes are put on the page. */
const TICK_MS = 400;
/** New rows at one tick; of more only the newest are shown, and it is said. */
const ROWS_A_TICK = 40;
/** Fewer than this are marked as new for a moment; more would only flicker. */
const FRESH = 8;

export class Feed {
  /** `open(id)` opens a close; `listed()` is called when the list has changed. */
  constructor(open, listed) {
    this.listed = listed;
    this.open = open;
    this.list = by("feed");
    this.state = {};
    this.waiting = [];
    this.missed = 0;
    this.skipped = 0;
    this.paused = false;
    this.held = false;
    this.asked = 0;
    by("pause").addEventListener("click", () => this.pause(!this.paused));
    by("older").addEventListener("click", () => this.older());
    // What moves under a pointer cannot be clicked.
    this.list.addEventListener("pointerenter", (event) => this.hold(event.pointerType === "mouse"));
    this.list.addEventListener("pointerleave", () => this.hold(false));
    setInterval(() => this.tick(), TICK_MS);
  }

  /** Shows what fits `state`, from the API and then from the stream. */
  async show(state) {
    this.state = state;
    const asked = ++this.asked;
    this.waiting = [];
    this.missed = 0;
    this.drawCell();
    this.list.setAttribute("aria-busy", "true");
    try {
      const answer = await get("closes", { ...this.parameters(), limit: PAGE });
      if (asked !== this.asked) return;
      put(
        this.list,
        answer.closes.map((close) => this.row(close)),
      );
      this.take(answer);
      this.failed = null;
    } catch (error) {
      if (asked !== this.asked) return;
      this.failed = error.message;
    }
    this.list.setAttribute("aria-busy", "false");
    this.note();
  }

  async older() {
    const asked = this.asked;
    const last = this.list.lastElementChild;
    try {
      const answer = await get("closes", { ...this.parameters(), limit: PAGE, before: this.next });
      if (asked !== this.asked) return;
      this.list.append(...answer.closes.filter((close) => !this.has(close.conn_id)).map((close) => this.row(close)));
      this.take(answer);
      (last?.nextElementSibling ?? last)?.querySelector("a")?.focus();
    } catch (error) {
      this.failed = error.message;
    }
    this.note();
  }

  take(answer) {
    this.next = answer.next;
    this.kept = answer.kept;
    by("older").hidden = answer.next === null || answer.next === undefined;
  }

  parameters() {
    return Object.fromEntries([...FILTERS, ...CELL].map((name) => [name, this.state[name]]));
  }

  /** A close from the stream. */
  add(close) {
    if (!fits(close, this.state)) return;
    this.waiting.push(close);
    if (this.waiting.length > MOST) {
      this.waiting.shift();
      this.missed += 1;
    }
  }

  /** The stream left out so many. */
  addSkipped(number) {
    this.skipped += number;
    this.note();
  }

  /** What the stream showed while it was away is asked for again. */
  resume() {
    if (!this.paused) this.show(this.state);
  }

  pause(paused) {
    this.paused = paused;
    by("pause").setAttribute("aria-pressed", String(paused));
    by("pause").textContent = paused ? "Resume" : "Pause";
    // After a long pause the list is asked for anew.
    if (!paused && this.waiting.length + this.missed > ROWS_A_TICK) this.show(this.state);
    else this.tick();
    this.note();
  }

  hold(held) {
    this.held = held;
    if (!held) this.tick();
    this.note();
  }

  tick() {
    if (this.waiting.length === 0) return;
    if (this.paused || this.held) {
      this.note();
      return;
    }
    const news = this.waiting.splice(0).filter((close) => !this.has(close.conn_id));
    this.missed += Math.max(0, news.length - ROWS_A_TICK);
    this.list.prepend(
      ...news
        .slice(-ROWS_A_TICK)
        .reverse()
        .map((close) => this.row(close, news.length < FRESH)),
    );
    while (this.list.children.length > MOST) {
      this.list.lastElementChild.remove();
      // The page that `next` stands for begins further on than the list now ends.
      by("older").hidden = true;
    }
    this.note();
  }

  has(id) {
    return this.list.querySelector(`[data-id="${CSS.escape(id)}"]`) !== null;
  }

  /** The connections listed, as they stand there. */
  ids() {
    return [...this.list.children].map((row) => row.dataset.id);
  }

  row(close, fresh = false) {
    const { task, arrow, remote } = route(close);
    const segments = { three: " 3seg", four: " 4seg" }[close.waves] ?? "";
    const pieces = strip(close).flatMap((piece, index) => [
      index > 0 ? " · " : null,
      el("span", { class: piece.tone }, piece.text),
    ]);
    const link = el(
      "a",
      { href: closeUrl(close.conn_id), class: "row" },
      el("span", { class: "time" }, clockOf(close.time) ?? "--:--:--"),
      el("span", { class: `kind k-${close.kind}` }, kindOf(close), el("span", { class: "note" }, segments)),
      el("span", { class: "life", title: "life" }, duration(close.life_ns) ?? "life ?"),
      el("span", { class: "who" }, task, el("span", { class: "arrow" }, arrow), remote),
      el("span", { class: "strip" }, pieces),
    );
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      this.open(close.conn_id);
    });
    return el("li", { "data-id": close.conn_id, class: fresh ? "fresh" : null }, link);
  }

  /** The links carry the filters that are set now. */
  relink() {
    for (const row of this.list.children) row.querySelector("a").href = closeUrl(row.dataset.id);
  }

  drawCell() {
    const { state, min_ns, max_ns } = this.state;
    const box = by("feed-cell");
    box.hidden = !CELL.some((name) => this.state[name] !== undefined);
    if (box.hidden) return;
    const lasted = min_ns && max_ns ? ` of ${duration(Number(min_ns))} to ${duration(Number(max_ns))}` : "";
    put(
      box,
      el("span", {}, `A cell: ${state ?? "closes"}${lasted}${this.cellTime()}`),
      el("button", { type: "button", class: "quiet", onclick: () => this.leaveCell() }, "Show all"),
    );
  }

  cellTime() {
    const [from, to] = [this.state.start_ns, this.state.end_ns].map((ns) => ns && this.clock?.(Number(ns)));
    return from && to ? `, ${from} to ${to}` : "";
  }

  note() {
    const waiting = this.waiting.length + this.missed;
    const parts = [];
    if (this.failed) parts.push(`not loaded: ${this.failed}`);
    else if (this.paused) parts.push(`paused${waiting ? `, ${count(waiting)} new` : ""}`);
    else if (this.held && waiting) parts.push(`held while you point at it, ${count(waiting)} new`);
    else if (this.missed > 0) parts.push(`${count(this.missed)} too fast to show`);
    if (this.skipped > 0) parts.push(`${count(this.skipped)} skipped on the way here`);
    const text = parts.join("; ");
    if (by("feed-note").textContent !== text) by("feed-note").textContent = text;
    this.listed();
    const none = this.list.children.length === 0;
    this.list.hidden = none;
    by("feed-empty").hidden = !none || Boolean(this.failed);
    by("feed-empty").textContent = filtered(this.state)
      ? "No close that is kept fits the filters."
      : "No connection has ended yet. Each one appears here as it does; open it to see how its close went.";
  }
}
