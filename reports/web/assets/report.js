"use strict";
// The page's own behaviour: what is shown, filtered, sorted and copied. Names are only ever text.
const $ = (selector, from = document) => from.querySelector(selector);
const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
const read = (id) => JSON.parse($("#" + id).textContent);

// One cohort at a time, if there are several.
function show(cohort) {
  const chosen = String(cohort);
  for (const each of $$("[data-of]")) each.hidden = each.dataset.of !== chosen;
  const select = $("#cohort");
  if (select) select.value = chosen;
  document.dispatchEvent(new CustomEvent("cohort", { detail: Number(cohort) }));
}

function startCohorts() {
  $("#cohort")?.addEventListener("change", (event) => show(event.target.value));
  for (const link of $$("a[data-cohort]"))
    link.addEventListener("click", () => show(link.dataset.cohort));
}

// Copy buttons: the text is the one of the element that follows.
function startCopies() {
  for (const button of $$("[data-copy]")) {
    const said = button.textContent;
    button.addEventListener("click", async () => {
      const source = button.closest(".copies").nextElementSibling;
      const done = await copy(source);
      button.textContent = done ? "copied" : "press Ctrl+C";
      setTimeout(() => (button.textContent = said), 2000);
    });
  }
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

// The matrix.
function startMatrix(data) {
  const table = $("#matrix-table");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = $$("thead tr:last-child th", table);
  for (const button of $$("[data-sort]", table))
    button.addEventListener("click", () => sortBy(body, heads, Number(button.dataset.sort)));
  const inputs = [$("#filter-words"), $("#filter-flag"), ...$$("[data-filter]")].filter(Boolean);
  const apply = () => filterMatrix(table, data, inputs);
  for (const input of inputs)
    for (const happening of ["input", "change"]) input.addEventListener(happening, apply);
  $("#filter-none").addEventListener("click", () => {
    for (const input of inputs) input.value = "";
    apply();
  });
}

function sortBy(body, heads, place) {
  const head = heads[place];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const each of heads) each.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[place].dataset.class ?? row.cells[place].textContent;
  const order = (one, other) => compareTexts(key(one), key(other), down);
  body.append(...[...body.rows].sort(order));
}

// Numbers as numbers; what has none comes last, whichever way the rest is sorted.
function compareTexts(one, other, down) {
  const empty = (text) => text === "" || text === "–";
  if (empty(one) || empty(other)) return empty(one) - empty(other);
  const found = one.localeCompare(other, "en", { numeric: true });
  return down ? -found : found;
}

const ROW_KEYS = ["vendor", "architecture"];

function filterMatrix(table, data, inputs) {
  const wanted = {};
  for (const each of inputs) wanted[each.dataset.filter ?? each.id] = each.value.trim();
  const columns = data.columns.map((column) =>
    ["model", "backend", "version", "threads", "precision"].every(
      (key) => !wanted[key] || column[key] === wanted[key]));
  const rows = data.machines.map((machine, at) =>
    ROW_KEYS.every((key) => !wanted[key] || machine[key] === wanted[key]) &&
    hasWords(machine, wanted["filter-words"]) &&
    hasFlag(machine, data.flags, wanted["filter-flag"]) &&
    data.cells[at].some((cell, place) => columns[place] && cell !== null));
  for (const row of table.tBodies[0].rows) row.hidden = !rows[Number(row.dataset.row)];
  for (const cell of $$("[data-column]", table)) cell.hidden = !columns[Number(cell.dataset.column)];
  for (const [place, group] of $$("[data-group]", table).entries()) {
    const width = data.groups[place].filter((column) => columns[column]).length;
    group.hidden = width === 0;
    group.colSpan = Math.max(width, 1);
  }
  const count = (of) => of.filter(Boolean).length;
  $("#matrix-status").textContent =
    `${count(rows)} of ${rows.length} machines, ${count(columns)} of ${columns.length} columns`;
}

function hasWords(machine, words) {
  if (!words) return true;
  const text = `${machine.platform} ${machine.device}`.toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function hasFlag(machine, flags, wanted) {
  if (!wanted) return true;
  const name = wanted.replace(/^[+-]/, "");
  const has = machine.flags.some((place) => flags[place] === name);
  return wanted.startsWith("-") ? !has : has;
}
