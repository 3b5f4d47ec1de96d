// The page to answer test rows that have no right answer yet: one row after the other, each written into the table at once.
// It shows no answer of a model: whoever sees one agrees with it too often.
import { ask, begin, count, find, make, notice, shown } from "/pages/ask.js";
import { answering } from "/pages/eval_answers.js";

const task = find("task").dataset.name;
const path = `/v1/tasks/${encodeURIComponent(task)}/labels`;
let sheet = null;
// Rows that wait, the one that is shown, and those that were answered here, the newest last.
let waiting = [];
let current = null;
const answered = [];
let skipped = 0;
let is_saving = false;

function show_left() {
  find("left").textContent = `${count(sheet.unlabelled, "row", "rows")} of ${sheet.rows.toLocaleString("en")} to answer`;
  Object.assign(find("bar"), { max: Math.max(1, sheet.rows), value: sheet.rows - sheet.unlabelled });
  find("undo").disabled = answered.length === 0;
}

// The fields of a row, or its text alone.
function show_input(fields) {
  const entries = Object.entries(fields);
  const text = ([name, value]) => [entries.length > 1 ? make("h3", {}, name) : null, make("p", { className: "text" }, shown(value))];
  find("input").replaceChildren(...entries.flatMap(text).filter((part) => part !== null));
}

function show(row) {
  current = row;
  const is_there = row !== null;
  for (const id of ["row", "answer"]) find(id).hidden = !is_there;
  find("skip").hidden = !is_there;
  find("moves").hidden = false;
  show_left();
  if (!is_there) return show_end();
  find("number").textContent = `Row ${row.row}`;
  show_input(row.input);
  answering(find("answer"), sheet, save);
}

function show_end() {
  if (sheet.unlabelled === 0) return notice(`All ${sheet.rows.toLocaleString("en")} rows have an answer, in ${sheet.table}. \`bantam eval ${task}.toml\` judges by them.`);
  notice(`${count(skipped, "row was", "rows were")} skipped; reload the page to look at ${skipped === 1 ? "it" : "them"} again.`);
}

async function next() {
  if (waiting.length === 0 && (sheet === null || sheet.has_more)) {
    const after = current?.row ?? 0;
    sheet = await ask(`${path}?after=${after}`);
    waiting = sheet.data;
    find("instructions").textContent = sheet.instructions ?? "";
  }
  show(waiting.shift() ?? null);
}

async function save(answer) {
  if (is_saving || current === null) return;
  is_saving = true;
  try {
    const written = await ask(path, { body: { row: current.row, version: current.version, answer } });
    answered.push({ ...current, version: written.version });
    sheet.unlabelled = written.unlabelled;
    notice(`Row ${current.row}: ${answer === "" ? "no answer" : shown(answer)}. Written.`);
    await next();
  } catch (error) {
    notice(error.message, true);
    // The table was changed by somebody else: what waits here may be other rows by now.
    if (error.status === 409) await restart(error.message);
  } finally {
    is_saving = false;
  }
}

async function restart(why) {
  [sheet, waiting, current] = [null, [], null];
  answered.length = 0;
  await look();
  notice(why, true);
}

async function skip() {
  if (current === null || is_saving) return;
  skipped += 1;
  notice(`Row ${current.row} was skipped.`);
  await next().catch((error) => notice(error.message, true));
}

// The last row comes back, to be answered anew.
function undo() {
  const last = answered.pop();
  if (last === undefined || is_saving) return;
  if (current !== null) waiting.unshift(current);
  notice(`Row ${last.row} once more: its answer stands in the table until you give another.`);
  show(last);
}

async function look() {
  try {
    [sheet, waiting, current] = [null, [], null];
    notice("");
    await next();
  } catch (error) {
    notice(error.message, true);
  }
}

find("skip").addEventListener("click", skip);
find("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  const is_typing = event.target.closest("input, textarea, select") !== null;
  if (is_typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "s") skip();
  else if (event.key === "z") undo();
  else if (/^[0-9]$/.test(event.key)) find("answer").querySelector(`[data-key="${event.key}"]`)?.click();
  else if (event.key === "/") find("search")?.focus();
  else return;
  event.preventDefault();
});
begin(look);
