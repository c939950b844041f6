// The map: all rows as points on one canvas, written pixel by pixel, so that a hundred thousand of them move smoothly.
import { get, say } from "./explorer.js";

const canvas = document.querySelector("#map");
const context = canvas.getContext("2d");
const legendPlace = document.querySelector("#legend");
const pointed = document.querySelector("#pointed");
const colour = document.querySelector("#colour");
const dark = matchMedia("(prefers-color-scheme: dark)");
const MISSING = 65535;
const STEPS = 255;
const CORNERS = 60;

// Classes: colours of Okabe and Ito, which people see apart who see few colours, lighter ones on a dark ground; the last is for all others.
const CLASSES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#b14c87", "#b98500", "#3a9bd6", "#3d3d3d", "#9aa4af"],
  dark: ["#56b4e9", "#ff8b3d", "#2fc79b", "#e79ac6", "#f0e442", "#a9b8ff", "#f4f4f4", "#76828f"],
};
// Scales: evenly brighter or darker towards their ends, as viridis is; two sides part blue and orange, with the ground's own grey between.
const SCALES = {
  light: { scale: ["#b8d6a5", "#4fb3a0", "#2b7f9e", "#3c4f8f", "#440f54"], sides: ["#a63c06", "#e08a4a", "#b9bec4", "#4f9ac4", "#0b4f86"] },
  dark: { scale: ["#4b4a8f", "#3878a8", "#2ba58c", "#8fd04e", "#fde725"], sides: ["#ffa15c", "#c9703a", "#59646f", "#4f9ac4", "#8fd3ff"] },
};
const ABSENT = { light: "#d0d5db", dark: "#3a444f" };

let points = new Float32Array(0);
let colours = new Uint16Array(0);
let legend = null;
let table = new Uint32Array(0);
let view = { x: 0, y: 0, scale: 1 };
let image = null;
let pixels = null;
let lasso = null;
let hovered = -1;
let asked = null;

const theme = () => (dark.matches ? "dark" : "light");
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

function between(anchors, share) {
  const at = share * (anchors.length - 1);
  const low = Math.min(Math.floor(at), anchors.length - 2);
  const [from, to] = [rgb(anchors[low]), rgb(anchors[low + 1])];
  return from.map((value, channel) => Math.round(value + (to[channel] - value) * (at - low)));
}

/** The colour of each number, as it stands in the image. */
function palette() {
  if (!legend) return;
  table = new Uint32Array(MISSING + 1).fill(packed(rgb(ABSENT[theme()])));
  if (legend.kind === "classes") CLASSES[theme()].forEach((hex, number) => (table[number] = packed(rgb(hex))));
  else for (let step = 0; step < STEPS; step++) table[step] = packed(between(SCALES[theme()][legend.kind], step / (STEPS - 1)));
}

/** Pixels a unit of the map. */
const unit = () => (Math.min(canvas.width, canvas.height) / 2) * 0.94 * view.scale;
const toX = (x) => canvas.width / 2 + (x - view.x) * unit();
const toY = (y) => canvas.height / 2 - (y - view.y) * unit();
const fromX = (px) => (px - canvas.width / 2) / unit() + view.x;
const fromY = (py) => -(py - canvas.height / 2) / unit() + view.y;

function pointSize() {
  const count = points.length / 2;
  const base = count < 500 ? 7 : count < 5000 ? 5 : count < 30000 ? 3 : 2;
  return Math.max(1, Math.round(Math.min(base * Math.sqrt(view.scale), 12) * (devicePixelRatio || 1)));
}

/** Write the points that have a value, or those that have none, into the image. All that is named in the loop is local: it runs for every point of a frame. */
function scatter(absent, size, scale, x0, y0) {
  const [here, numbers, shades, target] = [points, colours, table, pixels];
  const [count, width] = [numbers.length, canvas.width];
  const [right, bottom] = [width - size, canvas.height - size];
  for (let place = 0; place < count; place++) {
    const number = numbers[place];
    if ((number === MISSING) !== absent) continue;
    const x = x0 + here[2 * place] * scale;
    const y = y0 - here[2 * place + 1] * scale;
    if (!(x >= 0 && y >= 0 && x <= right && y <= bottom)) continue;
    const shade = shades[number];
    let line = (y | 0) * width + (x | 0);
    if (size === 2) {
      target[line] = shade;
      target[line + 1] = shade;
      target[line + width] = shade;
      target[line + width + 1] = shade;
      continue;
    }
    for (let down = 0; down < size; down++, line += width) target.fill(shade, line, line + size);
  }
}

