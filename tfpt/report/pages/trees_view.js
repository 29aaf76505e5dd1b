// What is drawn: only rows and lines near the visible part are in the document, however many tensors there are.

const $ = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
const EXTRA = 12; // rows beyond the visible part
const MOST_LINES = 400;
const panes = { left: $("tree-left"), right: $("tree-right") };
const view = {
  matching: null, words: [], states: new Set(), noted: false, closed: new Set(),
  rows: {}, drawn: { left: new Map(), right: new Map() }, active: { left: null, right: null },
  selected: null, hovered: null,
};
const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) || 26;
let ROW = rowHeight();

const filtering = () => view.words.length > 0 || view.states.size > 0 || view.noted;
// While something is searched, what was found is open unless it is closed by hand.
const isOpen = (node) => (filtering() ? !view.closed.has(node) : node.open);

function show(index) {
  view.matching = readMatching(DATA.matchings[index]);
  Object.assign(view, { selected: null, hovered: null, active: { left: null, right: null } });
  view.states.clear();
  view.noted = false;
  const { trees, title, verdict, good, files, labels, tensors } = view.matching;
  for (const side of SIDES) openSome(trees[side], 60);
  // What is open on the right is open on the left, too.
  const opened = [...below(trees.right)].filter((node) => node.open && node.parent);
  for (const node of opened) for (const other of counterparts(node)) openAround(other);
  $("title").textContent = title;
  $("verdict").textContent = verdict;
  $("verdict").className = good ? "good" : "bad";
  SIDES.forEach((side, k) => {
    const number = tensors[side].length.toLocaleString("en");
    const file = h("span", { title: files[k] }, files[k]);
    $(`head-${side}`).replaceChildren(h("b", {}, labels[k]), file, h("i", {}, number));
    panes[side].setAttribute("aria-label", `${labels[k]}, ${files[k]}`);
  });
  for (const list of document.querySelectorAll(".loose")) list.hidden = Number(list.dataset.matching) !== index;
  closeDetails();
  drawChips();
  refilter();
  $("scroll").scrollTop = 0;
}

function drawChips() {
  const chip = (label, number, pressed, meaning, content, toggle) => h("button", {
    type: "button", class: "chip", "aria-pressed": String(pressed), title: meaning,
    onclick: () => { toggle(); drawChips(); refilter(); },
  }, content, label, h("b", {}, number.toLocaleString("en")));
  const chips = [...stateCounts(view.matching)].map(([state, number]) => (
    chip(STATES[state].label, number, view.states.has(state), STATES[state].meaning, mark(state), () => (
      view.states.delete(state) || view.states.add(state)))));
  const { tensors } = view.matching;
  const alone = tensors.left.filter((each) => !each.joins.length);
  const noted = [...tensors.right, ...alone].filter((each) => each.findings.length);
  if (noted.length) {
    const dot = h("span", { class: "mark c-follow", "aria-hidden": "true" }, "•");
    chips.push(chip("with findings or notes", noted.length, view.noted, "What a finding or a note is about.", dot,
      () => { view.noted = !view.noted; }));
  }
  const focused = [...$("chips").children].indexOf(document.activeElement);
  $("chips").replaceChildren(...chips);
  if (focused >= 0) chips[focused].focus();
}

function refilter() {
  view.closed.clear();
  const found = applyFilter(view.matching, view.words, view.states, view.noted);
  $("found").textContent = found === null ? "" : `${found.toLocaleString("en")} found`;
  $("nothing").hidden = found !== 0;
  relayout();
}

/** Lay everything out anew; a row that is given keeps its place on the screen. */
function relayout(anchor = null) {
  const { matching, active } = view;
  const scroll = $("scroll");
  const before = anchor && view.rows[anchor.side].rows.find((row) => row.node === anchor);
  const offset = before ? before.y * ROW - scroll.scrollTop : 0;
  for (const side of SIDES) view.rows[side] = visibleRows(matching.trees[side], isOpen);
  view.lines = visibleLinks(matching.links, view.rows.left, view.rows.right);
  const height = setHeights(view.rows.left, view.rows.right);
  $("canvas").style.height = `${height * ROW + 8}px`;
  for (const side of SIDES) {
    if (!view.rows[side].rows.some((row) => row.node === active[side])) {
      active[side] = view.rows[side].rows.length ? view.rows[side].rows[0].node : null;
    }
  }
  const after = anchor && view.rows[anchor.side].rows.find((row) => row.node === anchor);
  if (after) scroll.scrollTop = after.y * ROW - offset;
  for (const side of SIDES) {
    panes[side].replaceChildren();
    view.drawn[side].clear();
  }
  draw();
}

function draw() {
  const scroll = $("scroll");
  const start = scroll.scrollTop - $("heads").offsetHeight;
  const top = Math.floor(start / ROW) - EXTRA;
  const bottom = Math.ceil((start + scroll.clientHeight) / ROW) + EXTRA;
  const lit = litRows();
  const near = new Set();
  for (const side of SIDES) {
    const pane = panes[side];
    const wanted = rowsBetween(view.rows[side].rows, top, bottom);
    const active = view.rows[side].rows.find((row) => row.node === view.active[side]);
    // The active row stays in the document: the focus refers to it.
    const all = active && !wanted.includes(active) ? [...wanted, active] : wanted;
    wanted.forEach((row) => near.add(row));
    const drawn = view.drawn[side];
    const keep = new Set(all);
    for (const [row, element] of drawn) {
      if (!keep.has(row)) { element.remove(); drawn.delete(row); }
    }
    all.forEach((row) => {
      if (!drawn.has(row)) { drawn.set(row, rowElement(row)); pane.append(drawn.get(row)); }
      const element = drawn.get(row);
      element.classList.toggle("active", row.node === view.active[side]);
      element.classList.toggle("lit", lit.has(row));
      element.setAttribute("aria-selected", String(row.node === view.selected));
    });
    if (active) pane.setAttribute("aria-activedescendant", active.node.id);
    else pane.removeAttribute("aria-activedescendant");
  }
  drawLines(near, lit, top, bottom);
}

