
// The charts of layers, the table of the same, and the panel on one layer.
const pages = read("page-data");
const cohortsData = read("cohort-data");
const specs = read("chart-data");
const state = { cohort: 0, sample: 0, tap: 0, first: -0.5, last: 0.5, views: [] };
const [CLASSES, BITS, ULP, DISTANCE, DEVIATING, , BORN, COLLAPSED] = Array(9).keys();
const chosenCohort = () => cohortsData[state.cohort];
const chosenSample = () => chosenCohort().samples[state.sample];
const nameOf = (run) => pages.runs[chosenCohort().runs[run]];

// A number as the other reports write it.
function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const [mantissa, exponent] = value.toPrecision(3).split("e");
  const power = exponent ?? "";
  if (!power && Math.abs(value) >= 1e-4 && Math.abs(value) < 1e3)
    return String(Number(value.toPrecision(3)));
  const [digits, of] = (power ? value : value).toExponential(2).split("e");
  return `${Number(digits)}e${of[0]}${of.slice(1).padStart(2, "0")}`;
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share === 0 || share === 1) return `${share * 100} %`;
  if (share < 0.001) return "<0.1 %";
  return share > 0.999 ? ">99.9 %" : `${(100 * share).toFixed(1)} %`;
}

function element(name, text = "", ...inside) {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  made.append(...inside);
  return made;
}

// A column of values for each field becomes a row of fields for each value.
function rows(columns, fields) {
  return columns[fields[0]].map((_, at) => Object.fromEntries(fields.map((key) => [key, columns[key][at]])));
}

// Colour and dash of a class: those of the class at the outputs in which its runs end.
function look(colour) {
  return { hue: colour % 8, dash: Math.floor(colour / 8) % 3 };
}

function riverData() {
  const sample = chosenSample();
  const points = rows(sample.river, ["x", "y", "run", "colour", "thread"]).map((row) => ({
    ...row, ...look(row.colour), name: nameOf(row.run),
  }));
  const counts = new Map();
  for (const row of points) counts.set(row.thread, (counts.get(row.thread) ?? 0) + 1);
  const layers = chosenCohort().taps.map((tap, x) => ({ x, left: x - 0.5, right: x + 0.5,
    ...described(tap, sample.numbers[x]) }));
  return {
    threads: points,
    alone: points.filter((row) => counts.get(row.thread) === 1),
    born: layers.filter((row) => row.parts).map(({ x }) => ({ x })),
    layers,
    kernels: kernelRows(),
  };
}

function described(tap, numbers) {
  const title = tap.layer === null ? tap.name : `${tap.layer} ${tap.name}`;
  if (!numbers) return { name: title, operator: tap.operator };
  return {
    name: title, operator: tap.operator, classes: numbers[CLASSES], bits: numbers[BITS],
    born: number(numbers[BORN]), parts: numbers[BORN] > 0, ulp: number(numbers[ULP]),
    deviating: percent(numbers[DEVIATING]),
  };
}

function kernelRows() {
  const kernels = chosenCohort().kernels;
  const found = [];
  for (const [who, names] of Object.entries(kernels)) {
    const known = [...new Set(names.filter((name) => name !== null))];
    let before = null;
    for (const [x, kernel] of names.entries()) {
      if (kernel === null) continue;
      const change = before !== null && before !== kernel ? `changes from ${before}` : "";
      found.push({ who, left: x - 0.5, right: x + 0.5, kernel, change,
        layer: chosenCohort().taps[x].name, hue: known.indexOf(kernel) % 8 });
      before = kernel;
    }
  }
  return found;
}

function riverSpec(width) {
  const spec = structuredClone(specs.river);
  const sample = chosenSample();
  const tall = Math.max(120, Math.min(640, sample.river.height * 9 + 20));
  spec.vconcat[0].height = tall;
  if (!Object.keys(chosenCohort().kernels).length) spec.vconcat.splice(1, 1);
  for (const part of spec.vconcat) part.width = width;
  return spec;
}

// Draw a chart into an element; the text that stands for it is the element's label.
async function draw(id, spec, data, parameters = {}) {
  const place = $("#" + id);
  const whole = { ...spec, datasets: data, background: null, config: CONFIG };
  whole.params = (whole.params ?? []).map((each) =>
    each.name in parameters ? { ...each, value: parameters[each.name] } : each);
  const result = await vegaEmbed(place, whole, {
    actions: false, ast: true, renderer: "svg", defaultStyle: false,
    tooltip: { theme: "custom", disableDefaultStyle: true },
  });
  place.firstElementChild?.setAttribute("aria-hidden", "true");
  return result.view;
}

