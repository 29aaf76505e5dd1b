// The details of one tensor or scope: what becomes of it, where the mapping says so, figures and histograms.

/** An element with attributes, listeners (`onclick`) and children; texts stay texts. */
function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function mark(state) {
  return h("span", { class: `mark c-${STATES[state].color}`, "aria-hidden": "true" }, STATES[state].mark);
}

// Of a tensor with very many partners the first are listed, and of many histograms the first are drawn.
const LISTED = 24;
const DRAWN = 4;

function detailsOf(matching, node, go, close) {
  const { tensor } = node;
  const heading = h("div", { class: "heading" },
    h("h2", {}, tensor ? tensor.name : fullName(matching, node)),
    h("button", { type: "button", class: "x", "aria-label": "Close details", onclick: close }, "×"));
  const parts = [heading];
  if (!tensor || node.children.length) parts.push(scopeDetails(node));
  if (tensor) {
    parts.push(h("p", { class: "state" }, mark(tensor.state), h("b", {}, STATES[tensor.state].label), " ",
      h("span", {}, tensor.reason || STATES[tensor.state].meaning)));
    if (!tensor.joins.length) parts.push(table([["shape", `${tensor.shape} ${tensor.dtype}`]]));
    for (const join of tensor.joins.slice(0, LISTED)) parts.push(...joinDetails(matching, join, tensor, go));
    for (const index of tensor.findings) parts.push(findingDetails(matching.findings[index]));
  }
  return parts;
}

function fullName(matching, node) {
  const separator = matching.separators[node.side === "left" ? 0 : 1];
  const parts = [];
  for (let each = node; each.parent; each = each.parent) parts.unshift(each.label);
  return parts.join(separator);
}

function scopeDetails(node) {
  const counts = [...node.counts].sort(([a], [b]) => ORDER[a] - ORDER[b]);
  return h("ul", { class: "counts" }, ...counts.map(([state, number]) => (
    h("li", {}, mark(state), `${number.toLocaleString("en")} ${STATES[state].label}`))));
}

function table(rows) {
  return h("dl", {}, ...rows.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
}

function joinDetails(matching, join, tensor, go) {
  const sides = ["left", "right"].map((side, index) => {
    const all = join[side];
    const items = all.slice(0, LISTED).map((each) => h("li", {},
      each === tensor ? h("span", { class: "path" }, each.name)
        : h("button", { type: "button", class: "path", onclick: () => go(each) }, each.name),
      h("span", { class: "shape" }, `${each.shape} ${each.dtype}`)));
    if (all.length > LISTED) items.push(h("li", {}, `and ${(all.length - LISTED).toLocaleString("en")} more`));
    if (!items.length) return null;
    return h("div", {}, h("h3", {}, matching.labels[index]), h("ul", { class: "paths" }, ...items));
  });
  const rows = [];
  if (join.work) rows.push(["work", join.work]);
  if (join.row) rows.push(["row", join.row]);
  const parts = [h("div", { class: "join" }, ...sides), table(rows)];
  const shown = tensor.side === "right" ? [tensor] : join.right.slice(0, DRAWN);
  for (const each of shown) {
    const figures = join.figures.get(each.index);
    if (figures) parts.push(figuresOf(matching, figures, shown.length > 1 ? each.name : ""));
  }
  if (join.right.length > shown.length && tensor.side === "left" && join.figures.size) {
    parts.push(h("p", { class: "more" }, `and ${join.right.length - shown.length} more: select them on the right`));
  }
  return parts;
}

function figuresOf(matching, values, name) {
  const [, maxAbs, meanAbs, relative, cosine, zeros, nans, low, high, left, right] = values;
  const rows = [["max abs", short(maxAbs)], ["mean abs", short(meanAbs)], ["relative", short(relative)],
    ["cosine", typeof cosine === "number" ? cosine.toFixed(6) : cosine]];
  if (zeros) rows.push(["zeros", `${zeros.toLocaleString("en")} of opposite sign`]);
  if (nans) rows.push(["NaN", `${nans.toLocaleString("en")} with different bits`]);
  const figures = table(rows);
  figures.className = "figures";
  return h("div", {}, name ? h("h3", {}, name) : null, figures,
    left ? histogram(matching.labels, low, high, left, right || left) : null);
}

/** Numbers as in the terminal: few digits, the exponent where it helps. */
function short(value) {
  if (typeof value !== "number" || value === 0) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(1);
}

/** Both sides' counts: the left as bars, the right as a line in steps. */
function histogram(labels, low, high, left, right) {
  const [width, height, top] = [320, 110, 6];
  const most = Math.max(1, ...left, ...right);
  const x = (bin) => (bin / left.length) * width;
  // A bin with few values is visible all the same.
  const y = (number) => (number ? Math.min(height - 2, top + (1 - number / most) * (height - top)) : height);
  const bars = left.map((number, bin) => (number
    ? `M${x(bin) + 0.5} ${height}V${y(number).toFixed(1)}H${x(bin + 1) - 0.5}V${height}Z` : "")).join("");
  const tops = right.map((number, bin) => `V${y(number).toFixed(1)}H${x(bin + 1)}`);
  const steps = `M0 ${height}${tops.join("")}V${height}`;
  const label = `Histogram from ${short(low)} to ${short(high)}`;
  const shape = { viewBox: `0 0 ${width} ${height + 1}`, class: "histogram", role: "img", "aria-label": label };
  const zero = low < 0 && high > 0 ? (width * -low) / (high - low) : null;
  const picture = svg("svg", shape,
    svg("path", { d: bars, class: "bars" }),
    ...(zero === null ? [] : [svg("path", { d: `M${zero.toFixed(1)} 0V${height}`, class: "zero" })]),
    svg("path", { d: steps, class: "steps" }),
    svg("path", { d: `M0 ${height + 0.5}H${width}`, class: "axis" }));
  return h("figure", {}, picture,
    h("div", { class: "ends" }, h("span", {}, short(low)), h("span", {}, short(high))),
    h("figcaption", {}, h("span", { class: "key bars" }), labels[0], h("span", { class: "key steps" }), labels[1],
      h("span", { class: "most" }, `tallest ${most.toLocaleString("en")}`)));
}

function findingDetails(finding) {
  const rows = ["where", "row", "expected", "got", "nearest", "next"].filter((key) => finding[key])
    .map((key) => [key, finding[key]]);
  return h("section", { class: finding.stops ? "finding stops" : "finding" },
    h("p", {}, h("b", {}, finding.stops ? finding.kind : `note: ${finding.kind}`), " ", finding.what), table(rows));
}
