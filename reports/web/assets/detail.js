
// What is known of one layer: pairs of classes, distances, places, worst elements, causes.
const details = read("detail-data");
const computed = read("computed-data");
const VERDICTS = { exact: "=", rounding: "✓", "beyond rounding": "✕", "not judged": "?", "not neutral": "*" };

function tensorDetails() {
  return details.found[state.cohort]?.[String(state.sample)]?.[String(state.tap)];
}

async function showDetails() {
  const place = $("#layer-more");
  const found = tensorDetails();
  const parts = [];
  if (found) parts.push(pairTable(found));
  const charts = element("div");
  charts.className = "two";
  if (found?.far) parts.push(charts, worstTable(found.far));
  parts.push(...certificateTable(), ...isolationTable());
  if (!found) parts.unshift(why());
  place.replaceChildren(...parts);
  if (found?.far) await drawFar(charts, found.far);
}

function why() {
  const numbers = chosenSample().numbers[state.tap];
  const same = numbers && numbers[CLASSES] < 2;
  return element("p", same ? "All runs that recorded it have the same bits here."
    : details.measured ? "This tensor's pairs of classes are left out, as the page would be too large."
      : "Pairs of classes were not measured.");
}

function tableOf(caption, heads, lines, numeric = []) {
  const table = element("table", "", element("caption", caption));
  const head = table.createTHead().insertRow();
  for (const [place, text] of heads.entries()) {
    const cell = element("th", text);
    cell.scope = "col";
    if (numeric.includes(place)) cell.className = "number";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const line of lines) {
    const row = body.insertRow();
    for (const [place, text] of line.entries()) {
      const cell = element("td", String(text));
      if (numeric.includes(place)) cell.className = "number";
      row.append(cell);
    }
  }
  const box = element("div", "", table);
  box.className = "scroll";
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", caption);
  return box;
}

function pairTable(found) {
  const lines = found.pairs.map(([one, other, deviating, all, relative, snr, mean, ulp]) =>
    deviating === undefined ? [one, other, "other dtype or shape", "–", "–", "–", "–"]
      : [one, other, `${deviating} of ${all}`, number(ulp), number(relative), number(mean),
        number(snr)]);
  return tableOf("Classes, pair by pair", ["class", "against", "deviating elements", "largest ULP",
    "relative error by norm", "mean distance", "SNR in dB"], lines, [0, 1, 2, 3, 4, 5, 6]);
}

function worstTable(far) {
  const lines = far.worst.map(([index, left, right, ulp, distance]) =>
    [`[${index.join(", ")}]`, left, right, number(ulp), number(distance)]);
  const [one, other] = far.classes;
  return tableOf("Elements that are farthest apart", ["index", `class ${one}`, `class ${other}`, "ULP",
    "distance"], lines, [1, 2, 3, 4]);
}

async function drawFar(place, far) {
  const [one, other] = far.classes;
  const bars = figure("histogram-chart", `Classes ${one} and ${other}: how far elements are apart`,
    Object.entries(far.histogram).map(([from, count]) => `${count} from ${from} ULP`).join(", "));
  place.append(bars);
  if (far.places) place.append(figure("places-chart",
    `Classes ${one} and ${other}: where elements deviate`, describePlaces(far.places)));
  const histogram = Object.entries(far.histogram).map(([from, count]) => ({ from, count }));
  await draw("histogram-chart", sized(specs.histogram, "histogram-chart"), { histogram });
  if (far.places)
    await draw("places-chart", sized(specs.places, "places-chart"), { places: placeRows(far.places) });
}

function sized(spec, id) {
  const width = Math.max(220, Math.min(420, $("#" + id).clientWidth - 110));
  return { ...structuredClone(spec), width };
}

function figure(id, caption, label) {
  const chart = element("div");
  chart.className = "chart";
  chart.id = id;
  chart.tabIndex = 0;
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", `${caption}: ${label}`);
  return element("figure", "", element("figcaption", caption), chart);
}