const CONFIG = {
  axis: { labelColor: "currentColor", titleColor: "currentColor", tickColor: "currentColor",
    domainColor: "currentColor", gridColor: "#8888", labelFont: "inherit", titleFont: "inherit",
    titleFontWeight: "normal" },
  legend: { labelColor: "currentColor", titleColor: "currentColor", titleFontWeight: "normal" },
  view: { stroke: null },
};

function chartWidth(id) {
  const space = $("#" + id).clientWidth || document.documentElement.clientWidth - 40;
  return Math.max(300, space - 110);
}

function layerParameters() {
  return { first: state.first, last: state.last, names: chosenCohort().taps.map((tap) => tap.name),
    whole: chosenCohort().bits ?? 23, deep: chosenSample().river.height + 0.5 };
}

async function drawLayers() {
  const cohort = chosenCohort();
  const some = cohort.taps.length > 0;
  $("#layers-all").hidden = !some;
  $("#layers-none").hidden = some;
  if (!some) return;
  const view = await draw("river-chart", riverSpec(chartWidth("river-chart")), riverData(),
    layerParameters());
  view.addEventListener("click", (_, item) => {
    const at = item?.datum?.x ?? item?.datum?.left + 0.5;
    if (Number.isFinite(at)) showTap(Math.round(at), true);
  });
  state.views = [view, ...(await drawErrors())];
  describeLayers();
  legendOfClasses();
}

async function drawErrors() {
  const views = [];
  const found = errorData();
  for (const [id, data] of Object.entries(found)) {
    $(`#${id}-part`).hidden = !data;
    $(`#${id}-none`).hidden = Boolean(data);
    if (!data) continue;
    const spec = { ...structuredClone(specs[id]), width: chartWidth(`${id}-chart`) };
    views.push(await draw(`${id}-chart`, spec, data, layerParameters()));
  }
  return views;
}

function describeLayers() {
  const numbers = chosenSample().numbers.filter(Boolean);
  const parted = numbers.filter((each) => each[CLASSES] > 1).length;
  const born = numbers.filter((each) => each[BORN] > 0).length;
  const more = chosenCohort().left_out ? `; ${chosenCohort().left_out} layers that do not differ are left out` : "";
  $("#layers-status").textContent =
    `Input ${chosenCohort().inputs[state.sample]}: ${parted} of ${plural(numbers.length, "tensor")} ` +
    `differ; the own arithmetic of ${plural(born, "layer")} parts runs; layers ${Math.ceil(state.first) + 1} to ` +
    `${Math.floor(state.last) + 1} of ${chosenCohort().taps.length} are shown${more}.`;
}

function legendOfClasses() {
  const items = chosenCohort().leaders.map((run, at) => {
    const item = element("li", `class ${at + 1}: ${nameOf(run)}`);
    item.className = `swatch hue${look(at).hue} dash${look(at).dash}`;
    return item;
  });
  $("#river-legend").replaceChildren(...items);
}

function fillTable() {
  const body = $("#layers-table").tBodies[0];
  const sample = chosenSample();
  $("#layers-caption").textContent = `Input ${chosenCohort().inputs[state.sample]}`;
  body.replaceChildren(...chosenCohort().taps.map((tap, at) => layerRow(tap, sample, at)));
}

function layerRow(tap, sample, at) {
  const row = element("tr");
  const numbers = sample.numbers[at] ?? [];
  const choose = element("button", tap.name);
  choose.type = "button";
  choose.addEventListener("click", () => showTap(at, true));
  const who = sample.classes[at].filter(Boolean).length;
  const marks = (sample.changed[at] ? "*" : "") + (sample.unsafe[at] ? "†" : "");
  const cells = [number(tap.layer), choose, tap.operator + (tap.output ? " (output)" : ""), who,
    number(numbers[CLASSES]) + marks, number(numbers[BORN]), number(numbers[COLLAPSED]),
    number(numbers[BITS]), number(numbers[ULP]), number(numbers[DISTANCE]),
    percent(numbers[DEVIATING])];
  for (const [place, each] of cells.entries()) {
    const cell = element("td");
    cell.append(each);
    if (place !== 1 && place !== 2) cell.className = "number";
    row.append(cell);
  }
  return row;
}

