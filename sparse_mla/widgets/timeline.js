// Waves over time: one row a wave, one bar an instruction record; the cycles it waited in the colour of the cause, then those
// of its issue. Everything is drawn on one canvas, at most once a frame. A column of pixels shows how the time that it stands
// for is split, whatever the zoom: far out many records share it, close up one fills it. The cost of a frame follows from the
// pixels, not from the number of records: sums of each cause up to every record are kept, and a column is their difference.

const ROW = 20, BAR = 13, STRIP = 3, AXIS = 22, LABEL = 40, LEAST = 8; // CSS pixels; LEAST: cycles across at most zoom

// The records as columns, in order of row and time, and their running sums.
export class Trace {
  constructor(columns, causes, rows) {
    const read = (name, Type) => {
      const view = columns[name]; // a DataView into a message, at any offset
      return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    };
    for (const name of ["begin", "duration", "stall", "line", "place", "starts"]) this[name] = read(name, Uint32Array);
    this.cause = read("cause", Uint8Array);
    Object.assign(this, { rows, kinds: causes, issue: causes.indexOf("issue"), gap: causes.indexOf("dependency"), count: this.begin.length });
    const n = this.count, k = causes.length;
    // Record i waits from lo to mid, issues till hi, and until `to` nothing is recorded: the next one waits for what it needs
    // before it can be chosen (`dependency`, as in analyse.timeline). Where records overlap, the later one counts from its begin.
    [this.mid, this.hi, this.to] = [0, 1, 2].map(() => new Float64Array(n));
    this.lo = this.begin;
    this.sums = new Float64Array((n + 1) * k); // of each cause over all records before this one
    this.row = new Uint32Array(n);
    this.index = new Uint32Array(n); // place in the frame -> record
    for (let row = 0; row < rows; row++)
      for (let i = this.starts[row], stop = this.starts[row + 1]; i < stop; i++) {
        const over = this.lo[i] + this.duration[i], next = i + 1 < stop ? this.lo[i + 1] : over;
        this.hi[i] = Math.min(over, next);
        this.mid[i] = Math.min(this.lo[i] + this.stall[i], this.hi[i]);
        this.to[i] = next;
        [this.row[i], this.index[this.place[i]]] = [row, i];
      }
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < k; c++) this.sums[(i + 1) * k + c] = this.sums[i * k + c];
      this.part(i, this.to[i], 1, this.sums.subarray((i + 1) * k));
    }
    this.end = this.hi.reduce((a, b) => Math.max(a, b), 1);
    this.find("");
  }

  // The record of `row` at `t`, with the gap behind it, or the first after `t`, looking from record `from` on; else the row's end.
  after(row, t, from = this.starts[row]) {
    const stop = this.starts[row + 1];
    let low = from, step = 1;
    while (low + step < stop && this.to[low + step - 1] <= t) [low, step] = [low + step, step * 2];
    let high = Math.min(low + step, stop);
    while (low < high) {
      const half = (low + high) >> 1;
      if (this.to[half] <= t) low = half + 1;
      else high = half;
    }
    return low;
  }

  // Adds the cycles of each cause from `t0` to `t1` to `into`; `a` and `b` are the records at these.
  split(a, b, t0, t1, stop, into) {
    const k = this.kinds.length, one = a * k, two = b * k;
    for (let c = 0; c < k; c++) into[c] += this.sums[two + c] - this.sums[one + c];
    if (a < stop && t0 > this.lo[a]) this.part(a, t0, -1, into);
    if (b < stop && t1 > this.lo[b]) this.part(b, t1, 1, into);
  }

  part(i, t, sign, into) { // of record i, the cycles before t
    into[this.cause[i]] += sign * (Math.min(t, this.mid[i]) - this.lo[i]);
    if (t > this.mid[i]) into[this.issue] += sign * (Math.min(t, this.hi[i]) - this.mid[i]);
    if (t > this.hi[i]) into[this.gap] += sign * (t - this.hi[i]);
  }

  // Cycles of each cause between two times, all waves together.
  totals(t0 = 0, t1 = this.end) {
    const into = new Float64Array(this.kinds.length);
    for (let row = 0; row < this.rows; row++) {
      const a = this.after(row, t0), b = this.after(row, t1, a);
      this.split(a, b, t0, t1, this.starts[row + 1], into);
    }
    return into;
  }

  // The record at `t`, or the longest of those within `near` cycles of it; -1 if there is none.
  at(row, t, near) {
    let best = -1;
    const stop = this.starts[row + 1];
    for (let i = this.after(row, t - near), n = 0; i < stop && this.lo[i] <= t + near && n < 9999; i++, n++) {
      if (this.hi[i] < t - near) continue; // its gap
      if (this.lo[i] <= t && t < this.hi[i] && this.hi[i] - this.lo[i] > 2 * near) return i;
      if (best < 0 || this.duration[i] > this.duration[best]) best = i;
    }
    return best;
  }

  // Marks the records whose static instruction `wanted(line)` takes; "" marks none.
  find(wanted) {
    const kept = new Map();
    const takes = (line) => kept.get(line) ?? (kept.set(line, wanted(line)), kept.get(line));
    const hits = [];
    this.found = new Uint32Array(this.count + 1); // marked records before this one
    for (let i = 0; i < this.count; i++) {
      if (wanted && takes(this.line[i])) hits.push(i);
      this.found[i + 1] = hits.length;
    }
    this.hits = Uint32Array.from(hits);
  }
}