/** The hovered row, or else the selected one, and what is joined to it. */
function litRows() {
  const node = view.hovered || view.selected;
  const lit = new Set();
  if (!node) return lit;
  const { rows } = view.rows[node.side];
  const first = rows.findIndex((each) => each.node === node);
  if (first < 0) return lit;
  // With an open scope, everything in it.
  let end = first + 1;
  while (end < rows.length && rows[end].node.depth > node.depth) end += 1;
  for (const row of rows.slice(first, end)) {
    lit.add(row);
    for (const link of row.links) { lit.add(link.from); lit.add(link.to); }
  }
  return lit;
}

function rowElement(row) {
  const { node } = row;
  const { tensor } = node;
  const closed = node.children.length > 0 && !row.opened;
  const state = tensor && !closed ? tensor.state : node.worst;
  const siblings = node.parent.children.filter((each) => each.hits);
  const name = h("span", { class: "name" }, ...highlighted(node.label));
  const arrow = row.opened ? "▾" : "▸";
  const caret = h("span", { class: "caret", "aria-hidden": "true" }, node.children.length ? arrow : "");
  const rest = [];
  if (tensor && tensor.findings.length) rest.push(h("span", { class: "dot", "aria-hidden": "true" }, "•"));
  if (tensor) rest.push(h("span", { class: "shape" }, tensor.shape));
  else rest.push(bar(node), h("span", { class: "count" }, (filtering() ? node.hits : node.size).toLocaleString("en")));
  const sign = row.opened && !tensor ? h("span", { class: "mark" }) : mark(state);
  const parts = node.side === "left" ? [caret, name, ...rest, sign] : [sign, caret, name, ...rest];
  const element = h("div", {
    id: node.id, class: `row ${tensor ? "leaf" : "scope"}`, role: "treeitem", "aria-level": node.depth + 1,
    "aria-setsize": siblings.length, "aria-posinset": siblings.indexOf(node) + 1, "aria-label": label(row, state),
    "aria-expanded": node.children.length ? String(row.opened) : null,
  }, ...parts);
  element.style.top = `${row.y * ROW}px`;
  element.style.setProperty("--depth", node.depth);
  return element;
}

function label({ node, links }, state) {
  const { tensor } = node;
  if (!tensor) return `${node.label}, ${node.size} tensor${node.size === 1 ? "" : "s"}, ${STATES[state].label}`;
  const [first] = links;
  const other = first && (node.side === "left" ? first.to : first.from).node;
  return `${node.label}, ${tensor.shape}, ${STATES[tensor.state].label}`
    + (other ? `, joined with ${fullName(view.matching, other)}` : "");
}

/** The shares of the states in a scope. */
function bar(node) {
  const counts = [...node.counts].sort(([a], [b]) => ORDER[a] - ORDER[b]);
  return h("span", { class: "bar", "aria-hidden": "true" }, ...counts.map(([state, number]) => {
    const part = h("i", { class: `b-${STATES[state].color}` });
    part.style.flexGrow = number;
    return part;
  }));
}

function highlighted(text) {
  const lower = text.toLowerCase();
  // Lower case can have another length: then nothing is highlighted.
  const word = lower.length === text.length && view.words.find((each) => lower.includes(each));
  if (!word) return [text];
  const at = lower.indexOf(word);
  return [text.slice(0, at), h("mark", {}, text.slice(at, at + word.length)), text.slice(at + word.length)];
}

function drawLines(near, lit, top, bottom) {
  const element = $("lines");
  const width = element.clientWidth || element.getBoundingClientRect().width;
  const from = Math.max(0, top) * ROW;
  const height = (bottom - Math.max(0, top)) * ROW;
  element.style.top = `${from}px`;
  element.style.height = `${height}px`;
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const links = new Set();
  for (const row of near) for (const link of row.links) links.add(link);
  const within = (rows, link) => rows.has(link.from) && rows.has(link.to);
  const important = (link) => (within(lit, link) ? 2 : Number(within(near, link)));
  const chosen = [...links].sort((a, b) => important(a) - important(b)).slice(-MOST_LINES);
  element.replaceChildren(...chosen.map((link) => {
    const [y, z] = [link.from, link.to].map((row) => row.y * ROW - from + ROW / 2);
    const bend = width / 2;
    const shown = lit.size ? (important(link) === 2 ? " lit" : " faint") : "";
    return svg("path", {
      class: `line l-${STATES[link.state].color}${shown}`,
      "stroke-width": Math.min(6, 1.3 + Math.log2(link.count) * 0.7),
      d: y === z ? `M0 ${y}H${width}` : `M0 ${y}C${bend} ${y} ${bend} ${z} ${width} ${z}`,
    });
  }));
}
