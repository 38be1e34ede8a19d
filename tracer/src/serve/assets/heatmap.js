// One heat map for each closing state: time across, time in the state upwards on a log scale. A cell opens its closes.

import { by, el, onWidth, put, svg } from "./dom.js";
import { clock, count, counted, duration } from "./format.js";
import { buckets } from "./history.js";
import { before, scale, ticks } from "./timeaxis.js";
import { CLOSING, STATE_MEANS } from "./words.js";

const LEFT = 44;
const RIGHT = 4;
const TOP = 4;
const BOTTOM = 18;
const PLOT = 132;
const COLUMN = 9;
/** 2^e seconds: shown at least from 0.1 ms to a minute, at most from 2 µs to a year. */
const LEAST = [-13, 6];
const MOST = [-19, 25];
/** Neither round trip, delayed acknowledgement nor first retransmission explains more. */
const SLOW_NS = 200e6;
const STEPS = 5;
/** Labels of the axis, ns. */
const MARKS = [1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 6e10, 6e11, 3.6e12, 8.64e13];

/** Draws into #heat; `open(cell)` gets `{ state, min_ns, max_ns, start_ns, end_ns }`. */
export class Heat {
  constructor(history, open) {
    this.history = history;
    this.open = open;
    this.state = {};
    this.panels = CLOSING.map((state) => new Panel(state, this));
    put(by("heat"), ...this.panels.map((panel) => panel.box));
    put(
      by("heat-scale"),
      el("span", {}, "few"),
      ...Array.from({ length: STEPS }, (_, step) => el("span", { class: `heat-step h${step}` })),
      el("span", {}, "many"),
    );
    onWidth(by("heat"), () => this.draw());
    this.tell(null);
  }

  show(state) {
    this.state = state;
    this.draw();
  }

  draw() {
    const only = CLOSING.includes(this.state.state) ? this.state.state : null;
    by("heat").classList.toggle("one", only !== null);
    for (const panel of this.panels) panel.box.hidden = only !== null && panel.state !== only;
    const shown = this.panels.filter((panel) => !panel.box.hidden);
    for (const panel of shown) panel.take(this.history.range(this.state.range));
    const exponents = shown.flatMap((panel) => panel.cells.map((cell) => cell.exponent));
    const low = Math.max(MOST[0], Math.min(LEAST[0], ...exponents));
    const high = Math.min(MOST[1], Math.max(LEAST[1], ...exponents));
    for (const panel of shown) panel.draw(low, high);
  }

  tell(text) {
    by("heat-readout").textContent = text ?? "point at a cell, or focus a map and use the arrow keys; Enter opens";
    by("heat-readout").classList.toggle("note", text === null);
  }
}

class Panel {
  constructor(state, heat) {
    this.state = state;
    this.heat = heat;
    this.history = heat.history;
    this.cells = [];
    this.at = null;
    this.sum = el("span", { class: "note" });
    this.chart = el("div", { class: "heat-chart" });
    this.box = el(
      "section",
      { class: "heat-panel", "aria-label": state },
      el("h3", { title: STATE_MEANS[state] }, state, " ", this.sum),
      this.chart,
    );
  }

  /** Cuts the history into cells. */
  take(range) {
    this.width = this.box.clientWidth;
    const most = Math.max(4, Math.floor((this.width - LEFT - RIGHT) / COLUMN));
    this.columns = this.history.columns(range, most, false);
    this.cells = this.columns.flatMap((column, index) =>
      [...buckets(column, this.state)].map(([exponent, number]) => ({
        column,
        index,
        exponent,
        number,
        key: `${column.start_ns}:${exponent}`,
      })),
    );
    this.cells.sort((a, b) => a.index - b.index || a.exponent - b.exponent);
  }

