// A table that can be sorted by every column. The order is the caller's to keep: it stands in the address bar.

import { el, put } from "./dom.js";

/**
 * Draws into `box`. A column is `{ key, label, title?, num?, first?, value(row), cell(row) }`: `value` is what is sorted by,
 * null sorts last either way; `first` is the direction that a first click gives, "desc" for numbers.
 */
export class Table {
  constructor(box, caption, columns, sort) {
    this.columns = columns;
    this.sort = sort;
    this.body = el("tbody");
    this.heads = columns.map((column) => this.head(column));
    this.table = el(
      "table",
      {},
      el("caption", { class: "hidden" }, caption),
      el("thead", {}, el("tr", {}, this.heads)),
      this.body,
    );
    // A box that scrolls sideways must be reachable without a mouse.
    this.box = el(
      "div",
      { class: "scroll", role: "region", "aria-label": `${caption}, the table`, tabindex: 0 },
      this.table,
    );
    this.empty = el("p", { class: "empty", hidden: true });
    put(box, this.box, this.empty);
  }

  head(column) {
    const button = el(
      "button",
      { type: "button", class: "sort", title: column.title, onclick: () => this.sort(this.turned(column)) },
      column.label,
      el("span", { class: "arrow", "aria-hidden": "true" }),
    );
    return el("th", { scope: "col", class: column.num ? "num" : null, "data-key": column.key }, button);
  }

  /** The order after a click on that column: `key.asc` or `key.desc`. */
  turned(column) {
    const first = column.first ?? (column.num ? "desc" : "asc");
    const other = first === "desc" ? "asc" : "desc";
    return `${column.key}.${this.by === column.key && this.direction === first ? other : first}`;
  }

  /** Shows `rows` in `order`; what stands there instead of none is `empty`. `row(data)` may decorate a row. */
  show(rows, order, empty, row = () => ({})) {
    const [key, direction] = (order ?? "").split(".");
    const column = this.columns.find((candidate) => candidate.key === key) ?? this.columns[0];
    this.by = column.key;
    this.direction =
      direction === "asc" || direction === "desc" ? direction : (column.first ?? (column.num ? "desc" : "asc"));
    this.columns.forEach((other, index) => {
      const sorted = other === column ? { asc: "ascending", desc: "descending" }[this.direction] : "none";
      this.heads[index].setAttribute("aria-sort", sorted);
    });
    const sign = this.direction === "desc" ? -1 : 1;
    const ordered = [...rows].sort((a, b) => compare(column.value(a), column.value(b), sign));
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    put(
      this.body,
      ordered.map((data) =>
        el(
          "tr",
          row(data),
          this.columns.map((cell, index) => this.cell(cell, data, index)),
        ),
      ),
    );
    if (focused) this.body.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    this.empty.textContent = empty;
  }

  cell(column, data, index) {
    const content = column.cell(data);
    const none = content === null || content === undefined;
    const name = index === 0 ? "th" : "td";
    return el(
      name,
      {
        scope: index === 0 ? "row" : null,
        class: [column.num ? "num" : "", none ? "none" : ""].join(" ").trim() || null,
      },
      none ? "–" : content,
    );
  }
}

function compare(a, b, sign) {
  const none = (value) => value === null || value === undefined;
  if (none(a) || none(b)) return none(a) - none(b);
  return (
    sign *
    (typeof a === "string" || typeof b === "string"
      ? String(a).localeCompare(String(b), undefined, { numeric: true })
      : a - b)
  );
}
