// The grid: state, what it shows, how one moves in it.
function startGrid(sweep) {
  const spread = sweep.axes.filter((axis) => axis.values.length > 1);
  const axes = spread.length ? spread : sweep.axes.slice(0, 1);
  const named = Object.fromEntries(sweep.axes.map((axis) => [axis.key, axis]));
  const state = {
    across: axes[0].key,
    down: (axes[1] || axes[0]).key,
    measure: sweep.measures[0],
    shown: Object.fromEntries(axes.map((axis) => [axis.key, new Set(axis.values)])),
    floor: 0,
    cell: sweep.cells.find((cell) => cell.is.includes("chosen")) || sweep.cells[0],
  };
  const write = (measure, value, digits = 3) =>
    value === undefined ? "–" : measure.share ? Math.round(100 * value) + "%" : minus(value.toFixed(digits));
  const reaches = (cell) => cell.v[state.measure.key] >= state.floor;

  function describe(cell) {
    const parts = sweep.axes.filter((axis) => cell.at[axis.key] !== undefined && axis.values.length > 1);
    const said = (parts.length ? parts : sweep.axes).map((axis) => axis.name + " " + cell.at[axis.key]);
    return said.join(", ");
  }

  function visible() {
    return sweep.cells.filter((cell) => axes.every((axis) => state.shown[axis.key].has(cell.at[axis.key])));
  }

  function range() {
    const values = sweep.cells.map((cell) => cell.v[state.measure.key]).filter((value) => value !== undefined);
    return [Math.min(...values), Math.max(...values)];
  }

  function combinations(keys) {
    return keys.reduce(
      (found, key) => found.flatMap((one) =>
        named[key].values.filter((value) => state.shown[key].has(value)).map((value) => ({ ...one, [key]: value }))),
      [{}],
    );
  }

  // Two decimals fit a cell; three where two would make all cells the same.
  const brief = (value, low, high) => write(state.measure, value, high - low < 0.1 ? 3 : 2);

  function button(cell, row, column, low, high) {
    const value = cell.v[state.measure.key];
    const heat = value === undefined ? 0 : high > low ? (value - low) / (high - low) : 0.5;
    const marks = cell.is.length ? ", " + cell.is.join(", ") : "";
    const made = make("button", {
      type: "button", tabIndex: -1, textContent: brief(value, low, high),
      className: [reaches(cell) ? "" : "dim", ...cell.is].join(" ").trim(),
      title: describe(cell),
      "aria-label": `${describe(cell)}: ${write(state.measure, value)}${reaches(cell) ? "" : ", below the line"}${marks}`,
    });
    made.style.setProperty("--heat", Math.round(100 * heat) + "%");
    Object.assign(made.dataset, { row, column, cell: cell.n });
    return made;
  }

  function grid(facet, cells, low, high) {
    const fixed = Object.entries(facet).map(([key, value]) => `${named[key].name} ${value}`).join(", ");
    const title = fixed || describeAxes();
    const columns = named[state.across].values.filter((value) => state.shown[state.across].has(value));
    const rows = state.across === state.down ? [null] :
      named[state.down].values.filter((value) => state.shown[state.down].has(value));
    const table = make("table", { role: "grid", "aria-label": `${title}: ${state.measure.name}` });
    const head = make("tr", { role: "row" }, make("th", { textContent: rows[0] === null ? "" : named[state.down].name, role: "columnheader" }));
    columns.forEach((value) => head.append(make("th", { scope: "col", role: "columnheader", textContent: value })));
    const body = make("tbody", { role: "rowgroup" });
    rows.forEach((down, i) => {
      const line = make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader", textContent: down === null ? "" : down }));
      columns.forEach((value, j) => {
        const cell = cells.find((one) => one.at[state.across] === value && (down === null || one.at[state.down] === down));
        const field = make("td", { role: "gridcell" });
        if (cell) field.append(button(cell, i, j, low, high));
        else field.append(make("span", { className: "none", textContent: "–" }));
        field.setAttribute("aria-selected", String(cell === state.cell));
        line.append(field);
      });
      body.append(line);
    });
    table.append(make("thead", { role: "rowgroup" }, head), body);
    const entry = table.querySelector('[aria-selected="true"] button') || table.querySelector("button");
    if (entry) entry.tabIndex = 0;
    const caption = make("figcaption", { textContent: title });
    if (fixed) caption.append(make("span", { className: "muted", textContent: describeAxes() }));
    return make("figure", {}, caption, table);
  }

  const describeAxes = () => state.across === state.down ? named[state.across].name :
    `${named[state.across].name} across, ${named[state.down].name} down`;

  function draw() {
    const cells = visible();
    const [low, high] = range();
    const rest = axes.map((axis) => axis.key).filter((key) => key !== state.across && key !== state.down);
    const facets = combinations(rest)
      .map((facet) => [facet, cells.filter((cell) => Object.entries(facet).every(([key, value]) => cell.at[key] === value))])
      .filter(([, some]) => some.length);
    document.querySelector(".split").append(byId("cell"));
    byId("facets").replaceChildren(...facets.map(([facet, some]) => grid(facet, some, low, high)));
    const above = cells.filter(reaches).length;
    const blank = cells.filter((cell) => cell.v[state.measure.key] === undefined).length;
    const unknown = blank ? `, ${blank} were not measured` : "";
    const key = make("span", { className: "key" }, brief(low, low, high), make("i"), brief(high, low, high));
    byId("count").replaceChildren(
      cells.length ? `${above} of ${cells.length} cells reach ${write(state.measure, state.floor)}; ${cells.length - above - blank} below are dimmed${unknown}.  `
        : "No cell is left: tick at least one value in every row.  ",
      ...(cells.length ? [key] : []),
    );
    byId("floor-value").textContent = write(state.measure, state.floor);
    settle();
  }

  const around = (measure, cell) => {
    const ends = cell.r[measure.key];
    return ends ? ` (${ends.map((end) => write(measure, end)).join(" to ")})` : "";
  };

  function show(cell) {
    const facts = make("dl", { className: "facts" });
    for (const measure of sweep.measures) {
      facts.append(make("div", {}, make("dt", { textContent: measure.name }), make("dd", { textContent: write(measure, cell.v[measure.key]) + around(measure, cell) })));
    }
    const marks = cell.is.map((mark) => make("span", { className: "chip " + mark, textContent: mark }));
    const pictures = sweep.pictures[cell.n] || [];
    const thumbs = pictures.map(([name, uri]) => make("img", { src: uri, alt: `${describe(cell)}, ${name}`, title: name }));
    const missing = pictures.length < cell.images ?
      [make("p", { className: "muted", textContent: `${cell.images - pictures.length} of ${cell.images} pictures are not in this file.` })] : [];
    byId("cell").replaceChildren(
      make("h3", { textContent: describe(cell) }), ...marks, facts, make("div", { className: "thumbs" }, ...thumbs), ...missing,
    );
  }

  // On a phone the pictures come right below the grid that was tapped.
  const narrow = window.matchMedia("(max-width: 760px)");
  function settle() {
    const facet = document.querySelector('#facets [aria-selected="true"]');
    if (narrow.matches && facet) facet.closest("figure").after(byId("cell"));
    else document.querySelector(".split").append(byId("cell"));
  }

  function select(cell) {
    state.cell = cell;
    document.querySelectorAll("#facets td").forEach((field) => {
      const mine = field.firstElementChild.dataset.cell === String(cell.n);
      field.setAttribute("aria-selected", String(mine));
    });
    show(cell);
    settle();
  }

  function move(event) {
    const from = event.target.closest("#facets button");
    if (!from) return;
    const buttons = [...from.closest("table").querySelectorAll("button")];
    const at = (one) => [Number(one.dataset.row), Number(one.dataset.column)];
    const [row, column] = at(from);
    const beside = (test, order) => buttons.filter((one) => test(...at(one))).sort((a, b) => order(...at(a)) - order(...at(b)))[0];
    const to = {
      ArrowRight: () => beside((r, c) => r === row && c > column, (r, c) => c),
      ArrowLeft: () => beside((r, c) => r === row && c < column, (r, c) => -c),
      ArrowDown: () => beside((r, c) => c === column && r > row, (r) => r),
      ArrowUp: () => beside((r, c) => c === column && r < row, (r) => -r),
      Home: () => event.ctrlKey ? buttons[0] : beside((r) => r === row, (r, c) => c),
      End: () => event.ctrlKey ? buttons[buttons.length - 1] : beside((r) => r === row, (r, c) => -c),
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const next = to();
    if (!next) return;
    buttons.forEach((one) => { one.tabIndex = one === next ? 0 : -1; });
    next.focus();
  }

  function fillSelect(id, options, value, change) {
    const select = byId(id);
    options.forEach(([key, name]) => select.append(make("option", { value: key, textContent: name })));
    select.value = value;
    select.addEventListener("change", () => { change(select.value); draw(); });
  }

  function setRange() {
    const [low, high] = range();
    const floor = state.measure.line ?? low;
    const step = high - low < 0.2 ? 0.001 : 0.01;
    const ends = { min: Math.floor(Math.min(low, floor) / step) * step, max: Math.ceil(Math.max(high, floor) / step) * step };
    const slider = byId("floor");
    Object.assign(slider, { step, min: ends.min.toFixed(3), max: ends.max.toFixed(3) });
    slider.value = floor;
    state.floor = Number(slider.value);
  }

  function filters() {
    for (const axis of axes.filter((one) => one.values.length > 1)) {
      const row = make("fieldset", {}, make("legend", { textContent: axis.name }));
      for (const value of axis.values) {
        const box = make("input", { type: "checkbox", checked: true });
        box.addEventListener("change", () => {
          state.shown[axis.key][box.checked ? "add" : "delete"](value);
          draw();
        });
        row.append(make("label", {}, box, value));
      }
      byId("filters").append(row);
    }
  }

  const choices = axes.map((axis) => [axis.key, axis.name]);
  const swap = (mine, other) => (value) => {
    if (state[other] === value && axes.length > 1) {
      state[other] = state[mine];
      byId(other).value = state[other];
    }
    state[mine] = value;
  };
  fillSelect("across", choices, state.across, swap("across", "down"));
  fillSelect("down", choices, state.down, swap("down", "across"));
  fillSelect("measure", sweep.measures.map((m) => [m.key, m.name]), state.measure.key, (key) => {
    state.measure = sweep.measures.find((measure) => measure.key === key);
    setRange();
  });
  byId("floor").addEventListener("input", (event) => { state.floor = Number(event.target.value); draw(); });
  byId("facets").addEventListener("keydown", move);
  byId("facets").addEventListener("click", (event) => {
    const hit = event.target.closest("button");
    if (hit) select(sweep.cells.find((cell) => String(cell.n) === hit.dataset.cell));
  });
  narrow.addEventListener("change", settle);
  filters();
  setRange();
  show(state.cell);
  draw();
  byId("grid").hidden = false;
}
