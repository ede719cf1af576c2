// The MFMA lane map: point at an element of A, B or D and see which lane and register hold it and who takes part.
// Hovering looks, clicking keeps; arrow keys move on the focused matrix; the four inputs do the same without a mouse.

const CHOSEN = "#d55e00", PARTNER = "#56b4e9";
// cividis, nine stops: lane 0 is dark blue, lane 63 yellow; ordered in lightness for every eye
const STOPS = ["#00224e", "#15396d", "#3d4e6b", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#fee838"];
const AXES = { A: ["i", "k"], B: ["k", "j"], D: ["i", "j"] };

function laneColour(lane) {
  const at = (lane / 63) * (STOPS.length - 1), low = Math.min(Math.floor(at), STOPS.length - 2), part = at - low;
  const mix = [1, 3, 5].map((c) => {
    const [a, b] = [STOPS[low], STOPS[low + 1]].map((stop) => parseInt(stop.slice(c, c + 2), 16));
    return Math.round(a + (b - a) * part);
  });
  return `rgb(${mix.join(",")})`;
}

// Elements that meet the chosen one: [what they do, operand, list of [row, column]].
export function partners(map, at) {
  const m = [...Array(map.m).keys()], k = [...Array(map.k).keys()], { row, column } = at;
  if (at.operand === "A")
    return [["Multiplied by", "B", m.map((j) => [column, j])], ["Adds to", "D", m.map((j) => [row, j])]];
  if (at.operand === "B")
    return [["Multiplied by", "A", m.map((i) => [i, row])], ["Adds to", "D", m.map((i) => [i, column])]];
  return [["Sums over", "A", k.map((x) => [row, x])], ["and", "B", k.map((x) => [x, column])]];
}

function ranges(numbers) {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b), runs = [];
  for (const n of sorted) {
    const last = runs[runs.length - 1];
    if (last && n === last[1] + 1) last[1] = n;
    else runs.push([n, n]);
  }
  return runs.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(", ");
}

