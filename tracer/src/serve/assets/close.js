// A close, opened: a dialog with its ladder, what it means, the facts, and the way to its neighbours in the list.

import { get } from "./api.js";
import { by, el, put } from "./dom.js";
import { endpoint } from "./format.js";
import { explain } from "./explain.js";
import { evidence, facts } from "./facts.js";
import { drawLadder } from "./ladder.js";
import { closeUrl } from "./state.js";
import { kindOf } from "./words.js";

export class CloseView {
  /** `ids()` gives the list that neighbours are taken from; `open(id)` and `shut()` change the address bar. */
  constructor(ids, open, shut) {
    this.ids = ids;
    this.open = open;
    this.shut = shut;
    this.dialog = by("close");
    this.asked = 0;
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.shut();
    });
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.shut();
    });
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  /** Shows the close of this connection, or none. */
  async show(id) {
    if (id === this.id) return;
    this.id = id;
    const asked = ++this.asked;
    if (id === null) {
      if (this.dialog.open) this.dialog.close();
      document.title = "finwait";
      return;
    }
    if (!this.dialog.open) {
      this.frame(el("p", { class: "empty" }, "Asking for the close …"), "Close");
      this.dialog.showModal();
    }
    try {
      const parts = await get(`closes/${encodeURIComponent(id)}`);
      if (asked === this.asked) this.draw(parts);
    } catch (error) {
      if (asked !== this.asked) return;
      const gone = error.status === 404;
      this.frame(
        [
          el(
            "p",
            {},
            gone
              ? "This close is not kept: it is too old, or finwait was started after it."
              : `It could not be loaded: ${error.message}.`,
          ),
          el("p", { class: "note" }, id),
          gone ? null : el("button", { type: "button", onclick: () => this.again(id) }, "Try again"),
        ],
        "Close not found",
      );
    }
  }

  again(id) {
    this.id = undefined;
    this.show(id);
  }

  draw(parts) {
    const { close, peer } = parts;
    const title = `${kindOf(close)}: ${endpoint(close.local_addr, close.local_port)} ${close.role === "accepted" ? "◀" : "▶"} ${endpoint(close.remote_addr, close.remote_port)}`;
    const focused = document.activeElement?.dataset?.step;
    this.frame(
      [
        el(
          "div",
          { class: "close-body" },
          el("section", { "aria-label": "Ladder" }, drawLadder(parts)),
          el(
            "section",
            { class: "explain", "aria-label": "In words" },
            explain(parts).map((sentence, index) => el("p", { class: index === 0 ? "lead" : null }, sentence)),
            peer ? el("p", {}, this.link(peer.conn_id, "See it from the other end")) : null,
          ),
          el("section", { "aria-label": "Facts" }, el("h3", {}, "Facts"), facts(parts)),
          el("section", { "aria-label": "Evidence" }, el("h3", {}, "Evidence"), evidence(parts)),
        ),
      ],
      title,
    );
    document.title = `${title} – finwait`;
    if (focused) this.dialog.querySelector(`[data-step="${focused}"]:not(:disabled)`)?.focus();
    this.dialog.scrollTop = 0;
  }

  /** Title bar and content. */
  frame(content, title) {
    const step = (name, label) =>
      el("button", { type: "button", class: "quiet", "data-step": name, onclick: () => this.step(name) }, label);
    put(
      this.dialog,
      el(
        "header",
        { class: "close-head" },
        el("h2", { id: "close-title" }, title),
        el(
          "div",
          { class: "close-buttons" },
          step("newer", "← Newer"),
          step("older", "Older →"),
          el("button", { type: "button", class: "quiet", "data-step": "shut", onclick: () => this.shut() }, "Close ✕"),
        ),
      ),
      content,
    );
    this.listed();
  }

  /** The neighbour in the list; undefined for none. */
  neighbour(name) {
    const ids = this.ids();
    const index = ids.indexOf(this.id);
    return index < 0 ? undefined : ids[index + (name === "newer" ? -1 : 1)];
  }

  step(name) {
    const id = this.neighbour(name);
    if (id !== undefined) this.open(id);
  }

  /** The list has changed: so have the neighbours. */
  listed() {
    if (!this.dialog.open && this.id === null) return;
    for (const name of ["newer", "older"]) {
      const button = this.dialog.querySelector(`[data-step="${name}"]`);
      if (!button) continue;
      const none = this.neighbour(name) === undefined;
      button.disabled = none;
      button.title = none ? "none in the list beside" : "arrow key";
    }
  }

  link(id, text) {
    return el(
      "a",
      {
        href: closeUrl(id),
        onclick: (event) => {
          if (!event.metaKey && !event.ctrlKey && !event.shiftKey) {
            event.preventDefault();
            this.open(id);
          }
        },
      },
      text,
    );
  }

  key(event) {
    const name = { ArrowLeft: "newer", ArrowRight: "older" }[event.key];
    if (!name || event.altKey || event.metaKey || event.ctrlKey) return;
    const button = this.dialog.querySelector(`[data-step="${name}"]`);
    if (!button.disabled) {
      event.preventDefault();
      button.click();
    }
  }
}
