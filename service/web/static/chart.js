// The chart of a metric over time. The page holds the spec, another address the points; colours are the style sheet's.
const figure = document.getElementById("chart");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const narrow = window.matchMedia("(max-width: 40rem)");
const COLOURS = 8;
// More lines than this nobody tells apart: they are drawn, and have no button each.
const BUTTONS = 100;
const DASHES = [[1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 2, 1, 2]];

if (figure) {
  draw(figure).catch((error) => say(figure, `The chart can't be drawn: ${error.message} The table needs no script.`));
}

async function draw(figure) {
  say(figure, "Loading…");
  const answer = await fetch(figure.dataset.series, { headers: { accept: "application/json" } });
  const series = await answer.json();
  if (!answer.ok) throw new Error(series.error || "the points did not come.");
  const total = series.points.value.length;
  const undrawn = series.points.value.filter((value) => value === null).length;
  const drawn = `${(total - undrawn).toLocaleString("en")} point${total - undrawn === 1 ? "" : "s"}`;
  say(figure, total === 0 ? "There are no such points." : undrawn === 0 ? `${drawn}.` : `${drawn}; ${undrawn.toLocaleString("en")} more are not finite, and only in the table.`);
  if (total === undrawn) return;

  const picked = new Set();
  const names = namesOf(series, figure.dataset.by);
  let view = null;
  const show = async () => {
    const embedded = await embed(figure, series, names);
    if (view) view.finalize();
    view = embedded.view;
    view.signal("picked", [...picked]);
    await view.runAsync();
  };
  legend(figure, names, picked, () => view && view.signal("picked", [...picked]).runAsync());
  await show();
  dark.addEventListener("change", show);
}

// The lines' names, by their place; what has no value of the parameter comes last.
function namesOf(series, by) {
  const names = series.series.slice();
  if (series.points.series.includes(null)) names.push(by ? `without ${by}` : "all trainings");
  return names;
}

function themed() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return {
    lines: Array.from({ length: COLOURS }, (_, place) => colour(`--series-${place + 1}`)),
    ink: colour("--ink"), soft: colour("--soft"), grid: colour("--line"),
    marks: { failed: colour("--bad"), error: colour("--warn"), overridden: colour("--warn") },
  };
}

async function embed(figure, series, names) {
  const theme = themed();
  const { points } = series;
  const total = points.value.length;
  const size = total > 5000 ? 7 : total > 800 ? 16 : 42;
  const rows = [];
  for (let at = 0; at < total; at += 1) {
    if (points.value[at] === null) continue;
    const line = points.series[at] === null ? names.length - 1 : points.series[at];
    const state = series.states[points.state[at]];
    rows.push({
      created_at: points.created_at[at], value: points.value[at], version: points.version[at],
      series: line, colour: theme.lines[line % COLOURS], dash: DASHES[Math.floor(line / COLOURS) % DASHES.length],
      state, mark: theme.marks[state] || theme.ink, ink: theme.ink, deployed: points.deployed[at] === 1, size,
    });
  }
  const spec = JSON.parse(figure.dataset.spec);
  spec.data = { name: "points", values: rows };
  if (narrow.matches) spec.height = 300;
  const [lines, , , marks] = spec.layer.map((layer) => layer.mark);
  const marked = rows.reduce((sofar, row) => sofar + (row.mark === theme.ink ? 0 : 1), 0);
  // Many marks are small ones: what they stand on is to be seen, too.
  if (marked > 300) Object.assign(marks, { size: 26, strokeWidth: 1.2 });
  if (total > 5000) lines.strokeWidth = 0.8;
  // A layer of nothing has no extent, which Vega warns of.
  if (marked === 0) spec.layer.splice(3, 1);
  if (!rows.some((row) => row.deployed)) spec.layer.splice(2, 1);
  const most = rows.reduce((sofar, row) => Math.max(sofar, Math.abs(row.value)), 0);
  if (most >= 1e5) for (const layer of spec.layer) layer.encoding.y.axis.format = "~s";
  spec.config = config(theme);
  const embedded = await vegaEmbed(figure.querySelector(".plot"), spec, {
    ast: true, actions: false, defaultStyle: false, renderer: "canvas", mode: "vega-lite", tooltip: false,
  });
  follow(figure, embedded.view, names, series);
  return embedded;
}

function config(theme) {
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: theme.soft, titleColor: theme.soft, gridColor: theme.grid, domainColor: theme.soft,
      tickColor: theme.soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", gridOpacity: 0.7,
    },
  };
}

// What is under the pointer is told, and a click opens it.
function follow(figure, view, names, series) {
  const tip = figure.querySelector(".tip");
  view.addEventListener("mousemove", (event, item) => {
    const row = item && item.datum && item.datum.version ? item.datum : null;
    tip.hidden = !row;
    if (!row) return;
    const day = new Date(row.created_at).toISOString().slice(0, 16).replace("T", " ");
    const states = [row.state, row.deployed ? "deployed" : ""].filter(Boolean).join(", ");
    tip.replaceChildren(
      line("strong", names[row.series]), line("span", `version ${row.version}, ${day} UTC`),
      line("span", `${series.metric} ${row.value.toLocaleString("en", { maximumSignificantDigits: 6 })}`), line("span", states),
    );
    const box = figure.getBoundingClientRect();
    const left = event.clientX - box.left;
    tip.style.left = `${left > box.width - 240 ? left - tip.offsetWidth - 14 : left + 14}px`;
    const below = event.clientY + tip.offsetHeight + 20 < window.innerHeight;
    tip.style.top = `${event.clientY - box.top + (below ? 14 : -tip.offsetHeight - 14)}px`;
  });
  view.addEventListener("mouseout", () => { tip.hidden = true; });
  view.addEventListener("click", (event, item) => {
    if (!item || !item.datum || !item.datum.version) return;
    const address = `${figure.dataset.training}&version=${item.datum.version}`;
    if (event.ctrlKey || event.metaKey) window.open(address, "_blank", "noopener");
    else window.location.assign(address);
  });
}

function line(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

// A button for each line: choose some to see them before all others.
function legend(figure, names, picked, changed) {
  const list = figure.querySelector(".legend");
  if (names.length > BUTTONS) {
    list.replaceChildren(line("li", `${names.length.toLocaleString("en")} lines are too many to tell apart: choose some values, or another parameter.`));
    return;
  }
  list.replaceChildren(...names.map((name, place) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(sample(place), name);
    button.addEventListener("click", () => {
      if (picked.has(place)) picked.delete(place); else picked.add(place);
      button.setAttribute("aria-pressed", String(picked.has(place)));
      changed();
    });
    item.append(button);
    return item;
  }));
}

function sample(place) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 28 10");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", "M0,5H28");
  path.setAttribute("class", `series-${(place % COLOURS) + 1}`);
  path.setAttribute("stroke-dasharray", DASHES[Math.floor(place / COLOURS) % DASHES.length].join(" "));
  svg.append(path);
  return svg;
}

function say(figure, text) {
  figure.querySelector(".status").textContent = text;
}