function draw() {
  draw.waiting = false;
  if (!pixels) return;
  const start = performance.now();
  const { width, height } = canvas;
  const size = pointSize();
  const half = size >> 1;
  const [scale, x0, y0] = [unit(), width / 2 - view.x * unit() - half, height / 2 + view.y * unit() - half];
  pixels.fill(0);
  // Rows without a value lie below the others.
  if (legend?.missing) scatter(true, size, scale, x0, y0);
  scatter(false, size, scale, x0, y0);
  context.putImageData(image, 0, 0);
  const ratio = devicePixelRatio || 1;
  if (hovered >= 0 || lasso?.length > 1) context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
  context.lineWidth = 2 * ratio;
  if (hovered >= 0) {
    context.beginPath();
    context.arc(toX(points[2 * hovered]), toY(points[2 * hovered + 1]), size / 2 + 4 * ratio, 0, 2 * Math.PI);
    context.stroke();
  }
  if (lasso?.length > 1) {
    context.beginPath();
    lasso.forEach(([x, y], corner) => (corner ? context.lineTo(toX(x), toY(y)) : context.moveTo(toX(x), toY(y))));
    context.closePath();
    context.globalAlpha = 0.12;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }
  performance.measure("map draw", { start });
  if (++draw.count % 1000 === 0) performance.clearMeasures("map draw");
}
draw.count = 0;

function redraw() {
  if (draw.waiting) return;
  draw.waiting = true;
  requestAnimationFrame(draw);
}

function resize() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (!width || !height || (canvas.width === width && canvas.height === height && image)) return;
  canvas.width = width;
  canvas.height = height;
  image = context.createImageData(width, height);
  pixels = new Uint32Array(image.data.buffer);
  moved();
}

/** After the view has changed. */
function moved() {
  const edges = [fromX(0), fromX(canvas.width), fromY(canvas.height), fromY(0)].map((value) => value.toFixed(4));
  const [left, right, low, high] = edges;
  document.querySelector("#in-view").href = `/rows?lasso=${left},${low};${right},${low};${right},${high};${left},${high}`;
  redraw();
}

function zoom(factor, px = canvas.width / 2, py = canvas.height / 2) {
  const [x, y] = [fromX(px), fromY(py)];
  view.scale = Math.min(Math.max(view.scale * factor, 0.5), 2000);
  view.x += x - fromX(px);
  view.y += y - fromY(py);
  moved();
}

function pan(dx, dy) {
  view.x -= dx / unit();
  view.y += dy / unit();
  moved();
}

function whole() {
  view = { x: 0, y: 0, scale: 1 };
  moved();
}

/** A pointer's place on the canvas, in its pixels. */
function at(event) {
  const box = canvas.getBoundingClientRect();
  const [dx, dy] = [event.clientX - box.left - canvas.clientLeft, event.clientY - box.top - canvas.clientTop];
  return [(dx / canvas.clientWidth) * canvas.width, (dy / canvas.clientHeight) * canvas.height];
}

function nearest(px, py) {
  const reach = (12 * (devicePixelRatio || 1)) / unit();
  const [x, y] = [fromX(px), fromY(py)];
  let [best, found] = [reach * reach, -1];
  for (let place = 0; place < colours.length; place++) {
    const dx = points[2 * place] - x;
    const dy = points[2 * place + 1] - y;
    const distance = dx * dx + dy * dy;
    if (distance < best) [best, found] = [distance, place];
  }
  return found;
}

/** Show a row beside the map; its text is set as text. */
function point(place) {
  if (place === hovered) return;
  hovered = place;
  redraw();
  clearTimeout(point.timer);
  if (place < 0) return;
  point.timer = setTimeout(async () => {
    asked?.abort();
    asked = new AbortController();
    try {
      const [row] = await get(`/map/rows?places=${place}`, { signal: asked.signal });
      const link = document.createElement("a");
      [link.href, link.textContent] = [row.link, row.id];
      const lines = [row.place, row.prompt, row.answer].map((text) => Object.assign(document.createElement("p"), { textContent: text }));
      lines[0].className = "note";
      lines[1].style.fontWeight = "600";
      const head = document.createElement("p");
      head.append(link);
      pointed.replaceChildren(head, ...lines);
    } catch (error) {
      if (error.name !== "AbortError") say(error.message);
    }
  }, 90);
}

function inside(corners, x, y) {
  let found = false;
  for (let one = 0, two = corners.length - 1; one < corners.length; two = one++) {
    const [[ax, ay], [bx, by]] = [corners[one], corners[two]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) found = !found;
  }
  return found;
}

