// The close mix: closes a minute over time as a stacked area, by kind or by first closer, with its legend and a cursor.

import { by, el, onWidth, put, svg } from "./dom.js";
import { clock, count, counted } from "./format.js";
import { sums } from "./history.js";
import { before, hatch, scale, ticks } from "./timeaxis.js";
import { FIRST_CLOSERS, KINDS, say } from "./words.js";

const HEIGHT = 190;
const TOP = 8;
const BOTTOM = 20;
const LEFT = 40;
const RIGHT = 6;
const COLUMN = 7;

/** Draws into #mix; `pick(filter, word)` is called when a legend's entry is chosen. */
export class Mix {
  constructor(history, pick) {
    this.history = history;
    this.pick = pick;
    this.state = {};
    this.cursor = null;
    this.chart = el("div", { class: "mix-chart" });
    this.readout = el("p", { class: "readout", "aria-hidden": "true" });
    this.legend = el("ul", { class: "legend", "aria-label": "Closes in the time shown" });
    put(by("mix"), this.chart, this.readout, this.legend);
    onWidth(this.chart, (width) => {
      this.width = width;
      this.draw();
    });
  }

  show(state) {
    this.state = state;
    this.draw();
  }

  get map() {
    return this.state.mix === "first" ? "first_closer" : "closes";
  }

  get words() {
    return this.state.mix === "first" ? FIRST_CLOSERS : KINDS;
  }

  draw() {
    if (!this.width) return;
    this.columns = this.history.columns(
      this.history.range(this.state.range),
      Math.floor((this.width - LEFT - RIGHT) / COLUMN),
      true,
    );
    if (this.columns.length === 0) {
      put(this.chart, el("p", { class: "empty" }, "The first ten seconds are still being counted."));
      put(this.readout);
      put(this.legend);
      return;
    }
    this.values = this.columns.map((column) => sums(column, this.map));
    const known = Object.keys(this.words);
    const others = [...new Set(this.values.flatMap(Object.keys))].filter((word) => !known.includes(word));
    this.shown = [...known, ...others].filter((word) => this.values.some((value) => value[word] > 0));
    this.drawChart();
    this.drawLegend();
    this.say();
  }

  /** Closes a minute of a word in a column; null where nothing was counted then. */
  rate(index, word) {
    const seconds = this.columns[index].seconds;
    return seconds === 0 ? null : ((this.values[index][word] ?? 0) * 60) / seconds;
  }

  total(index) {
    return this.shown.reduce((sum, word) => sum + (this.rate(index, word) ?? 0), 0);
  }

  drawChart() {
    const bottom = HEIGHT - BOTTOM;
    const right = this.width - RIGHT;
    const x = scale(this.columns, LEFT, right);
    const most = nice(Math.max(4, ...this.columns.map((_, index) => this.total(index))));
    const y = (rate) => bottom - (rate / most) * (bottom - TOP);
    const chart = svg("svg", {
      class: "plot",
      width: this.width,
      height: HEIGHT,
      tabindex: 0,
      role: "slider",
      "aria-label": "Close mix: time",
      "aria-valuemin": 0,
      "aria-valuemax": this.columns.length - 1,
      "aria-orientation": "horizontal",
    });
    chart.append(svg("defs", {}, hatch("mix-unwatched", "unwatched"), hatch("mix-unknown", "unknown")));
    for (const part of [0, 0.5, 1]) {
      chart.append(
        svg("line", { class: "grid", x1: LEFT, x2: right, y1: y(most * part), y2: y(most * part) }),
        svg("text", { class: "tick", x: LEFT - 6, y: y(most * part) + 4, "text-anchor": "end" }, count(most * part)),
      );
    }
    chart.append(...this.bands(x, y), ...ticks(this.history, this.columns, LEFT, right, TOP, bottom));
    chart.append(...before(this.history, this.columns, LEFT, right, TOP, bottom));
    this.line = svg("line", { class: "cursor", y1: TOP, y2: bottom, x1: -9, x2: -9 });
    chart.append(this.line);
    this.listen(chart, x);
    this.x = x;
    const focused = this.chart.contains(document.activeElement);
    this.plot = chart;
    put(this.chart, chart);
    if (focused) chart.focus({ preventScroll: true });
  }

