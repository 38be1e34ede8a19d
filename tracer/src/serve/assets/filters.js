// The row of filters: shows what the address bar says, and changes it.

import { by, el, put } from "./dom.js";
import { CELL, FILTERS, filtered } from "./state.js";
import { CLOSING, FIRST_CLOSERS, KINDS } from "./words.js";

const TYPING_MS = 350;
const NUMBER = /^\d{1,5}$/;

export class Filters {
  /** `set(changes, replace)` changes the address bar. */
  constructor(set) {
    this.set = set;
    this.form = by("filters");
    options(this.form.elements.kind, KINDS);
    options(this.form.elements.first_closer, FIRST_CLOSERS);
    options(this.form.elements.state, Object.fromEntries(CLOSING.map((state) => [state, state])));
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("change", (event) => this.changed(event.target, false));
    this.form.addEventListener("input", (event) => {
      clearTimeout(this.timer);
      if (event.target instanceof HTMLInputElement)
        this.timer = setTimeout(() => this.changed(event.target, true), TYPING_MS);
    });
    by("clear").addEventListener("click", () =>
      this.set(Object.fromEntries([...FILTERS, ...CELL].map((name) => [name, null]))),
    );
  }

  /** While typing, one step back leaves the whole word. */
  changed(field, typing) {
    clearTimeout(this.timer);
    const value = field.value.trim();
    if (field.name === "port" && value !== "" && !NUMBER.test(value)) {
      by("filter-note").textContent = "A port is a number.";
      return;
    }
    const before = this.state?.[field.name] ?? "";
    if (value === before) return;
    const replace = typing && this.typed === field.name;
    this.typed = typing ? field.name : null;
    // A cell belongs to its state: with another state there is none.
    const cell = field.name === "state" ? Object.fromEntries(CELL.map((name) => [name, null])) : {};
    this.set({ [field.name]: value, ...cell }, replace);
  }

  show(state) {
    this.state = state;
    for (const name of FILTERS) {
      const field = this.form.elements[name];
      const value = state[name] ?? "";
      if (
        field instanceof HTMLSelectElement &&
        value !== "" &&
        ![...field.options].some((option) => option.value === value)
      ) {
        field.append(el("option", { value }, value));
      }
      if (document.activeElement !== field || field.value.trim() !== value) field.value = value;
      field.closest("label").classList.toggle("set", value !== "");
    }
    by("clear").disabled = !filtered(state);
    by("filter-note").textContent = filtered(state) ? "Figures and charts count all closes." : "";
  }
}

function options(select, words) {
  put(
    select,
    el("option", { value: "" }, "any"),
    Object.entries(words).map(([value, label]) => el("option", { value }, label)),
  );
}
