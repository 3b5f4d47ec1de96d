// The rows of an evaluation, page by page. What is looked at stands in the address, so that it can be shared.
import { ask, begin, endpoint, find, input, make, notice, said, shown } from "/pages/ask.js";

const run = find("run").dataset.name;
const LIMIT = 50;
const wanted = new URLSearchParams(window.location.search);
let offset = Number(wanted.get("offset")) || 0;

function details({ prompt, warnings, seconds }) {
  const took = seconds === null ? "" : `, ${Number((1000 * seconds).toPrecision(2))} ms`;
  const notes = warnings.map((warning) => make("p", { className: "faint" }, warning));
  if (prompt === null) return notes;
  return [make("details", {}, make("summary", {}, `prompt${took}`), make("pre", {}, prompt)), ...notes];
}

function row(one) {
  const cell = (title, look, ...inside) => make("td", { className: look, data: { title } }, ...inside);
  const answer = one.error === null ? make("span", {}, said(one.outcome)) : make("span", { className: "broken" }, one.error);
  const attempt = one.attempt > 0 ? make("small", {}, `try ${one.attempt + 1}`) : null;
  return make("tr", { className: one.error !== null || (one.score !== null && one.score < 1) ? "wrong" : "" },
    make("th", { scope: "row" }, `${one.row}`),
    cell("Input", "long", input(one.input)),
    cell("Expected", "long", shown(one.expected)),
    cell("Candidate", "", one.candidate, attempt),
    cell("Answer", "long", answer, ...details(one)),
    cell("Score", "right", one.score === null ? "–" : Number(one.score.toFixed(3)).toString()),
    cell("Sure", "right", one.confidence === null ? "–" : `${(100 * one.confidence).toFixed(0)} %`));
}

// Names of candidates come with the first page.
function fill_candidates(names) {
  const select = find("candidate");
  if (select.options.length > 1) return;
  select.append(...names.map((name, place) => make("option", { value: `${place}` }, name)));
  select.value = wanted.get("candidate") ?? "";
}

async function look() {
  // Before the names are there, what the address says.
  const is_first = find("candidate").options.length === 1;
  const parameters = new URLSearchParams({ offset: `${offset}` });
  const chosen = { candidate: is_first ? wanted.get("candidate") : find("candidate").value, only: find("only").value };
  for (const [name, value] of Object.entries(chosen)) if (value) parameters.set(name, value);
  window.history.replaceState(null, "", `?${parameters}`);
  parameters.set("limit", `${LIMIT}`);
  try {
    const { data, total, candidates } = await ask(`${endpoint(run)}/rows?${parameters}`);
    fill_candidates(candidates);
    notice(total ? "" : "There are no such rows.");
    document.querySelector(".rows").hidden = total === 0;
    find("rows").replaceChildren(...data.map(row));
    find("where").textContent = total ? `${offset + 1} to ${offset + data.length} of ${total.toLocaleString("en")}` : "";
    find("back").disabled = offset === 0;
    find("on").disabled = offset + data.length >= total;
  } catch (error) {
    notice(error.message, true);
  }
}

function turn(by) {
  offset = Math.max(0, offset + by);
  look().then(() => window.scrollTo(0, 0));
}

find("only").value = wanted.get("only") ?? "";
for (const id of ["candidate", "only"]) find(id).addEventListener("change", () => turn(-offset));
find("back").addEventListener("click", () => turn(-LIMIT));
find("on").addEventListener("click", () => turn(LIMIT));
begin(look);
