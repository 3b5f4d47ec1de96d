// The playground: asks /v1/chat/completions as any program would, and shows the answer as it comes.
// The key and the conversation live in this tab alone (sessionStorage): a reload keeps them, closing the tab forgets them.
"use strict";

const find = (id) => document.getElementById(id);
const store = window.sessionStorage;
const FIELDS = ["model", "system", "temperature", "top_p", "max_tokens", "seed"];
const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

let messages = JSON.parse(store.getItem("messages") || "[]");
let running = null;

function headers() {
  const headers = { "content-type": "application/json" };
  const key = find("key").value.trim();
  if (key) headers.authorization = `Bearer ${key}`;
  return headers;
}

function notice(text, bad = false) {
  find("notice").textContent = text;
  find("notice").className = bad ? "bad" : "";
}

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

// A turn of the conversation on the page, with the places that its parts go to.
function show(message) {
  const turn = element("div", `turn ${message.role}`);
  turn.append(element("div", "who", message.role === "user" ? "You" : message.model || "Model"));
  const thought = document.createElement("details");
  thought.append(element("summary", "", "Thought"), element("div", "text", message.thought || ""));
  thought.hidden = !message.thought;
  const text = element("div", "text", message.content);
  const speed = element("div", "speed", message.speed || "");
  turn.append(thought, text, speed);
  find("log").append(turn);
  find("log").scrollTop = find("log").scrollHeight;
  return { turn, thought, thoughtText: thought.lastChild, text, speed };
}

function keep() {
  store.setItem("messages", JSON.stringify(messages));
}

// The body that asks for the next answer.
function body(conversation, stream) {
  const asked = { model: find("model").value, messages: [] };
  const system = find("system").value.trim();
  if (system) asked.messages.push({ role: "system", content: system });
  for (const { role, content } of conversation) asked.messages.push({ role, content });
  for (const name of NUMBERS) {
    const value = find(name).value.trim();
    if (value !== "") asked[name] = Number(value);
  }
  if (stream) Object.assign(asked, { stream: true, stream_options: { include_usage: true } });
  return asked;
}

async function reason(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return error.message || error;
  } catch {
    return `status ${response.status}`;
  }
}

async function listModels() {
  const select = find("model");
  const chosen = select.value || store.getItem("model");
  try {
    const response = await fetch("/v1/models", { headers: headers() });
    if (!response.ok) throw new Error(await reason(response));
    const models = (await response.json()).data;
    select.replaceChildren();
    for (const model of models) {
      const option = element("option", "", model.loaded ? `${model.id} (in memory)` : model.id);
      option.value = model.id;
      select.append(option);
    }
    const first = models.find((model) => model.id === chosen) || models.find((model) => model.loaded) || models[0];
    if (first) select.value = first.id;
    notice(models.length ? "" : "No model in the store yet: bantam pull fetches one.");
  } catch (error) {
    select.replaceChildren(element("option", "", "none"));
    select.firstChild.value = "";
    notice(error.message, true);
  }
}

// The data of server-sent events, one by one.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let left = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (left + value).split("\n\n");
    left = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function setRunning(controller) {
  running = controller;
  find("send").hidden = Boolean(controller);
  find("stop").hidden = !controller;
  document.body.dataset.running = controller ? "yes" : "no";
}

