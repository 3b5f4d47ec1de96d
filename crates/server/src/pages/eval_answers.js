// How a row is answered: labels as buttons, an object field by field, a text. Each kind of answer fills the form anew.
import { find, make, notice } from "/pages/ask.js";

// Labels beyond these are looked for by their names.
const KEYS = 9;

// Fills a form for what an answer may be; `save` is given the answer.
export function answering(form, sheet, save) {
  if (sheet.labels !== null) return sheet.several ? several(form, sheet, save) : one(form, sheet, save);
  return sheet.schema !== null ? object(form, sheet, save) : text(form, sheet, save);
}

function label_button({ name, description }, key) {
  const hint = key <= KEYS ? make("kbd", {}, `${key}`) : null;
  const about = description ? make("small", {}, description) : null;
  // A long name may be broken where its words end.
  const parts = name.split(/(?<=[_/.-])/).flatMap((part) => [part, make("wbr")]);
  return make("button", { type: "button", className: "label", data: key <= KEYS ? { key } : {} }, hint, make("span", {}, ...parts, about));
}

// Buttons of all labels, or of those that a search leaves; `press` is given a label and its button.
function labels(form, { labels }, press) {
  const place = make("div", { className: labels.length > KEYS ? "choices many" : "choices" });
  const fill = (part) => {
    const found = labels.filter(({ name, description }) => `${name} ${description ?? ""}`.toLowerCase().includes(part.toLowerCase()));
    const buttons = found.map((label, index) => {
      const button = label_button(label, index + 1);
      button.addEventListener("click", () => press(label, button));
      return button;
    });
    place.replaceChildren(...buttons);
  };
  fill("");
  if (labels.length > KEYS) {
    const search = make("input", { id: "search", type: "search", placeholder: "look for a label, Enter takes the first", autocomplete: "off", "aria-label": "Look for a label" });
    search.addEventListener("input", () => fill(search.value));
    search.addEventListener("keydown", (event) => {
      if (event.key === "Escape") search.blur();
      if (event.key !== "Enter") return;
      event.preventDefault();
      place.querySelector("button")?.click();
    });
    form.append(search);
    // On a phone the field would bring up the keyboard over the text.
    if (window.matchMedia("(hover: hover)").matches) search.focus({ preventScroll: true });
  }
  form.append(place);
}

function one(form, sheet, save) {
  form.onsubmit = (event) => event.preventDefault();
  form.replaceChildren();
  labels(form, sheet, ({ name }) => save(name));
  if (sheet.none === null) return;
  const none = make("button", { type: "button", className: "label none", data: { key: 0 } }, make("kbd", {}, "0"), make("span", {}, sheet.none));
  none.addEventListener("click", () => save(null));
  form.append(none);
}

function several(form, sheet, save) {
  const chosen = new Set();
  form.replaceChildren();
  const submit = make("button", { className: "save" }, "None of them");
  const press = ({ name }, button) => {
    if (!chosen.delete(name)) chosen.add(name);
    button.setAttribute("aria-pressed", chosen.has(name));
    submit.textContent = chosen.size ? `Save: ${[...chosen].join(", ")}` : "None of them";
  };
  labels(form, sheet, press);
  form.append(submit);
  form.onsubmit = (event) => {
    event.preventDefault();
    // In the order of the task, however they were pressed.
    save(sheet.labels.map(({ name }) => name).filter((name) => chosen.has(name)));
  };
}

// Sends with Ctrl and Enter, as Enter alone is a new line.
function area(properties) {
  const area = make("textarea", properties);
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) area.form.requestSubmit();
  });
  return area;
}

function text(form, sheet, save) {
  const answer = area({ rows: 5, required: true, "aria-label": "The right answer" });
  form.replaceChildren(answer, make("button", { className: "save", title: "Ctrl+Enter" }, "Save"));
  form.onsubmit = (event) => {
    event.preventDefault();
    save(answer.value);
  };
  if (sheet.may_be_empty) {
    const none = make("button", { type: "button", data: { key: 0 } }, make("kbd", {}, "0"), " The text does not answer it");
    none.addEventListener("click", () => save(""));
    form.append(none);
  }
  if (window.matchMedia("(hover: hover)").matches) answer.focus({ preventScroll: true });
}

const types = (schema) => [schema.type ?? []].flat();
const is_simple = (schema) => types(schema).length > 0 && types(schema).every((type) => ["string", "number", "integer", "null"].includes(type)) && !schema.enum;

// A field for each property where all are texts and numbers, else the JSON of the object. The server checks it by the schema.
function object(form, sheet, save) {
  const properties = Object.entries(sheet.schema.properties ?? {});
  const is_flat = properties.length > 0 && properties.every(([, schema]) => is_simple(schema));
  const json = area({ rows: 8, spellcheck: false, value: "{\n}", "aria-label": "The right object, as JSON" });
  const about = make("details", {}, make("summary", {}, "schema"), make("pre", {}, JSON.stringify(sheet.schema, null, 1)));
  const fields = properties.map(([name, schema]) => {
    const input = make("input", { id: `field ${name}`, name, autocomplete: "off", inputMode: types(schema).some((type) => ["number", "integer"].includes(type)) ? "decimal" : "text" });
    return make("label", {}, name, schema.description ? make("small", {}, schema.description) : null, input);
  });
  form.replaceChildren(...(is_flat ? fields : [json, about]), make("button", { className: "save" }, "Save"));
  form.onsubmit = (event) => {
    event.preventDefault();
    if (is_flat) return save(read(properties, sheet.schema.required ?? []));
    let answer;
    try {
      answer = JSON.parse(json.value);
    } catch (error) {
      return notice(`expected JSON: ${error.message}`, true);
    }
    save(answer);
  };
  if (is_flat && window.matchMedia("(hover: hover)").matches) find(`field ${properties[0][0]}`).focus({ preventScroll: true });
}

// What stands in the fields; an empty one is null where that may be, else it is left out where it may be missing.
function read(properties, required) {
  const answer = {};
  for (const [name, schema] of properties) {
    const value = find(`field ${name}`).value.trim();
    const is_number = !types(schema).includes("string");
    if (value !== "") answer[name] = is_number && Number.isFinite(Number(value)) ? Number(value) : value;
    else if (types(schema).includes("null")) answer[name] = null;
    else if (required.includes(name)) answer[name] = "";
  }
  return answer;
}
