// The query is sent by Control and Enter as well; and the chart of its answer, where there is one.
const form = document.getElementById("ask");
const query = document.getElementById("query");
const figure = document.getElementById("chart");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const COLOURS = 8;
const DASHES = [[1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [12, 4], [4, 2, 1, 2]];

document.getElementById("keys").textContent = " Control and Enter run it.";
query.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});
if (!query.value) query.focus();

if (figure) {
  draw().catch((error) => say(`The chart can't be drawn: ${error.message} The table needs no script.`));
}

async function draw() {
  say("Loading…");
  const answer = await fetch(figure.dataset.source, { headers: { accept: "application/json" } });
  const chart = await answer.json();
  if (!answer.ok) throw new Error(chart.error || "its points did not come.");
  const count = chart.points.length;
  const left = chart.left_out ? `; ${chart.left_out.toLocaleString("en")} more have no finite number` : "";
  say(`${count.toLocaleString("en")} points${left}.`);
  if (count === 0) return;
  let view = null;
  const show = async () => {
    const embedded = await embed(chart);
    if (view) view.finalize();
    view = embedded.view;
  };
  await show();
  dark.addEventListener("change", show);
}

async function embed(chart) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const lines = Array.from({ length: COLOURS }, (_, place) => colour(`--series-${place + 1}`) || colour("--accent"));
  const spec = structuredClone(chart.spec);
  spec.data = {
    values: chart.points.map((point) => ({
      ...point, colour: lines[point.series % COLOURS], dash: DASHES[Math.floor(point.series / COLOURS) % DASHES.length],
    })),
  };
  const soft = colour("--soft");
  spec.config = {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null },
    axis: {
      labelColor: soft, titleColor: soft, gridColor: colour("--line"), domainColor: soft, tickColor: soft,
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
    },
  };
  legend(chart.names, lines);
  return vegaEmbed(figure.querySelector(".plot"), spec, {
    ast: true, actions: false, defaultStyle: false, renderer: "canvas", mode: "vega-lite", tooltip: false,
  });
}

function legend(names, lines) {
  const space = "http://www.w3.org/2000/svg";
  const items = names.length < 2 ? [] : names.map((name, place) => {
    const item = document.createElement("li");
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", "0 0 28 10");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", "M0,5H28");
    path.setAttribute("stroke", lines[place % COLOURS]);
    path.setAttribute("stroke-dasharray", DASHES[Math.floor(place / COLOURS) % DASHES.length].join(" "));
    svg.append(path);
    item.append(svg, name || "(empty)");
    return item;
  });
  figure.querySelector(".legend").replaceChildren(...items);
}

function say(text) {
  figure.querySelector(".status").textContent = text;
}