  draw(low, high) {
    const total = this.cells.reduce((sum, cell) => sum + cell.number, 0);
    put(this.sum, this.columns.length === 0 ? "" : total === 0 ? "none in this time" : counted(total, "close"));
    if (this.columns.length === 0) {
      put(this.chart, el("p", { class: "empty" }, `Nothing counted yet. Time here means: ${STATE_MEANS[this.state]}.`));
      return;
    }
    const [right, bottom] = [this.width - RIGHT, TOP + PLOT];
    const x = scale(this.columns, LEFT, right);
    const row = PLOT / (high - low + 1);
    const y = (exponent) => bottom - (Math.min(high + 1, Math.max(low, exponent)) - low) * row;
    const chart = svg("svg", {
      class: "plot",
      width: this.width,
      height: bottom + BOTTOM,
      tabindex: 0,
      role: "listbox",
      "aria-label": `${this.state}: ${STATE_MEANS[this.state]}; ${total === 0 ? "no closes" : "cells of time by duration"}`,
    });
    chart.append(
      svg("rect", { class: "ground", x: LEFT, y: TOP, width: right - LEFT, height: PLOT }),
      ...ticks(this.history, this.columns, LEFT, right, TOP, bottom),
      ...this.marks(low, high, y, right),
      ...before(this.history, this.columns, LEFT, right, TOP, bottom),
      ...this.drawCells(x, y, row),
    );
    chart.append(this.frame);
    this.listen(chart);
    this.replace(chart);
  }

  /** One field for each cell that holds something, and the frame that marks one. */
  drawCells(x, y, row) {
    const most = Math.max(2, ...this.cells.map((cell) => cell.number));
    for (const cell of this.cells) {
      const [from, to] = [x(cell.column.start_ns), x(cell.column.end_ns)];
      const step = Math.min(STEPS - 1, Math.floor((Math.log(cell.number) / Math.log(most)) * STEPS));
      cell.x = (from + to) / 2;
      cell.y = y(cell.exponent) - row / 2;
      cell.node = svg("rect", {
        class: `cell h${step}${this.isOpen(cell) ? " open" : ""}`,
        x: from + 0.5,
        y: cell.y - row / 2 + 0.5,
        width: Math.max(1, to - from - 1),
        height: Math.max(1, row - 1),
        role: "option",
        id: `${this.state}-${cell.key}`,
        "aria-label": this.inWords(cell),
        "aria-selected": this.isOpen(cell),
      });
    }
    const width = Math.max(3, x(this.columns[0].end_ns) - LEFT + 1);
    this.frame = svg("rect", { class: "cell-frame", visibility: "hidden", width, height: row + 1 });
    return this.cells.map((cell) => cell.node);
  }

  /** Puts the new chart in place of the old one; focus and the marked cell stay. */
  replace(chart) {
    const focused = this.chart.contains(document.activeElement);
    const key = this.at?.key;
    this.plot = chart;
    put(this.chart, chart);
    this.at = null;
    const same = this.cells.find((cell) => cell.key === key);
    if (focused) chart.focus({ preventScroll: true });
    if (same) this.point(same);
  }

  /** Lines at round durations, and where slow begins. */
  marks(low, high, y, right) {
    const nodes = [];
    let last = Infinity;
    const place = (ns) => y(Math.log2(ns / 1e9) + 1);
    for (const ns of MARKS) {
      const at = place(ns);
      if (at < y(high + 1) + 3 || at > y(low) - 2 || last - at < 15) continue;
      last = at;
      nodes.push(
        svg("line", { class: "grid", x1: LEFT, x2: right, y1: at, y2: at }),
        svg("text", { class: "tick", x: LEFT - 5, y: at + 4, "text-anchor": "end" }, mark(ns)),
      );
    }
    if (this.state !== "TIME_WAIT") {
      const at = place(SLOW_NS);
      nodes.push(
        svg(
          "line",
          { class: "slow-line", x1: LEFT, x2: right, y1: at, y2: at },
          svg("title", {}, "slow: above 200 ms"),
        ),
        svg("text", { class: "tick slow-text", x: LEFT + 3, y: at - 3 }, "slow"),
      );
    }
    return nodes;
  }

  /** What a cell asks the API for. */
  query(cell) {
    return {
      state: this.state,
      min_ns: Math.floor(2 ** (cell.exponent - 1) * 1e9) + 1,
      max_ns: Math.floor(2 ** cell.exponent * 1e9),
      start_ns: cell.column.start_ns,
      end_ns: cell.column.end_ns - 1,
    };
  }