// One layer.
function showTap(at, jump = false) {
  const taps = chosenCohort().taps;
  if (!taps.length) return;
  state.tap = Math.max(0, Math.min(taps.length - 1, at));
  const tap = taps[state.tap], sample = chosenSample(), numbers = sample.numbers[state.tap] ?? [];
  $("#tap").value = String(state.tap);
  const where = tap.layer === null ? "" : `layer ${tap.layer}, `;
  $("#layer-title").textContent = `${tap.name} (${where}${tap.operator})`;
  $("#layer-numbers").textContent =
    `${tap.dtype} [${tap.shape.join(", ")}], input ${chosenCohort().inputs[state.sample]}: ` +
    `${number(numbers[CLASSES])} classes; its own arithmetic adds ${number(numbers[BORN])} and ` +
    `joins ${number(numbers[COLLAPSED])}; all share ${number(numbers[BITS])} mantissa bits; ` +
    `largest distance ${number(numbers[ULP])} ULP, ${number(numbers[DISTANCE])} absolutely; ` +
    `${percent(numbers[DEVIATING])} of the elements deviate.`;
  listClasses(sample.classes[state.tap]);
  document.dispatchEvent(new CustomEvent("tap"));
  if (jump) {
    $("#layer").scrollIntoView();
    $("#layer-title").focus({ preventScroll: true });
  }
}

function listClasses(labels) {
  const count = Math.max(0, ...labels);
  const found = Array.from({ length: count + 1 }, () => []);
  for (const [run, label] of labels.entries()) found[label].push(nameOf(run));
  const line = (title, names) => {
    const row = element("tr");
    for (const text of [title, names.length]) {
      const cell = element("td", String(text));
      cell.className = "number";
      row.append(cell);
    }
    row.append(element("td", names.join("; ")));
    return row;
  };
  const lines = found.slice(1).map((names, at) => line(at + 1, names));
  if (found[0].length) lines.push(line("not recorded", found[0]));
  $("#layer-classes").replaceChildren(...lines);
}

// Zoom.
function zoom(first, last) {
  const count = chosenCohort().taps.length;
  const width = Math.max(1, Math.min(count, Math.round(last - first)));
  const start = Math.max(0, Math.min(count - width, Math.round(first + 0.5)));
  state.first = start - 0.5;
  state.last = start + width - 0.5;
  $("#zoom-first").value = start + 1;
  $("#zoom-last").value = start + width;
  for (const view of state.views) view.signal("first", state.first).signal("last", state.last).run();
  if (count) describeLayers();
}

function startLayers() {
  $("#sample").addEventListener("change", async (event) => {
    state.sample = Number(event.target.value);
    await drawLayers();
    fillTable();
    showTap(state.tap);
  });
  $("#tap").addEventListener("change", (event) => showTap(Number(event.target.value)));
  for (const button of $$("[data-step]"))
    button.addEventListener("click", () => showTap(state.tap + Number(button.dataset.step)));
  for (const id of ["zoom-first", "zoom-last"])
    $("#" + id).addEventListener("change", () =>
      zoom(Number($("#zoom-first").value) - 1.5, Number($("#zoom-last").value) - 0.5));
  for (const button of $$("[data-zoom]"))
    button.addEventListener("click", () => zoomBy(button.dataset.zoom));
  let wide = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    drawLayers();
  });
}

function zoomBy(how) {
  const { first, last } = state, width = last - first, quarter = width / 4;
  const count = chosenCohort().taps.length;
  if (how === "in") zoom(first + quarter, last - quarter);
  if (how === "out") zoom(first - width / 2, last + width / 2);
  if (how === "left") zoom(first - width / 2, last - width / 2);
  if (how === "right") zoom(first + width / 2, last + width / 2);
  if (how === "all") zoom(-0.5, count - 0.5);
}

function options(select, texts) {
  select.replaceChildren(...texts.map((text, at) => {
    const option = element("option", text);
    option.value = at;
    return option;
  }));
}

document.addEventListener("cohort", async (event) => {
  state.cohort = event.detail;
  state.sample = 0;
  state.views = [];
  if (!chosenCohort()) return;
  const taps = chosenCohort().taps;
  options($("#sample"), chosenCohort().inputs);
  options($("#tap"), taps.map((tap) => (tap.layer === null ? tap.name : `${tap.layer} ${tap.name}`)));
  zoom(-0.5, taps.length - 0.5);
  await drawLayers();
  fillTable();
  await drawFurther();
  const first = chosenSample().numbers.findIndex((each) => each && each[CLASSES] > 1);
  showTap(Math.max(first, 0));
  document.body.dataset.drawn = String(state.cohort);
});

startLayers();
