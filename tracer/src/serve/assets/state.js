// What the reader looks at, kept in the address bar: filters in the query, the open close in the path.
// Nothing else remembers it, so a link shows the same thing and the back button works.

/** Names that mean the same in the address bar and in the API's `/api/v1/closes`. */
export const FILTERS = ["kind", "first_closer", "state", "process", "port", "peer"];
/** A cell of a heat map: together with `state`, the closes behind it. */
export const CELL = ["min_ns", "max_ns", "start_ns", "end_ns"];
/** How things are shown. */
const VIEW = ["range", "mix", "sort", "stuck_sort"];

const listeners = [];

/** Everything that is set, by name. */
export function read() {
  const query = new URLSearchParams(location.search);
  const state = {};
  for (const name of [...FILTERS, ...CELL, ...VIEW]) {
    const value = query.get(name)?.trim();
    if (value) state[name] = value;
  }
  return state;
}

/** The connection whose close is open; null for none. */
export function openClose() {
  const match = /^\/c\/([^/]+)\/?$/.exec(location.pathname);
  if (!match) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return match[1];
  }
}

/** Where a close lives, with the filters that are set. */
export const closeUrl = (id) => `/c/${encodeURIComponent(id)}${location.search}`;

function go(url, replace, data) {
  if (url === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](data, "", url);
  for (const listener of listeners) listener();
}

/** Sets names to values; null or "" takes one out. `replace` makes no entry of its own for the back button. */
export function set(changes, replace = false) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  // `:` and `,` may stand in a query as they are, which keeps links readable.
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  go(location.pathname + (text ? `?${text}` : ""), replace, history.state);
}

/** Opens a close; from one to the next makes no entry for the back button. */
export const open = (id) =>
  go(closeUrl(id), openClose() !== null, { opened: history.state?.opened ?? openClose() === null });

/** Goes back to the overview. */
export function shut() {
  if (openClose() === null) return;
  if (history.state?.opened) history.back();
  else go(`/${location.search}`, false, null);
}

/** Calls `listener` after each change, the back button's too. */
export function onChange(listener) {
  listeners.push(listener);
}

window.addEventListener("popstate", () => {
  for (const listener of listeners) listener();
});

/** Whether any filter or a cell is set. */
export const filtered = (state) => [...FILTERS, ...CELL].some((name) => state[name] !== undefined);