  /** One area for each word, in steps: a column is flat, as it was counted. */
  bands(x, y) {
    const base = this.columns.map(() => 0);
    const only = this.state.mix === "first" ? this.state.first_closer : this.state.kind;
    return this.shown.map((word) => {
      let path = "";
      let back = "";
      this.columns.forEach((column, index) => {
        const rate = this.rate(index, word);
        if (rate === null) return;
        const [from, to] = [x(column.start_ns), x(column.end_ns)];
        const low = base[index];
        base[index] += rate;
        path += `${path ? "L" : "M"}${round(from)} ${round(y(base[index]))}H${round(to)}`;
        back = `L${round(to)} ${round(y(low))}H${round(from)}` + back;
      });
      const dim = only && only !== word ? " dim" : "";
      return svg("path", { class: `band k-${word}${dim}`, d: path + back + "Z" });
    });
  }

  drawLegend() {
    const filter = this.state.mix === "first" ? "first_closer" : "kind";
    const focused = document.activeElement?.closest?.(".legend") ? document.activeElement.dataset.word : null;
    const all = this.values.reduce(
      (sum, value) => sum + this.shown.reduce((part, word) => part + (value[word] ?? 0), 0),
      0,
    );
    put(
      this.legend,
      ...this.shown.map((word) => {
        const number = this.values.reduce((sum, value) => sum + (value[word] ?? 0), 0);
        const on = this.state[filter] === word;
        return el(
          "li",
          {},
          el(
            "button",
            {
              type: "button",
              class: "legend-item",
              "aria-pressed": on,
              "data-word": word,
              title: `${on ? "Show all" : "Show only these closes"}`,
              onclick: () => this.pick(filter, on ? null : word),
            },
            el("span", { class: `swatch k-${word}`, "aria-hidden": "true" }),
            `${say(this.words, word)} `,
            el("b", {}, count(number)),
          ),
        );
      }),
    );
    if (this.shown.length === 0) put(this.legend, el("li", { class: "note" }, "No connection ended in this time."));
    else this.legend.append(el("li", { class: "legend-all" }, counted(all, "close")));
    if (focused) this.legend.querySelector(`[data-word="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  listen(chart, x) {
    const last = this.columns.length - 1;
    const move = (index) => {
      this.cursor = index === null ? null : this.columns[Math.min(last, Math.max(0, index))].start_ns;
      this.say();
    };
    chart.addEventListener("pointermove", (event) => {
      const place = event.clientX - chart.getBoundingClientRect().left;
      move(this.columns.findLastIndex((column) => x(column.start_ns) <= place));
    });
    chart.addEventListener("pointerleave", () => move(null));
    chart.addEventListener("keydown", (event) => {
      const now = this.index ?? last;
      const to = {
        ArrowLeft: now - 1,
        ArrowDown: now - 1,
        ArrowRight: now + 1,
        ArrowUp: now + 1,
        Home: 0,
        End: last,
        PageUp: now + 10,
        PageDown: now - 10,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      move(to);
    });
    chart.addEventListener("focus", () => this.cursor ?? move(last));
  }

  /** The column under the cursor; null for none. */
  get index() {
    if (this.cursor === null) return null;
    const index = this.columns.findIndex((column) => column.start_ns <= this.cursor && this.cursor < column.end_ns);
    return index < 0 ? null : index;
  }

  /** Puts the cursor's column into words. */
  say() {
    const index = this.index;
    const at = index === null ? -9 : (this.x(this.columns[index].start_ns) + this.x(this.columns[index].end_ns)) / 2;
    this.line.setAttribute("x1", at);
    this.line.setAttribute("x2", at);
    const text = index === null ? "point at the chart, or focus it and use the arrow keys" : this.inWords(index);
    put(this.readout, text);
    this.readout.classList.toggle("note", index === null);
    this.plot.setAttribute("aria-valuenow", index ?? this.columns.length - 1);
    this.plot.setAttribute("aria-valuetext", this.inWords(index ?? this.columns.length - 1));
  }

  inWords(index) {
    const column = this.columns[index];
    const from = this.history.wall(column.start_ns);
    const to = this.history.wall(column.end_ns);
    const time = from ? `${clock(from)} to ${clock(to)}` : "time unknown";
    if (column.seconds === 0) return `${time}: not watched`;
    const parts = this.shown
      .filter((word) => this.values[index][word] > 0)
      .map((word) => `${say(this.words, word)} ${oneDigit(this.rate(index, word))}`);
    return `${time}: ${parts.length ? `${oneDigit(this.total(index))} a minute; ${parts.reverse().join(", ")}` : "no closes"}`;
  }
}

const round = (number) => Math.round(number * 10) / 10;
const oneDigit = (rate) => (rate < 10 && rate % 1 !== 0 ? rate.toFixed(1) : count(Math.round(rate)));

/** The next round number: its half can be said too. */
function nice(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= most);
}
