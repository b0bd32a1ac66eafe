
// Trees of classes, and how classes grow with machines.
const further = read("further-data");
const tried = read("tried-data");

async function drawFurther() {
  const trees = further.trees.filter((tree) => tree.cohort === state.cohort);
  const curves = further.growth.filter((curve) => curve.cohort === state.cohort);
  $("#tree-part").hidden = !trees.length;
  $("#growth-part").hidden = !curves.length;
  options($("#tree"), trees.map((tree) => `${tree.output}, input ${chosenCohort().inputs[tree.input]}`));
  if (trees.length) await drawTree(trees[0]);
  if (curves.length) await drawGrowth(curves);
  await drawFrontiers();
}

async function drawTree(tree) {
  const spec = structuredClone(specs.dendrogram);
  const width = chartWidth("tree-chart");
  spec.height = 22 * tree.leaves.length + 10;
  spec.width = Math.max(160, width * 0.45);
  spec.layer[1].mark.limit = Math.max(160, width - spec.width);
  const branches = tree.branches.map(([bits, row, bits2, row2]) => ({ bits, row, bits2, row2 }));
  const leaves = tree.leaves.map(([bits, row, name, at]) => ({ bits, row, name, ...look(at) }));
  await draw("tree-chart", spec, { branches, leaves });
  $("#tree-words").replaceChildren(...tree.leaves.map(([, , name]) => element("li", `class ${name}`)),
    ...tree.words.map((words) => element("li", words)));
}

async function drawGrowth(curves) {
  const data = curves.flatMap((each, at) => rows(each, ["machine", "name", "classes"])
    .map((row) => ({ ...row, curve: each.curve, ...look(at) })));
  const spec = { ...structuredClone(specs.cumulative), width: chartWidth("growth-chart") };
  await draw("growth-chart", spec, { cumulative: data });
  $("#growth-legend").replaceChildren(...curves.map((each, at) => {
    const last = each.classes.at(-1);
    const item = element("li", `${each.curve}: ${last} classes on ${each.classes.length} machines`);
    item.className = `swatch hue${look(at).hue} dash${look(at).dash}`;
    return item;
  }));
}

async function drawFrontiers() {
  for (const [at, found] of tried.entries()) {
    const known = found.rows.filter((row) => row.error > 0 && row.time > 0);
    const id = `frontier-${at}`;
    $("#" + id).hidden = !known.length;
    if (!known.length) continue;
    const backends = [...new Set(known.map((row) => row.backend))];
    const data = known.map((row) => ({ ...row, best: row.best ? "on the frontier" : "beaten",
      ...look(backends.indexOf(row.backend)) }));
    const spec = { ...structuredClone(specs.frontier), width: chartWidth(id) };
    await draw(id, spec, { frontier: data });
  }
}

function startFurther() {
  $("#tree").addEventListener("change", (event) => {
    const trees = further.trees.filter((tree) => tree.cohort === state.cohort);
    drawTree(trees[Number(event.target.value)]);
  });
}

startFurther();
