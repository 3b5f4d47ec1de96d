// One evaluation: how far each candidate is while it runs, its report once it has ended.
import { ask, begin, count, duration, endpoint, find, make, notice, share } from "/pages/ask.js";

const run = find("run").dataset.name;
const LOOK_MS = 2000;
let timer = 0;
let has_report = false;

function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null);
  return make("dl", {}, ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function candidate(one, metric, state) {
  const words = { waiting: "waits for its turn", now: state === "running" ? "is asked" : "was asked last", done: "done" };
  const bar = make("progress", { max: one.all ?? 1, value: one.turn === "done" ? (one.all ?? 1) : Math.min(one.done, one.all ?? 0), "aria-label": `${one.name}: rows judged` });
  const figure = one.figure && `${share(one.figure.value)} (${share(one.figure.low)} to ${share(one.figure.high)})`;
  return make("article", { className: one.turn },
    make("h2", {}, one.name, make("small", {}, words[one.turn])),
    bar,
    facts([
      ["Rows", one.all === null ? one.done.toLocaleString("en") : `${one.done.toLocaleString("en")} of ${one.all.toLocaleString("en")}`],
      [`${metric} so far`, figure],
      ["Rows a second", one.rows_per_second && one.rows_per_second.toFixed(1)],
      ["Left", one.seconds_left && one.done < one.all ? duration(one.seconds_left) : null],
      ["Failed", one.failed ? count(one.failed, "row", "rows") : null],
    ]));
}

function show_progress({ progress, metric, threshold, state }) {
  const goal = threshold === null ? "" : ` The goal is ${metric} of ${threshold}.`;
  const stopped = "Nobody is at it: it was stopped before its last row. The command that began it goes on with it, and asks only what is left.";
  notice(state === "running" ? `It is running.${goal}` : stopped);
  find("progress").replaceChildren(...progress.map((one) => candidate(one, metric, state)));
}

// The report is a page of its own, without scripts; as a blob it may be shown here and saved.
async function show_report() {
  const html = await ask(`${endpoint(run)}/report.html`, { as: "text" });
  const frame = find("report");
  frame.addEventListener("load", () => fit(frame), { once: true });
  frame.src = URL.createObjectURL(new Blob([html], { type: "text/html;charset=utf-8" }));
  frame.hidden = false;
  Object.assign(find("save"), { href: frame.src, download: `${run.replaceAll("/", "-")}.html`, hidden: false });
  find("progress").replaceChildren();
  notice("");
  has_report = true;
}

// As tall as what is in it, which grows when the reader opens a part.
function fit(frame) {
  const page = frame.contentDocument.documentElement;
  const grow = () => { frame.style.height = `${Math.ceil(page.getBoundingClientRect().height)}px`; };
  new ResizeObserver(grow).observe(page);
  grow();
}

async function look() {
  window.clearTimeout(timer);
  if (has_report) return;
  const began = performance.now();
  try {
    const now = await ask(endpoint(run));
    if (now.report !== null) return await show_report();
    show_progress(now);
  } catch (error) {
    notice(error.message, true);
    if (error.status !== undefined && error.status < 500) return;
  }
  // A large run takes a while to look at: most of the time is left to those who ask models.
  timer = window.setTimeout(look, Math.max(LOOK_MS, 10 * (performance.now() - began)));
}

begin(look);
