// Asks the API: once, again and again with growing pauses while it is away, or as a stream. Knows nothing of the page.

const BASE = "/api/v1/";
const LIMIT_MS = 8000;
const PAUSES_S = [1, 2, 4, 8, 15, 30];
/** A stream that was fine may end at any time, and is opened again at once. */
const AT_ONCE_S = 0.2;
const QUIET_MS = 1500;
/** Longer than this, and a stream was fine. */
const STREAM_MS = 5000;

/** An answer that is no success. */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The JSON at `path` with `parameters`; those without a value are left out. Throws ApiError. */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  let response;
  try {
    response = await fetch(BASE + path + (text ? `?${text}` : ""), { signal: AbortSignal.timeout(LIMIT_MS) });
  } catch (error) {
    throw new ApiError(error.name === "TimeoutError" ? "no answer in time" : "not reachable", 0);
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new ApiError(body?.error ?? `status ${response.status}`, response.status);
  if (body === null) throw new ApiError("an answer that is no JSON", response.status);
  return body;
}

/**
 * Runs `ask` every `period_s` while the page is visible. After a failure it waits longer each time; `said` hears
 * `{ ok, error, again_s }` after each attempt. Returns a function that asks at once.
 */
export function poll(ask, period_s, said) {
  let timer;
  let failures = 0;
  let running = false;
  let again = false;
  async function once() {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    running = true;
    let pause = period_s;
    try {
      await ask();
      failures = 0;
      said({ ok: true });
    } catch (error) {
      if (!(error instanceof ApiError)) console.error(error);
      pause = PAUSES_S[Math.min(failures, PAUSES_S.length - 1)];
      failures += 1;
      said({ ok: false, error: error.message, again_s: pause });
    }
    running = false;
    if (again) {
      again = false;
      once();
    } else if (!document.hidden) {
      timer = setTimeout(once, pause * 1000);
    }
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else once();
  });
  once();
  return once;
}

/**
 * The stream of closes. `on.close(record)`, `on.skipped(number)`, `on.state("live" | "lost")`. A lost stream is opened
 * again by us, not by the browser: that one gives up for good on some failures. "live" comes each time that it was opened,
 * "lost" only if that takes a while.
 */
export function stream(on) {
  let failures = 0;
  let told;
  let opened = Infinity;
  function connect() {
    const source = new EventSource(`${BASE}events`);
    source.addEventListener("open", () => {
      opened = performance.now();
      clearTimeout(told);
      on.state("live");
    });
    source.addEventListener("close", (event) => parsed(event.data, on.close));
    source.addEventListener("skipped", (event) => parsed(event.data, (told) => on.skipped(told.skipped)));
    source.addEventListener("error", () => {
      source.close();
      // One that ends as soon as it is opened is no stream.
      if (performance.now() - opened > STREAM_MS) failures = 0;
      opened = Infinity;
      clearTimeout(told);
      told = setTimeout(() => on.state("lost"), failures === 0 ? QUIET_MS : 0);
      const pause = failures === 0 ? AT_ONCE_S : PAUSES_S[Math.min(failures, PAUSES_S.length) - 1];
      setTimeout(connect, pause * 1000);
      failures += 1;
    });
  }
  connect();
}

function parsed(text, use) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return;
  }
  use(value);
}