function span(bin, bins, extent) {
  const first = Math.ceil((bin * extent) / bins), last = Math.ceil(((bin + 1) * extent) / bins) - 1;
  return first === last ? String(first) : `${first}–${last}`;
}

function placeRows({ channels, positions, rows: down, columns: across, counts, totals }) {
  return counts.map((count, at) => ({
    channel: span(Math.floor(at / across), down, channels),
    position: span(at % across, across, positions), share: totals[at] ? count / totals[at] : 0,
  }));
}

function describePlaces(places) {
  const most = placeRows(places).reduce((one, other) => (other.share > one.share ? other : one));
  return `most in channel ${most.channel}, position ${most.position}: ${percent(most.share)}`;
}

function certificateTable() {
  const lines = computed[state.cohort].certificates
    .filter((each) => each.layers[state.tap])
    .map((each) => {
      const [verdict, error, limit, usual, arithmetic, reason] = each.layers[state.tap];
      return [nameOf(each.run), `${VERDICTS[verdict] ?? ""} ${verdict}`, number(error), number(usual),
        number(limit), arithmetic ?? "–", reason];
    });
  return lines.length ? [tableOf("Rounding or fault", ["run", "verdict", "error in roundings", "usual",
    "allowed", "arithmetic", "why not judged"], lines, [2, 3, 4])] : [];
}

function isolationTable() {
  const lines = computed[state.cohort].isolations
    .filter((each) => each.layers[state.tap])
    .map((each) => {
      const [verdict, reason, own, inherited] = each.layers[state.tap];
      const of = (found) => (found ? `${number(found[0])} bits, ${number(found[1])} ULP` : "–");
      return [nameOf(each.run), each.reference === null ? "float64" : nameOf(each.reference), verdict,
        of(own), of(inherited), reason];
    });
  return lines.length ? [tableOf("Inherited or own", ["run", "against", "verdict", "own", "inherited",
    "why not"], lines)] : [];
}

// Errors over the layers.
function errorData() {
  const found = computed[state.cohort];
  return { own: ownData(found), truth: truthData(found) };
}

const finite = (value) => typeof value === "number" && Number.isFinite(value) && value > 0;
const homeOf = (run) => chosenCohort().homes[run];

function ownData(found) {
  const own = [], bounds = new Map();
  for (const each of found.certificates)
    for (const [at, [verdict, error, limit]] of Object.entries(each.layers)) {
      if (finite(limit)) bounds.set(Number(at), Math.max(bounds.get(Number(at)) ?? 0, limit));
      if (finite(error))
        own.push({ x: Number(at), error, limit, verdict: verdict === "beyond rounding" ? verdict : "rounding",
          name: nameOf(each.run), layer: chosenCohort().taps[at].name, ...look(homeOf(each.run)) });
    }
  if (!own.length) return null;
  const least = Math.min(...own.map((row) => row.error)) / 2;
  return { own, bounds: band(bounds, least, 1) };
}

function band(limits, least, scale) {
  return [...limits.entries()].sort(([one], [other]) => one - other)
    .map(([x, limit]) => ({ x, left: x - 0.5, right: x + 0.5, least, limit: limit * scale }));
}

function truthData(found) {
  const truth = found.accuracy.flatMap((row) => row.relative.map((error, x) => ({
    x, error, name: nameOf(row.runs[0]) + (row.runs.length > 1 ? ` and ${row.runs.length - 1} more` : ""),
    layer: chosenCohort().taps[x].name, ...look(homeOf(row.runs[0])),
  })).filter((row) => finite(row.error)));
  if (!truth.length) return null;
  const own = ownData(found);
  const least = Math.min(...truth.map((row) => row.error)) / 2;
  const unit = 2 ** -((chosenCohort().bits ?? 23) + 1);
  const limits = new Map((own?.bounds ?? []).map((row) => [row.x, row.limit]));
  return { truth, relative_bounds: band(limits, least, unit) };
}

document.addEventListener("tap", showDetails);