async function ask(question) {
  if (!find("model").value) return notice("Choose a model first.", true);
  messages.push({ role: "user", content: question });
  show(messages.at(-1));
  keep();
  const answer = { role: "assistant", model: find("model").value, content: "", thought: "", speed: "" };
  const place = show(answer);
  const controller = new AbortController();
  setRunning(controller);
  notice("Waiting for the first token…");
  const begin = performance.now();
  let first = 0;
  let last = 0;
  let pieces = 0;
  let usage = null;
  let end = "";
  const stays = find("log").scrollHeight - find("log").scrollTop - find("log").clientHeight < 40;
  try {
    const request = { method: "POST", headers: headers(), body: JSON.stringify(body(messages, true)), signal: controller.signal };
    const response = await fetch("/v1/chat/completions", request);
    if (!response.ok) throw new Error(await reason(response));
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      usage = event.usage || usage;
      const choice = event.choices && event.choices[0];
      if (!choice) continue;
      end = choice.finish_reason || end;
      const { content, reasoning_content: thought } = choice.delta;
      if (!content && !thought) continue;
      last = performance.now();
      first = first || last;
      pieces += 1;
      answer.content += content || "";
      answer.thought += thought || "";
      place.text.textContent = answer.content;
      place.thoughtText.textContent = answer.thought;
      place.thought.hidden = !answer.thought;
      const seconds = (last - first) / 1000;
      notice(seconds > 0.2 ? `${(pieces / seconds).toFixed(1)} pieces/s` : "Answering…");
      if (stays) find("log").scrollTop = find("log").scrollHeight;
    }
    notice(end === "length" ? "Cut at max tokens, or where the context ended." : "");
  } catch (error) {
    if (error.name === "AbortError") {
      notice("Stopped.");
      end = "stopped";
    } else {
      notice("");
      place.turn.append(element("div", "broken", error.message));
    }
  }
  setRunning(null);
  answer.speed = speed({ begin, first, last, pieces, usage, end });
  place.speed.textContent = answer.speed;
  if (answer.content || answer.thought) messages.push(answer);
  else messages.pop();
  keep();
  find("question").focus();
}

function speed({ begin, first, last, pieces, usage, end }) {
  if (!first) return "";
  const parts = [`first token after ${((first - begin) / 1000).toFixed(2)} s`];
  const seconds = (last - first) / 1000;
  // Who stops an answer is not told its tokens any more; pieces are tokens but for parts of characters.
  if (!usage && seconds > 0) parts.unshift(`${((pieces - 1) / seconds).toFixed(1)} pieces/s`);
  if (usage) {
    if (usage.completion_tokens > 1 && seconds > 0) parts.unshift(`${((usage.completion_tokens - 1) / seconds).toFixed(1)} tokens/s`);
    parts.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  }
  if (end === "stopped") parts.push("stopped");
  return parts.join(" · ");
}

async function copyCurl() {
  const question = find("question").value.trim();
  const asked = messages.length && messages.at(-1).role === "assistant" ? messages.slice(0, -1) : messages;
  const conversation = question ? [...messages, { role: "user", content: question }] : asked;
  const json = JSON.stringify(body(conversation, false)).replaceAll("'", "'\\''");
  const key = find("key").value.trim() ? ' \\\n  -H "authorization: Bearer $BANTAM_API_KEY"' : "";
  const line = `curl ${location.origin}/v1/chat/completions${key} \\\n  -H 'content-type: application/json' \\\n  -d '${json}'`;
  try {
    await navigator.clipboard.writeText(line);
    notice("Copied.");
  } catch {
    // Without a clipboard (plain HTTP from elsewhere) the line is shown instead.
    find("question").value = line;
    notice("The browser gives no clipboard here: copy it from the field below.");
  }
  document.body.dataset.curl = line;
}

find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = find("question").value.trim();
  if (!question || running) return;
  find("question").value = "";
  ask(question);
});
find("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    find("ask").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running) running.abort();
});
find("stop").addEventListener("click", () => running && running.abort());
find("curl").addEventListener("click", copyCurl);
find("clear").addEventListener("click", () => {
  if (running) running.abort();
  messages = [];
  keep();
  find("log").replaceChildren();
  notice("");
  find("question").focus();
});
find("settings").addEventListener("submit", (event) => event.preventDefault());
find("key").addEventListener("change", () => {
  store.setItem("key", find("key").value);
  listModels();
});
for (const name of FIELDS) find(name).addEventListener("change", () => store.setItem(name, find(name).value));

find("key").value = store.getItem("key") || "";
for (const name of FIELDS) {
  const kept = store.getItem(name);
  if (kept !== null && name !== "model") find(name).value = kept;
}
messages.forEach(show);
if (window.matchMedia("(max-width: 48rem)").matches) find("more").open = false;
setRunning(null);
listModels();
