// Two evaluations beside each other: what got worse, what got better. Rows are known by what they say.
import { address, ask, begin, count, endpoint, find, input, make, notice, said, share } from "/pages/ask.js";

const wanted = new URLSearchParams(window.location.search);

function table(rows) {
  const cell = (title, look, ...inside) => make("td", { className: look, data: { title } }, ...inside);
  const line = (one) => make("tr", {},
    make("th", { scope: "row" }, `${one.row}`),
    cell("Input", "long", input(one.input)),
    cell("Before", "long", said(one.outcome_before), make("small", {}, share(one.before))),
    cell("After", "long", said(one.outcome_after), make("small", {}, share(one.after))));
  const head = make("thead", {}, make("tr", {}, ...["Row", "Input", "Before", "After"].map((title) => make("th", {}, title))));
  return make("table", { className: "stack rows" }, head, make("tbody", {}, ...rows.map(line)));
}

function part(words, look, all, rows) {
  if (all === 0) return null;
  const rest = all > rows.length ? make("p", { className: "faint" }, `The first ${rows.length} of ${all}.`) : null;
  return make("section", {}, make("h3", {}, make("span", { className: `badge ${look}` }, `${count(all, "row", "rows")} ${words}`)), rest, table(rows));
}

function change(one) {
  const name = one.before === one.after ? one.after : `${one.before} to ${one.after}`;
  const p = one.p < 0.001 ? "p < 0.001" : `p = ${one.p.toFixed(3)}`;
  const only = [[one.only_before, "before"], [one.only_after, "after"]].filter(([rows]) => rows > 0);
  const asides = only.map(([rows, when]) => make("p", { className: "faint" }, `${count(rows, "row has", "rows have")} a score only ${when}.`));
  return make("article", { className: "change" },
    make("h2", {}, name),
    make("p", { className: "headline" }, `${share(one.mean_before)} → ${share(one.mean_after)}`),
    make("p", {}, `Over ${count(one.rows, "row", "rows")}: ${one.better} better, ${one.worse} worse, ${one.changed} with another answer of the same score. So uneven a split, if neither were better: ${p}.`),
    ...asides,
    part("worse", "bad", one.worse, one.worse_rows),
    part("better", "good", one.better, one.better_rows));
}

// Both lists have all runs, the newest first.
async function fill() {
  const runs = (await ask("/v1/evaluations")).data;
  for (const id of ["a", "b"]) {
    find(id).replaceChildren(make("option", { value: "" }, "choose"), ...runs.map((run) => make("option", { value: run.id }, run.id)));
    find(id).value = wanted.get(id) ?? "";
  }
}

async function look() {
  find("changes").replaceChildren();
  try {
    await fill();
    const [a, b] = [wanted.get("a"), wanted.get("b")];
    if (!a || !b) return notice("Choose two evaluations.");
    const { data } = await ask(`${endpoint(a)}/changes/${encodeURIComponent(b)}`);
    const has_rows = data.some((one) => one.rows > 0);
    notice(has_rows ? "" : `${a} and ${b} have no row in common. Evaluations are compared on rows that say the same.`);
    const links = make("p", { className: "faint" }, "Rows are numbered as in ", make("a", { href: address(b) }, b), "; before is ", make("a", { href: address(a) }, a), ".");
    if (has_rows) find("changes").replaceChildren(links, ...data.map(change));
  } catch (error) {
    notice(error.message, true);
  }
}

for (const id of ["a", "b"]) {
  find(id).addEventListener("change", () => {
    wanted.set(id, find(id).value);
    window.history.replaceState(null, "", `?${wanted}`);
    look();
  });
}
begin(look);