function choose() {
  const link = document.querySelector("#in-lasso");
  if (!lasso || lasso.length < 3) {
    lasso = null;
    link.hidden = true;
    redraw();
    return;
  }
  // An address takes so many corners.
  const step = Math.max(1, Math.ceil(lasso.length / CORNERS));
  lasso = lasso.filter((_, corner) => corner % step === 0).map((pair) => pair.map((value) => Number(value.toFixed(4))));
  let count = 0;
  for (let place = 0; place < colours.length; place++) count += inside(lasso, points[2 * place], points[2 * place + 1]);
  link.href = `/rows?lasso=${lasso.map((pair) => pair.join(",")).join(";")}`;
  link.textContent = `Show ${count.toLocaleString("en")} rows`;
  link.hidden = false;
  say(`${count.toLocaleString("en")} rows in the region.`);
  redraw();
}

let drag = null;
const lassoButton = document.querySelector("#lasso");
const isLasso = () => lassoButton.getAttribute("aria-pressed") === "true";
lassoButton.addEventListener("click", () => {
  lassoButton.setAttribute("aria-pressed", String(!isLasso()));
  canvas.classList.toggle("lasso", isLasso());
});
canvas.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  canvas.setPointerCapture(event.pointerId);
  const place = at(event);
  drag = { place, drawing: event.shiftKey || isLasso() };
  if (drag.drawing) lasso = [[fromX(place[0]), fromY(place[1])]];
  canvas.classList.toggle("moving", !drag.drawing);
});
canvas.addEventListener("pointermove", (event) => {
  const place = at(event);
  if (!drag) {
    point(nearest(...place));
    return;
  }
  if (drag.drawing) {
    lasso.push([fromX(place[0]), fromY(place[1])]);
    redraw();
  } else pan(place[0] - drag.place[0], place[1] - drag.place[1]);
  drag.place = place;
});
for (const name of ["pointerup", "pointercancel"])
  canvas.addEventListener(name, (event) => {
    if (!drag) return;
    canvas.classList.remove("moving");
    if (drag.drawing) choose();
    else if (event.pointerType !== "mouse") point(nearest(...at(event)));
    drag = null;
  });
canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
  },
  { passive: false },
);
canvas.addEventListener("keydown", (event) => {
  const step = 40 * (devicePixelRatio || 1);
  const keys = {
    ArrowLeft: () => pan(step, 0),
    ArrowRight: () => pan(-step, 0),
    ArrowUp: () => pan(0, step),
    ArrowDown: () => pan(0, -step),
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: whole,
    Escape: () => ((lasso = null), choose()),
  };
  if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});
document.querySelector("#zoom-in").addEventListener("click", () => zoom(1.6));
document.querySelector("#zoom-out").addEventListener("click", () => zoom(1 / 1.6));
document.querySelector("#whole").addEventListener("click", whole);

const hex = (value) => `rgb(${value & 255} ${(value >> 8) & 255} ${(value >> 16) & 255})`;

function entry(label, value) {
  const line = document.createElement("li");
  const swatch = document.createElement("span");
  swatch.className = "swatch";
  swatch.style.background = hex(value);
  line.append(swatch, label);
  return line;
}

function showLegend() {
  const title = document.createElement("h2");
  title.textContent = legend.title;
  const list = document.createElement("ul");
  const shown = [title];
  if (legend.kind === "classes")
    legend.labels.forEach((label, number) => list.append(entry(`${label} (${legend.counts[number].toLocaleString("en")})`, table[number])));
  else {
    const bar = document.createElement("canvas");
    [bar.width, bar.height] = [STEPS, 1];
    const strip = bar.getContext("2d");
    const line = strip.createImageData(STEPS, 1);
    new Uint32Array(line.data.buffer).set(table.subarray(0, STEPS));
    strip.putImageData(line, 0, 0);
    bar.setAttribute("aria-hidden", "true");
    const ends = document.createElement("div");
    ends.className = "ends";
    for (const label of legend.labels) ends.append(Object.assign(document.createElement("span"), { textContent: label }));
    shown.push(bar, ends);
  }
  if (legend.missing) list.append(entry(`no value (${legend.missing.toLocaleString("en")})`, table[MISSING]));
  legendPlace.replaceChildren(...shown, list);
}

async function load() {
  const name = encodeURIComponent(colour.value);
  try {
    const [body, said] = await Promise.all([
      fetch(`/map/points?colour=${name}`).then((response) => {
        if (!response.ok) throw new Error("The map can't be loaded: try to load the page again.");
        return response.arrayBuffer();
      }),
      get(`/map/legend?colour=${name}`),
    ]);
    const count = body.byteLength / 10;
    points = new Float32Array(body, 0, 2 * count);
    colours = new Uint16Array(body, 8 * count, count);
    legend = said;
    palette();
    showLegend();
    redraw();
  } catch (error) {
    say(error.message, { seconds: 15 });
  }
}

colour.addEventListener("change", load);
dark.addEventListener("change", () => {
  palette();
  if (legend) showLegend();
  redraw();
});
new ResizeObserver(resize).observe(canvas);
resize();
load();
