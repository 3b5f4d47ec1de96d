// The status page: asks /status.json every second and draws what came. Speeds are differences of counts over the server's own clock.
"use strict";

const find = (id) => document.getElementById(id);
const store = window.sessionStorage;
const POINTS = 120;
const SVG = "http://www.w3.org/2000/svg";
const series = { requests: [], generated: [], prompt: [], pages: [] };
let before = null;

function push(name, value) {
  series[name].push(value);
  if (series[name].length > POINTS) series[name].shift();
}

// A line over a filled ground; the newest point is at the right edge.
function draw(name, least) {
  const svg = find(`plot_${name}`);
  const values = series[name];
  const top = Math.max(least, ...values);
  svg.setAttribute("viewBox", `0 0 ${POINTS - 1} 30`);
  svg.setAttribute("preserveAspectRatio", "none");
  const points = values.map((value, index) => `${POINTS - values.length + index},${(29 - (value / top) * 27).toFixed(2)}`);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("class", "stroke");
  line.setAttribute("points", points.join(" "));
  const ground = document.createElementNS(SVG, "polygon");
  ground.setAttribute("class", "fill");
  ground.setAttribute("points", `${POINTS - values.length},30 ${points.join(" ")} ${POINTS - 1},30`);
  svg.replaceChildren(ground, line);
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count.toFixed(unit && count < 100 ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds === null) return "never";
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function percent(part, whole) {
  return whole ? `${Math.round((100 * part) / whole)} %` : "–";
}

function row(cells) {
  const row = document.createElement("tr");
  for (const cell of cells) {
    const place = document.createElement("td");
    place.textContent = cell;
    row.append(place);
  }
  return row;
}

// How much all models have counted since the last time; a model that was loaded anew counts from 0.
function since(now, count) {
  if (!before) return 0;
  let sum = 0;
  for (const model of now.models) {
    const old = before.models.find((other) => other.name === model.name);
    const from = old && old.activity[count] <= model.activity[count] ? old.activity[count] : 0;
    sum += old ? model.activity[count] - from : 0;
  }
  return sum / Math.max(0.001, now.seconds - before.seconds);
}

function show(now) {
  const generated = since(now, "generated_tokens");
  const prompt = since(now, "prompt_tokens");
  const pages = now.models.reduce((sum, model) => sum + model.activity.pages, 0);
  const used = now.models.reduce((sum, { activity }) => sum + activity.pages - activity.free_pages - activity.cached_pages, 0);
  push("requests", now.under_way);
  push("generated", generated);
  push("prompt", prompt);
  push("pages", pages ? used / pages : 0);
  find("under_way").textContent = `${now.under_way} of ${now.most_requests}`;
  find("generated").textContent = generated.toFixed(0);
  find("prompt").textContent = prompt.toFixed(0);
  find("pages").textContent = percent(used, pages);
  draw("requests", 4);
  draw("generated", 10);
  draw("prompt", 10);
  draw("pages", 1);
  const rows = now.models.map(({ name, quantization, memory_bytes: memory, context, seconds_left: left, activity }) =>
    row([
      `${name} ${quantization}`,
      bytes(memory),
      context,
      activity.running,
      activity.waiting,
      `${activity.pages - activity.free_pages - activity.cached_pages} / ${activity.cached_pages} / ${activity.pages}`,
      percent(activity.prefix_hits, activity.prefix_queries),
      activity.preemptions,
      duration(left),
    ]),
  );
  find("models").replaceChildren(...(rows.length ? rows : [row(["none"])]));
  before = now;
}

async function look() {
  const key = find("key").value.trim();
  try {
    const response = await fetch("/status.json", { headers: key ? { authorization: `Bearer ${key}` } : {} });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    show(answer);
    find("notice").className = "";
    find("notice").textContent = answer.is_ending ? "The server is about to end." : `Up ${duration(Math.floor(answer.seconds))}.`;
  } catch (error) {
    find("notice").className = "bad";
    find("notice").textContent = error instanceof TypeError ? "The server does not answer." : error.message;
  }
  window.setTimeout(look, 1000);
}

find("key").value = store.getItem("key") || "";
find("key").addEventListener("change", () => store.setItem("key", find("key").value));
look();