// Places in words: [lane, register, half?] -> "lanes 32-47, v0 high half".
export function describe(places) {
  const lanes = ranges(places.map((p) => p[0])), halves = new Set(places.map((p) => p[2]));
  const half = places[0].length < 3 ? "" : halves.size === 2 ? " both halves" : halves.has(1) ? " high half" : " low half";
  return `lane${places.length > 1 ? "s" : ""} ${lanes}, v${ranges(places.map((p) => p[1]))}${half}`;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const maps = model.get("maps"), canvases = {}, inputs = {};
  let hovered = null;
  const kept = () => ({ ...model.get("chosen") });
  const map = () => maps[kept().shape];
  const size = (operand) => [map()[operand].length, map()[operand][0].length];

  function keep(change) {
    const next = { ...kept(), ...change };
    const [rows, columns] = [maps[next.shape][next.operand].length, maps[next.shape][next.operand][0].length];
    next.row = Math.min(Math.max(Number(next.row) || 0, 0), rows - 1);
    next.column = Math.min(Math.max(Number(next.column) || 0, 0), columns - 1);
    hovered = null;
    model.set("chosen", next);
    model.save_changes();
  }

  function input(name, label, made) {
    made.addEventListener("change", () => keep({ [name]: made.value }));
    inputs[name] = made;
    return element("label", {}, `${label} `, made);
  }
  const select = (options) => element("select", {}, ...options.map((o) => element("option", { value: o }, o)));
  const form = element("div", { class: "lane-map-form" },
    input("shape", "Shape", select(Object.keys(maps))), input("operand", "Matrix", select(["A", "B", "D"])),
    input("row", "Row", element("input", { type: "number", min: 0 })),
    input("column", "Column", element("input", { type: "number", min: 0 })));
  const status = element("div", { class: "lane-map-status", role: "status", "aria-live": "polite" });
  const grids = element("div", { class: "lane-map-grids" });
  const registers = element("canvas", { role: "img", class: "lane-map-registers" });

  for (const operand of ["A", "B", "D"]) {
    const title = element("div", { class: "lane-map-title" });
    const canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": "matrix" });
    canvases[operand] = { canvas, title };
    const at = (event) => {
      const box = canvas.getBoundingClientRect(), [rows, columns] = size(operand);
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
      const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
      return { operand, row: Math.min(Math.max(row, 0), rows - 1), column: Math.min(Math.max(column, 0), columns - 1) };
    };
    canvas.addEventListener("pointermove", (event) => { hovered = at(event); draw(); });
    canvas.addEventListener("pointerleave", () => { hovered = null; draw(); });
    canvas.addEventListener("click", (event) => keep(at(event)));
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault(); // keep the page still
      const from = kept().operand === operand ? kept() : { row: 0, column: 0 };
      keep({ operand, row: from.row + step[0], column: from.column + step[1] });
    });
    grids.append(element("div", {}, title, canvas));
  }

  function draw() {
    const chosen = hovered ? { ...kept(), ...hovered } : kept(), now = map(), scale = 9;
    const meets = partners(now, chosen);
    for (const [operand, { canvas, title }] of Object.entries(canvases)) {
      const [rows, columns] = size(operand), sign = { A: "", B: "× ", D: "= " }[operand];
      title.textContent = `${sign}${operand} [${rows}×${columns}]  ${AXES[operand][0]} ↓  ${AXES[operand][1]} →`;
      canvas.setAttribute("aria-label", `${operand}, ${rows} by ${columns}, ${AXES[operand].join(" down, ")} across; arrow keys choose`);
      [canvas.width, canvas.height] = [columns * scale, rows * scale];
      const pen = canvas.getContext("2d");
      now[operand].forEach((line, row) => line.forEach(([lane], column) => {
        pen.fillStyle = laneColour(lane);
        pen.fillRect(column * scale, row * scale, scale, scale);
      }));
      pen.lineWidth = 2;
      for (const [, name, list] of meets) {
        if (name !== operand) continue;
        pen.strokeStyle = PARTNER;
        for (const [row, column] of list) pen.strokeRect(column * scale + 1, row * scale + 1, scale - 2, scale - 2);
      }
      if (chosen.operand === operand) {
        pen.fillStyle = CHOSEN;
        pen.fillRect(chosen.column * scale, chosen.row * scale, scale, scale);
        pen.strokeStyle = "#ffffff";
        pen.strokeRect(chosen.column * scale, chosen.row * scale, scale, scale);
      }
    }
    drawRegisters(now, chosen, meets);
    const place = now[chosen.operand][chosen.row][chosen.column];
    status.replaceChildren(
      element("b", {}, `${chosen.operand}[${chosen.row}][${chosen.column}]: ${describe([place])}`),
      ...meets.map(([role, name, list]) => element("div", {}, `${role} ${list.length} elements of ${name}: ` +
        describe(list.map(([row, column]) => now[name][row][column])))));
    for (const [name, made] of Object.entries(inputs)) made.value = chosen[name];
    [inputs.row.max, inputs.column.max] = size(chosen.operand).map((n) => n - 1);
  }

  // Lanes across, register halves down: A, then B, then D.
  function drawRegisters(now, chosen, meets) {
    const high = 8, wide = 11, left = 40, operandRows = 2 * now.operandRegisters;
    const first = { A: 0, B: operandRows, D: 2 * operandRows }, rows = first.D + now.resultRegisters;
    [registers.width, registers.height] = [left + 64 * wide, rows * high + 14];
    const pen = registers.getContext("2d"), ink = getComputedStyle(el).color;
    const box = (name, [lane, register, half], colour) => {
      pen.fillStyle = colour;
      pen.fillRect(left + lane * wide, (first[name] + (half === undefined ? register : 2 * register + half)) * high, wide - 1, high - 1);
    };
    pen.font = "9px sans-serif";
    for (const name of ["A", "B", "D"])
      for (const places of now[name]) for (const place of places) box(name, place, "rgba(128,128,128,0.22)");
    for (const [, name, list] of meets) for (const [row, column] of list) box(name, now[name][row][column], PARTNER);
    box(chosen.operand, now[chosen.operand][chosen.row][chosen.column], CHOSEN);
    pen.fillStyle = ink;
    for (const name of ["A", "B", "D"]) {
      const count = name === "D" ? now.resultRegisters : now.operandRegisters, tall = name === "D" ? 1 : 2;
      for (let r = 0; r < count; r += name === "D" && count > 4 ? 4 : 4 / (2 * tall))
        pen.fillText(`${r ? "  " : name} v${r}`, 2, (first[name] + r * tall) * high + 8);
    }
    for (let lane = 0; lane < 64; lane += 8) pen.fillText(`${lane}`, left + lane * wide, rows * high + 11);
    registers.setAttribute("aria-label", "Registers of the wave by lane; the text above says the same");
  }

  el.classList.add("lane-map");
  el.addEventListener("keydown", (event) => { // to JupyterLab single keys mean other things: 0 0 restarts the kernel
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  const legend = (words) => element("div", { class: "lane-map-title" }, words);
  el.append(form, status, legend("Colour: the lane that holds the element, from 0 (dark blue) to 63 (yellow). Orange: chosen; blue frame: meets it."),
    grids, legend("Registers of the wave: lanes 0 to 63 across; of A and B, the low half above the high half."), registers);
  for (const name of ["transitionend", "transitioncancel"]) el.addEventListener(name, (event) => { if (event.target === el) draw(); });
  model.on("change:chosen", draw);
  draw();
}

export default { render };
