// What the pages of evaluations share: asking this server with the reader's key, and putting text onto the page.

export const find = (id) => document.getElementById(id);
const store = window.sessionStorage;

// What an address answers, as JSON or as text; an error has the server's own words.
export async function ask(path, { body, as = "json" } = {}) {
  const key = find("key").value.trim();
  const headers = key ? { authorization: `Bearer ${key}` } : {};
  const request = body === undefined ? { headers } : { method: "POST", headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Error("The server does not answer.");
  }
  if (response.ok) return as === "json" ? response.json() : response.text();
  const failure = await response.json().catch(() => null);
  throw Object.assign(new Error(failure?.error?.message ?? `The server answers ${response.status}.`), { status: response.status });
}

// Runs at once, and again when the reader gives another key.
export function begin(run) {
  find("key").value = store.getItem("key") || "";
  find("key").addEventListener("change", () => {
    store.setItem("key", find("key").value);
    run();
  });
  run();
}

export function notice(text, is_bad = false) {
  find("notice").className = is_bad ? "bad" : "";
  find("notice").textContent = text;
}

// An element with its properties, `data` and `aria-..` among them, and what is in it. Text stays text.
export function make(name, properties = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "data") Object.assign(element.dataset, value);
    else if (key.startsWith("aria-")) element.setAttribute(key, value);
    else element[key] = value;
  }
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

export const address = (run) => `/evals/${encodeURIComponent(run)}`;
export const endpoint = (run) => `/v1/evaluations/${encodeURIComponent(run)}`;

export function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

export function share(value) {
  return value.toFixed(3);
}

const VERDICTS = { good_enough: ["good", "good enough"], not_good_enough: ["bad", "not good enough"], not_enough_evidence: ["open", "not enough evidence"] };
const STATES = { running: ["now", "running"], stopped: ["plain", "not ended"], ended: ["plain", "no threshold"] };

// The verdict of an evaluation, or what has become of it.
export function badge({ state, verdict }) {
  const [look, words] = VERDICTS[verdict] ?? STATES[state];
  return make("span", { className: `badge ${look}` }, words);
}

// A value as people read it.
export function shown(value) {
  if (value === null || value === undefined) return "none";
  if (Array.isArray(value) && value.every((part) => typeof part === "string")) return value.join("; ") || "none";
  return typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
}

// What an outcome says, whatever its kind calls that.
export function said(outcome) {
  if (outcome === null) return "";
  for (const name of ["label", "labels", "answer", "summary", "completion", "text", "value"]) {
    if (name in outcome) return shown(outcome[name]);
  }
  return shown(outcome);
}

// The fields of an input: the text alone where there is one field.
export function input(fields) {
  if (!fields) return "–";
  const entries = Object.entries(fields);
  if (entries.length === 1) return shown(entries[0][1]);
  return entries.map(([name, value]) => `${name}: ${shown(value)}`).join("\n");
}
