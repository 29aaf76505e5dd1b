// What happens when the page is used: clicks, keys, pointing, searching, scrolling.

/** Open or close a scope, and with it those of the other side that it alone becomes. */
function toggle(node) {
  const open = !isOpen(node);
  for (const each of [node, ...counterparts(node)]) {
    each.open = open;
    if (open) view.closed.delete(each); else view.closed.add(each);
    // A scope with nothing but scopes within opens down to a choice.
    if (open && each.children.length === 1 && each.children[0].children.length) toggleQuietly(each.children[0]);
  }
  relayout(node);
}

function toggleQuietly(node) {
  node.open = true;
  view.closed.delete(node);
}

/** Open a scope, and those that it is in. */
function openAround(node) {
  for (let each = node; each; each = each.parent) toggleQuietly(each);
}

function select(node, { details = true } = {}) {
  view.active[node.side] = node;
  view.selected = node;
  if (details) {
    const close = () => {
      closeDetails();
      panes[node.side].focus({ preventScroll: true });
    };
    $("details").replaceChildren(...detailsOf(view.matching, node, goTo, close));
    $("details").hidden = false;
    $("details").scrollTop = 0;
    reveal(node);
  }
  draw();
}

function closeDetails() {
  $("details").hidden = true;
  view.selected = null;
  if (view.rows.left) draw();
}

/** Open the scopes around a tensor, scroll to it, and select it. */
function goTo(tensor) {
  if (!tensor.node.hits) showAll();
  openAround(tensor.node.parent);
  relayout();
  select(tensor.node);
  reveal(tensor.node);
  panes[tensor.side].focus({ preventScroll: true });
}

function showAll() {
  $("search").value = "";
  Object.assign(view, { words: [], noted: false });
  view.states.clear();
  drawChips();
  refilter();
}

function reveal(node) {
  const scroll = $("scroll");
  const row = view.rows[node.side].rows.find((each) => each.node === node);
  if (!row) return;
  const room = scroll.clientHeight - $("heads").offsetHeight - ROW;
  const y = row.y * ROW;
  if (y < scroll.scrollTop) scroll.scrollTop = Math.max(0, y - ROW);
  else if (y > scroll.scrollTop + room) scroll.scrollTop = y - room + ROW;
  draw();
}

/** Say at the bottom of the page what a row is about. */
function tell(node) {
  const { tensor } = node || {};
  const texts = [];
  if (tensor) {
    texts.push(`${tensor.name} ${tensor.shape}`);
    const [join] = tensor.joins;
    if (join) {
      const others = node.side === "left" ? join.right : join.left;
      const more = others.length > 1 ? ` and ${others.length - 1} more` : "";
      if (others.length) texts.push(`${node.side === "left" ? "→" : "←"} ${others[0].name} ${others[0].shape}${more}`);
      texts.push(join.work, join.row);
    }
    texts.push(tensor.reason || STATES[tensor.state].label);
  } else if (node) {
    const counts = [...node.counts].map(([state, number]) => `${number.toLocaleString("en")} ${STATES[state].label}`);
    texts.push(fullName(view.matching, node), ...counts);
  }
  $("status").replaceChildren(...texts.filter(Boolean).map((text) => h("span", {}, text)));
}

function nodeAt(event, side) {
  const element = event.target.closest(".row");
  if (!element) return null;
  const found = [...view.drawn[side]].find(([, each]) => each === element);
  return found ? found[0].node : null;
}

function pressed(event, side) {
  const { rows } = view.rows[side];
  const index = rows.findIndex((row) => row.node === view.active[side]);
  if (index < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  const { node, opened } = rows[index];
  const move = (to) => { view.active[side] = rows[Math.max(0, Math.min(rows.length - 1, to))].node; };
  const page = Math.max(1, Math.floor($("scroll").clientHeight / ROW) - 2);
  const keys = {
    ArrowDown: () => move(index + 1),
    ArrowUp: () => move(index - 1),
    PageDown: () => move(index + page),
    PageUp: () => move(index - page),
    Home: () => move(0),
    End: () => move(rows.length - 1),
    ArrowRight: () => { if (node.children.length && !opened) toggle(node); else if (opened) move(index + 1); },
    ArrowLeft: () => {
      if (opened) toggle(node);
      else if (node.parent.parent) view.active[side] = node.parent;
    },
    Enter: () => select(node),
    " ": () => (node.children.length && !node.tensor ? toggle(node) : select(node)),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
  reveal(view.active[side]);
  tell(view.active[side]);
}

for (const side of SIDES) {
  const pane = panes[side];
  pane.addEventListener("click", (event) => {
    const node = nodeAt(event, side);
    if (!node) return;
    view.active[side] = node;
    if (node.children.length && (!node.tensor || event.target.closest(".caret"))) toggle(node);
    else select(node);
  });
  pane.addEventListener("pointerover", (event) => {
    const node = nodeAt(event, side);
    if (!node || node === view.hovered) return;
    view.hovered = node;
    tell(node);
    draw();
  });
  pane.addEventListener("pointerleave", () => { view.hovered = null; tell(null); draw(); });
  pane.addEventListener("keydown", (event) => pressed(event, side));
}

let waiting = false;
$("scroll").addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}, { passive: true });

$("search").addEventListener("input", () => {
  view.words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  refilter();
  $("scroll").scrollTop = 0;
  draw();
});
for (const [id, open] of [["open", true], ["close", false]]) {
  $(id).addEventListener("click", () => {
    for (const side of SIDES) {
      for (const node of below(view.matching.trees[side])) {
        if (!node.parent || !node.children.length) continue;
        node.open = open;
        if (open) view.closed.delete(node); else view.closed.add(node);
      }
    }
    relayout();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target !== $("search")) { event.preventDefault(); $("search").focus(); }
  if (event.key === "Escape" && !$("details").hidden) {
    const { side } = view.selected;
    closeDetails();
    panes[side].focus({ preventScroll: true });
  }
});
new ResizeObserver(() => { ROW = rowHeight(); if (view.rows.left) relayout(); }).observe($("scroll"));

$("loose").append(...document.querySelectorAll(".loose"));
$("choice").append(...DATA.matchings.map((each, index) => h("option", { value: index }, each.title)));
$("choice").hidden = DATA.matchings.length < 2;
$("choice").addEventListener("change", () => show(Number($("choice").value)));
show(0);
