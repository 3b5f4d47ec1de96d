// The list of evaluations, the newest first, and the tasks whose test rows wait for an answer.
import { address, ask, badge, begin, count, duration, find, make, notice } from "/pages/ask.js";

const chosen = new Set();
let runs = [];

function when(created) {
  const seconds = (Date.now() - created) / 1000;
  return make("time", { dateTime: new Date(created).toISOString(), title: new Date(created).toLocaleString() }, `${duration(Math.max(1, seconds))} ago`);
}

function choose(run, is_chosen) {
  if (is_chosen) chosen.add(run);
  else chosen.delete(run);
  find("compare").disabled = chosen.size !== 2;
}

function row(run) {
  const box = make("input", { type: "checkbox", checked: chosen.has(run.id), "aria-label": `Compare ${run.id}` });
  box.addEventListener("change", () => choose(run.id, box.checked));
  const cell = (title, ...inside) => make("td", { data: { title } }, ...inside);
  return make("tr", {},
    make("th", { scope: "row" }, make("a", { href: address(run.id) }, run.id), make("small", {}, `${run.task}, ${run.kind}`)),
    cell("Verdict", badge(run)),
    cell("Take", run.recommended ?? "–"),
    cell("Candidates", run.candidates.join(", ")),
    make("td", { className: "right", data: { title: "Rows" } }, run.rows === null ? "–" : run.rows.toLocaleString("en")),
    make("td", { className: "right", data: { title: "Looked at" } }, count(run.looks, "time", "times")),
    cell("Begun", when(run.created)),
    cell("Compare", box));
}

async function look() {
  try {
    runs = (await ask("/v1/evaluations")).data;
    notice(runs.length ? "" : "There is no evaluation yet. `bantam eval TASK.toml` makes the first one.");
    document.querySelector(".runs").hidden = runs.length === 0;
    find("choice").hidden = runs.length < 2;
    find("runs").replaceChildren(...runs.map(row));
    await labels();
  } catch (error) {
    notice(error.message, true);
  }
}

// Tasks that this server does, with how many rows of their test wait for an answer, or why none can be written.
async function labels() {
  const { data } = await ask("/v1/tasks");
  const line = async ({ id }) => {
    const page = make("a", { href: `/evals/label/${encodeURIComponent(id)}` }, id);
    try {
      const sheet = await ask(`/v1/tasks/${encodeURIComponent(id)}/labels?limit=0`);
      if (sheet.unlabelled === 0) return null;
      return make("li", {}, "Answer ", page, `: ${count(sheet.unlabelled, "row", "rows")} of ${sheet.rows} ${sheet.unlabelled === 1 ? "has" : "have"} no right answer yet`);
    } catch (error) {
      return make("li", { className: "faint" }, `${id}: ${error.message.split("\n")[0]}`);
    }
  };
  const lines = await Promise.all(data.map(line));
  find("labels").replaceChildren(...lines.filter((line) => line !== null));
}

find("compare").addEventListener("click", () => {
  // The list has the newest first; what is compared with comes first.
  const [later, earlier] = runs.filter((run) => chosen.has(run.id)).map((run) => encodeURIComponent(run.id));
  window.location.assign(`/evals/compare?a=${earlier}&b=${later}`);
});
begin(look);