// A round step of time so that at least `least` cycles lie between two ticks.
export function tick(least) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= least);
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const number = (n) => Math.round(n).toLocaleString("en-US");
const percent = (part, all) => `${((100 * part) / (all || 1)).toFixed(1)} %`;

function render({ model, el }) {
  const about = model.get("about"), rows = model.get("rows"), lines = model.get("lines");
  const trace = new Trace(model.get("columns"), about.causes.map(([name]) => name), rows.length);
  const bytes = about.causes.map(([, colour]) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  const letters = bytes.map((rgb) => { // whichever of black and white has more contrast (WCAG's relative luminance)
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
  });
  let view = { begin: 0, end: trace.end, top: 0, search: "", cause: "", ...model.get("view") };
  let chosen = -1, hovered = -1, pending = 0, saving = 0, pixels = null, gutter = 0, drag = null, missed = false;

  // --- what stands around the canvas
  const badge = element("span", { class: "wave-timeline-kind", title: about.means }, element("b", {}, about.kind), ` · ${about.source}`);
  [badge.style.color, badge.style.background] = [about.ink, about.paper];
  const button = (words, label, act) => {
    const made = element("button", { type: "button", "aria-label": label, title: label }, words);
    made.addEventListener("click", act);
    return made;
  };
  const search = element("input", { type: "search", spellcheck: "false", placeholder: "v_mfma|s_barrier" });
  const count = element("span", { role: "status", class: "wave-timeline-count" });
  const form = element("div", { class: "wave-timeline-form" },
    element("label", {}, "Find ", search), button("▲", "previous match", () => step(-1)), button("▼", "next match", () => step(1)), count,
    element("span", { class: "wave-timeline-zoom" }, button("−", "zoom out", () => zoom(1.6)), button("+", "zoom in", () => zoom(1 / 1.6)),
      button("all", "show all", () => look(0, trace.end))));
  const legend = element("div", { class: "wave-timeline-legend", role: "group", "aria-label": "cycles by cause; press to bring one out" });
  const whole = trace.totals(), all = whole.reduce((a, b) => a + b, 0), inView = []; // shares of recorded time, waits and issues
  const keys = about.causes.map(([name, colour], c) => {
    const swatch = element("span", { class: "wave-timeline-swatch" });
    swatch.style.background = colour;
    inView[c] = element("span", { class: "wave-timeline-view" });
    const key = element("button", { type: "button", title: `${number(whole[c])} cycles of all waves` },
      swatch, `${name} ${percent(whole[c], all)}`, inView[c]);
    key.addEventListener("click", () => change({ cause: view.cause === name ? "" : name }));
    key.hidden = !whole[c];
    legend.append(key);
    return [name, key];
  });
  const help = "Drag or arrow keys move; + and − zoom, and so does the wheel once the timeline has the focus (with Ctrl always); " +
    "Home shows all. Click chooses an instruction, Shift and arrows the next one; / finds, n and p step through matches.";
  const canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": "timeline", "aria-label":
    `${about.title}: ${rows.length} waves, ${number(trace.count)} instruction records, ${number(trace.end)} cycles. ${help}` });
  const spacer = element("div"), scroller = element("div", { class: "wave-timeline-scroller", tabindex: -1 }, canvas, spacer);
  const tip = element("div", { class: "wave-timeline-tip", "aria-hidden": "true" });
  const detail = element("div", { class: "wave-timeline-detail", role: "status", "aria-live": "polite" });
  const high = Math.min(AXIS + rows.length * ROW + 2, 24 * ROW);
  scroller.style.height = canvas.style.height = `${high}px`;
  spacer.style.height = `${AXIS + rows.length * ROW + 2 - high}px`;

  // --- the view
  const plot = () => Math.max(scroller.clientWidth - gutter, 50);
  const cycles = () => (view.end - view.begin) / plot(); // a CSS pixel
  function change(next) {
    view = { ...view, ...next };
    clearTimeout(saving);
    saving = setTimeout(() => { model.set("view", view); model.save_changes(); }, 250);
    show();
  }
  function look(begin, end) {
    const span = Math.min(Math.max(end - begin, LEAST), trace.end);
    const from = Math.min(Math.max((begin + end - span) / 2, 0), trace.end - span);
    change({ begin: from, end: from + span });
  }
  function zoom(factor, at = (view.begin + view.end) / 2) {
    const span = Math.min(Math.max((view.end - view.begin) * factor, LEAST), trace.end);
    const begin = at - ((at - view.begin) * span) / (view.end - view.begin);
    look(begin, begin + span);
  }
  const pan = (by) => {
    const span = view.end - view.begin, begin = Math.min(Math.max(view.begin + by, 0), trace.end - span);
    change({ begin, end: begin + span });
  };
  function show() {
    pending ||= requestAnimationFrame(draw);
  }

  // --- one instruction
  function facts(i) {
    const line = trace.line[i], cause = about.causes[trace.cause[i]][0];
    const waited = trace.stall[i] ? `waited ${number(trace.stall[i])} cycles (${cause}), ` : "did not wait, ";
    return [lines.text[line], lines.source[line], `${waited}${number(trace.duration[i])} in all`,
      `from cycle ${number(about.origin + trace.begin[i])} · ${rows[trace.row[i]].join(" · ")} · pc ${lines.pc[line]}`];
  }
  function choose(i, reveal = false) {
    chosen = i;
    const place = i < 0 ? null : trace.place[i];
    if (model.get("selected") !== place) {
      model.set("selected", place);
      model.save_changes();
    }
    if (i >= 0 && reveal) {
      const { lo, hi } = trace, span = view.end - view.begin, y = trace.row[i] * ROW;
      if (lo[i] < view.begin || hi[i] > view.end) look((lo[i] + hi[i] - span) / 2, (lo[i] + hi[i] + span) / 2);
      if (y < scroller.scrollTop || y + ROW > scroller.scrollTop + high - AXIS) scroller.scrollTop = y - high / 2 + AXIS;
    }
    if (i < 0) detail.replaceChildren("No instruction is chosen.");
    else {
      const [text, source, waited, where] = facts(i);
      detail.replaceChildren(element("code", {}, text), element("div", {}, waited, ` · ${where}`),
        element("div", { class: "wave-timeline-source" }, source || "no source line"));
    }
    counted();
    show();
  }
  const within = (i, by) => {
    const row = trace.row[i];
    return Math.min(Math.max(i + by, trace.starts[row]), trace.starts[row + 1] - 1);
  };
  function beside(i, by) { // the record of another wave at the same time
    for (let row = trace.row[i] + by; row >= 0 && row < rows.length; row += by)
      if (trace.starts[row] < trace.starts[row + 1]) return Math.min(trace.after(row, trace.lo[i]), trace.starts[row + 1] - 1);
    return i;
  }

  // --- search
  function counted(wrong = "") {
    const hits = trace.hits.length, rank = chosen >= 0 && trace.found[chosen + 1] > trace.found[chosen] ? trace.found[chosen + 1] : 0;
    count.textContent = wrong || (view.search ? (hits ? `${rank ? `${number(rank)} of ` : ""}${number(hits)}` : "nothing found") : "");
  }
  function find(words) {
    let wanted = "", wrong = "";
    try {
      const pattern = words && new RegExp(words, "i");
      wanted = pattern && ((line) => pattern.test(lines.text[line]) || pattern.test(lines.source[line]));
    } catch (error) {
      wrong = error.message;
    }
    search.setAttribute("aria-invalid", `${Boolean(wrong)}`);
    trace.find(wanted);
    change({ search: words });
    counted(wrong);
  }
  function step(by) {
    const { hits, found } = trace;
    if (!hits.length) return;
    // From the chosen record, else from what is at the left edge of the view.
    const from = chosen >= 0 ? chosen : trace.after(0, view.begin) - (by > 0 ? 1 : 0);
    const rank = by > 0 ? found[from + 1] : found[Math.max(from, 0)] - 1;
    choose(hits[(rank + hits.length) % hits.length], true);
  }

  // --- drawing
  function ticks() {
    const by = tick(90 * cycles()), made = [];
    for (let t = Math.ceil((about.origin + view.begin) / by) * by; t < about.origin + view.end; t += by) made.push(t - about.origin);
    return made;
  }
  function draw() {
    pending = 0;
    const ratio = window.devicePixelRatio || 1, pen = canvas.getContext("2d"), style = getComputedStyle(el);
    const [wide, tall] = [Math.round(scroller.clientWidth * ratio), Math.round(high * ratio)];
    // Hidden. When it is shown, `grown` says so, unless that was within one frame (JupyterLab, while it changes themes).
    if (!wide && !missed) setTimeout(show, 200);
    missed = !wide;
    if (missed) return;
    if (canvas.width !== wide || canvas.height !== tall) {
      [canvas.width, canvas.height, pixels] = [wide, tall, null];
      canvas.style.width = `${scroller.clientWidth}px`;
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, scroller.clientWidth, high);
    pen.font = "11px sans-serif";
    if (!gutter) {
      const widest = (n) => rows.reduce((most, names) => Math.max(most, pen.measureText(names[n]).width), 0);
      gutter = Math.ceil(widest(0) + widest(1) + 22);
    }
    const across = wide - Math.round(gutter * ratio), down = tall - Math.round(AXIS * ratio);
    if (across < 20) return;
    if (!pixels || pixels.width !== across || pixels.height !== down) pixels = new ImageData(across, down);
    const words = new Uint32Array(pixels.data.buffer), top = scroller.scrollTop, labels = [];
    words.fill(0);
    for (const t of ticks()) // behind the bars
      for (let at = Math.floor((t - view.begin) / cycles() * ratio); at < words.length; at += across) words[at] = 0x59808080;
    const quiet = (c) => view.cause && about.causes[c][0] !== view.cause;
    const ink = bytes.map(([r, g, b], c) => ((quiet(c) ? 46 : 255) << 24 | b << 16 | g << 8 | r) >>> 0);
    const accent = /(\d+), (\d+), (\d+)/.exec(style.color).slice(1).map(Number);
    const mark = (255 << 24 | accent[2] << 16 | accent[1] << 8 | accent[0]) >>> 0;
    const [first, last] = [Math.floor(top / ROW), Math.min(rows.length, Math.ceil((top + high - AXIS) / ROW))];
    for (let row = first; row < last; row++) paint(row, words, across, down, Math.round((row * ROW - top + 3) * ratio), ratio, ink, mark, labels);
    pen.putImageData(pixels, Math.round(gutter * ratio), Math.round(AXIS * ratio));
    annotate(pen, style, top, first, last, labels);
    const seen = trace.totals(view.begin, view.end), sum = seen.reduce((a, b) => a + b, 0);
    keys.forEach(([name, key], c) => {
      inView[c].textContent = `in view ${percent(seen[c], sum)}`;
      key.setAttribute("aria-pressed", `${view.cause === name}`);
    });
  }

  // One row into `words`, column by column; runs of one colour at once. All measures in device pixels.
  function paint(row, words, across, down, y, ratio, ink, mark, labels) {
    const { lo, mid, hi, to, cause, found } = trace, stop = trace.starts[row + 1], k = ink.length;
    const each = (view.end - view.begin) / across, tall = Math.round(BAR * ratio), strip = Math.round(STRIP * ratio);
    const into = new Float64Array(k);
    const fill = (colour, x, n, from, lines) => {
      const end = Math.min(from + lines, down) * across + x;
      for (let at = Math.max(from, 0) * across + x; at < end; at += across)
        if (n === 1) words[at] = colour; // faster than fill
        else words.fill(colour, at, at + n);
    };
    let i = trace.after(row, view.begin);
    for (let x = Math.max(Math.floor((lo[i] - view.begin) / each), 0); x < across && i < stop; ) {
      const t0 = view.begin + x * each, t1 = t0 + each;
      const part = t0 < mid[i] ? 0 : t0 < hi[i] ? 1 : 2, till = [mid, hi, to][part][i];
      if (t0 >= lo[i] && t1 <= till) { // one colour, one run
        const c = [cause[i], trace.issue, trace.gap][part];
        const n = Math.max(Math.min(Math.floor((till - view.begin) / each), across) - x, 1);
        fill(ink[c], x, n, y, tall);
        if (part < 2 && found[i + 1] > found[i]) fill(mark, x, n, y + tall, strip);
        if (part < 2 && n >= LABEL * ratio) labels.push([x / ratio, n / ratio, row, i, c]);
        x += n;
        if (view.begin + x * each >= to[i]) i = trace.after(row, view.begin + x * each, i);
        continue;
      }
      const next = trace.after(row, t1, i);
      const begins = next < stop && lo[next] < t1 && (next > i || lo[i] >= t0);
      if (found[begins ? next + 1 : next] > found[i] || found[i + 1] > found[i]) fill(mark, x, 1, y + tall, strip);
      if (!(begins && hi[next] - lo[next] > 6 * ratio * each)) { // else a blank column parts wide bars
        into.fill(0);
        trace.split(i, next, t0, t1, stop, into);
        for (let c = 0, level = 0, low = 0; c < k; c++) {
          level += into[c] / each * tall;
          const up = Math.min(Math.round(level), tall);
          if (up > low) fill(ink[c], x, 1, y + tall - up, up - low);
          low = up;
        }
      } else fill(0, x, 1, y, tall);
      i = next;
      x++;
    }
  }

  // Ticks, names of rows, text in wide bars, frames of what is hovered and chosen. All measures in CSS pixels.
  function annotate(pen, style, top, first, last, labels) {
    const width = scroller.clientWidth, place = (t) => gutter + (t - view.begin) / cycles();
    pen.textBaseline = "middle";
    pen.font = "11px monospace";
    const letter = pen.measureText("m").width;
    for (const [x, n, row, i, c] of labels) {
      pen.fillStyle = view.cause && about.causes[c][0] !== view.cause ? style.color : letters[c];
      const y = AXIS + row * ROW - top + 3 + BAR / 2;
      if (y > AXIS) pen.fillText(lines.text[trace.line[i]].slice(0, Math.floor((n - 6) / letter)), gutter + x + 3, y + 1);
    }
    pen.font = "11px sans-serif";
    pen.strokeStyle = "rgba(128,128,128,0.45)";
    pen.lineWidth = 1;
    pen.save();
    pen.beginPath();
    pen.rect(0, AXIS, width, high);
    pen.clip();
    pen.fillStyle = style.color;
    for (let row = first; row < last; row++) {
      const y = AXIS + row * ROW - top, group = row === first || rows[row][0] !== rows[row - 1][0];
      if (group) {
        pen.fillText(rows[row][0], 4, Math.max(y, AXIS) + ROW / 2);
        pen.strokeRect(0, Math.round(y) + 0.5, width, 0);
      }
      pen.textAlign = "right";
      pen.fillText(rows[row][1], gutter - 6, y + ROW / 2);
      pen.textAlign = "left";
    }
    for (const [i, line] of [[hovered, 1], [chosen, 2.5]]) {
      if (i < 0) continue;
      const [x0, x1] = [place(trace.lo[i]), place(trace.hi[i])], y = AXIS + trace.row[i] * ROW - top + 2;
      if (x1 < gutter || x0 > width) continue;
      pen.strokeStyle = style.color;
      pen.lineWidth = line;
      pen.strokeRect(Math.max(x0, gutter) - 1, y, Math.max(Math.min(x1, width) - Math.max(x0, gutter), 1) + 2, BAR + 2);
    }
    pen.restore();
    pen.fillStyle = style.color;
    for (const t of ticks()) {
      const x = Math.round(place(t)), words = number(about.origin + t);
      pen.fillRect(x, AXIS - 5, 1, 5);
      if (x + pen.measureText(words).width + 4 < width) pen.fillText(words, x + 3, 9);
    }
    pen.fillText("cycle", 4, 9);
    if (chosen >= 0) {
      const x = place((trace.lo[chosen] + trace.hi[chosen]) / 2);
      pen.beginPath();
      for (const [dx, y] of [[-5, AXIS - 7], [5, AXIS - 7], [0, AXIS]]) pen.lineTo(x + dx, y);
      if (x >= gutter && x <= width) pen.fill();
    }
  }

  // --- hands
  const where = (event) => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left - gutter, y = event.clientY - box.top - AXIS;
    return { x, t: view.begin + x * cycles(), row: y < 0 ? -1 : Math.floor((y + scroller.scrollTop) / ROW) };
  };
  const pick = ({ x, t, row }) => (x < 0 || row < 0 || row >= rows.length ? -1 : trace.at(row, t, 1.5 * cycles()));
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    drag = { x: event.clientX, y: event.clientY, begin: view.begin, top: scroller.scrollTop, far: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.far ||= Math.hypot(dx, dy) > 4;
      if (drag.far) {
        pan(drag.begin - dx * cycles() - view.begin);
        scroller.scrollTop = drag.top - dy;
        tip.hidden = true;
      }
      return;
    }
    const i = pick(where(event));
    if (i !== hovered) show();
    hovered = i;
    tip.hidden = i < 0;
    if (i < 0) return;
    tip.replaceChildren(...facts(i).filter(Boolean).map((line, n) => element(n ? "div" : "b", {}, line)));
    const box = el.getBoundingClientRect(), left = event.clientX - box.left;
    tip.style.left = `${Math.max(Math.min(left + 14, box.width - tip.offsetWidth - 4), 0)}px`;
    tip.style.top = `${event.clientY - box.top + 18}px`;
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.far) choose(pick(where(event)));
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("pointerleave", () => { [hovered, tip.hidden] = [-1, true]; show(); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && el.getRootNode().activeElement !== canvas) return; // the page scrolls
    event.preventDefault();
    const unit = event.deltaMode ? 16 : 1, sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (sideways) pan(sideways * unit * cycles());
    else zoom(Math.exp(event.deltaY * unit * 0.002), where(event).t);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const from = chosen >= 0 ? chosen : Math.min(trace.after(0, view.begin), trace.count - 1), span = view.end - view.begin;
    const act = event.shiftKey ? {
      ArrowLeft: () => choose(within(from, -1), true), ArrowRight: () => choose(within(from, 1), true),
      ArrowUp: () => choose(beside(from, -1), true), ArrowDown: () => choose(beside(from, 1), true),
    } : {
      ArrowLeft: () => pan(-span / 8), ArrowRight: () => pan(span / 8),
      ArrowUp: () => { scroller.scrollTop -= ROW; }, ArrowDown: () => { scroller.scrollTop += ROW; },
      PageUp: () => { scroller.scrollTop -= high - AXIS; }, PageDown: () => { scroller.scrollTop += high - AXIS; },
      Home: () => look(0, trace.end), Escape: () => choose(-1), n: () => step(1), p: () => step(-1),
    };
    const centre = chosen >= 0 && trace.hi[chosen] > view.begin && trace.lo[chosen] < view.end
      ? (trace.lo[chosen] + trace.hi[chosen]) / 2 : (view.begin + view.end) / 2;
    const any = { "+": () => zoom(1 / 1.6, centre), "=": () => zoom(1 / 1.6, centre), "-": () => zoom(1.6, centre), "/": () => search.focus() };
    const found = event.ctrlKey || event.metaKey || event.altKey ? null : act[event.key] || any[event.key];
    if (!found) return;
    event.preventDefault(); // keep the page still
    found();
  });
  search.addEventListener("input", () => find(search.value));
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") canvas.focus();
  });
  scroller.addEventListener("scroll", () => change({ top: scroller.scrollTop }));
  for (const name of ["transitionend", "transitioncancel"]) // the colour of the text has changed: another theme
    el.addEventListener(name, (event) => { if (event.target === el) show(); });

  el.classList.add("wave-timeline");
  el.addEventListener("keydown", (event) => { // to JupyterLab single keys mean other things: 0 0 restarts the kernel
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  el.append(element("div", { class: "wave-timeline-title" }, element("b", {}, about.title), " ", badge, ` ${about.note}`), form, legend, scroller,
    element("div", { class: "wave-timeline-help" }, help), detail, tip);
  tip.hidden = true;
  const grown = new ResizeObserver(show);
  grown.observe(scroller);
  const { top, begin, end } = view;
  const adopt = () => choose(model.get("selected") === null ? -1 : trace.index[model.get("selected")], true);
  find(search.value = view.search);
  adopt();
  look(begin, end);
  const reselect = () => { if ((chosen < 0 ? null : trace.place[chosen]) !== model.get("selected")) adopt(); };
  const review = () => { // another view of the same widget, or Python
    const next = { ...view, ...model.get("view") };
    if (JSON.stringify(next) === JSON.stringify(view)) return;
    if (next.search !== view.search) find(search.value = next.search);
    view = next;
    scroller.scrollTop = view.top;
    show();
  };
  model.on("change:selected", reselect);
  model.on("change:view", review);
  requestAnimationFrame(() => { scroller.scrollTop = top; });
  return () => {
    model.off("change:selected", reselect);
    model.off("change:view", review);
    grown.disconnect();
    clearTimeout(saving);
    cancelAnimationFrame(pending);
  };
}

export default { render };