  isOpen(cell) {
    const asked = this.heat.state;
    return (
      asked.start_ns !== undefined &&
      Object.entries(this.query(cell)).every(([name, value]) => asked[name] === String(value))
    );
  }

  inWords(cell) {
    const [from, to] = [this.history.wall(cell.column.start_ns), this.history.wall(cell.column.end_ns)];
    const bounds = `${duration(2 ** (cell.exponent - 1) * 1e9)} to ${duration(2 ** cell.exponent * 1e9)}`;
    const time = from ? `, ${clock(from)} to ${clock(to)}` : "";
    return `${this.state}: ${counted(cell.number, "close")} took ${bounds}${time}`;
  }

  /** Marks a cell, or none. */
  point(cell, tell = true) {
    this.at = cell;
    if (tell) this.heat.tell(cell ? this.inWords(cell) : null);
    if (!cell) {
      this.frame.setAttribute("visibility", "hidden");
      this.plot.removeAttribute("aria-activedescendant");
      return;
    }
    this.frame.setAttribute("visibility", "visible");
    this.frame.setAttribute("x", Number(cell.node.getAttribute("x")) - 1);
    this.frame.setAttribute("y", Number(cell.node.getAttribute("y")) - 1);
    this.plot.setAttribute("aria-activedescendant", cell.node.id);
  }

  listen(chart) {
    const nearest = (event) => {
      const box = chart.getBoundingClientRect();
      return this.closest(event.clientX - box.left, event.clientY - box.top, event.pointerType === "touch" ? 24 : 9);
    };
    chart.addEventListener("pointermove", (event) => this.point(nearest(event)));
    chart.addEventListener("pointerleave", () => this.point(null));
    chart.addEventListener("click", (event) => {
      const cell = nearest(event);
      if (cell) this.heat.open(this.query(cell));
    });
    chart.addEventListener("focus", () => {
      if (!this.at && chart.matches(":focus-visible")) this.point(this.cells.at(-1) ?? null);
    });
    chart.addEventListener("blur", () => this.point(null));
    chart.addEventListener("keydown", (event) => this.key(event));
  }

  closest(x, y, reach) {
    let best = null;
    let distance = reach;
    for (const cell of this.cells) {
      const far = Math.max(Math.abs(cell.x - x), Math.abs(cell.y - y));
      if (far < distance) [best, distance] = [cell, far];
    }
    return best;
  }

  key(event) {
    if ((event.key === "Enter" || event.key === " ") && this.at) {
      event.preventDefault();
      this.heat.open(this.query(this.at));
      return;
    }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const end = { Home: this.cells[0], End: this.cells.at(-1) }[event.key];
    if (!way && !end) return;
    event.preventDefault();
    const next = end ?? this.toward(way);
    if (next) this.point(next);
  }

  /** The next cell that way: in the same column upwards, else in the nearest column that has any. */
  toward([across, up]) {
    const at = this.at;
    if (!at) return this.cells.at(-1);
    if (up !== 0) {
      const column = this.cells.filter((cell) => cell.index === at.index && (cell.exponent - at.exponent) * up > 0);
      return up > 0 ? column[0] : column.at(-1);
    }
    const beyond = this.cells.filter((cell) => (cell.index - at.index) * across > 0);
    if (beyond.length === 0) return null;
    const index = across > 0 ? beyond[0].index : beyond.at(-1).index;
    const column = beyond.filter((cell) => cell.index === index);
    return column.reduce((best, cell) =>
      Math.abs(cell.exponent - at.exponent) < Math.abs(best.exponent - at.exponent) ? cell : best,
    );
  }
}

/** `10µs`, `1ms`, `10s`, `1m`, `1h`, `1d` */
function mark(ns) {
  for (const [unit, name] of [
    [8.64e13, "d"],
    [3.6e12, "h"],
    [6e10, "m"],
    [1e9, "s"],
    [1e6, "ms"],
  ]) {
    if (ns >= unit) return `${count(Math.round(ns / unit))}${name}`;
  }
  return ns < 1e6 && ns >= 1e5 ? "0.1ms" : `${ns / 1e3}µs`;
}
