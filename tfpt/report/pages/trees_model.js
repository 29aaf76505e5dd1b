// The model: both trees, what joins their tensors, and which of them a search and the chosen states show.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STATES = DATA.states;
const ORDER = Object.fromEntries(Object.keys(STATES).map((name, index) => [name, index]));

/** One matching, with the tensors as objects and both trees built. */
function readMatching(values) {
  const tensors = {};
  for (const side of ["left", "right"]) {
    tensors[side] = values[side].map(([name, shape, dtype, state, reason, findings], index) => (
      { side, index, name, shape, dtype, state, reason: reason || "", findings: findings || [], joins: [] }));
  }
  const joins = values.joins.map(([left, right, work, row, figures], index) => {
    const join = {
      index,
      left: left.map((each) => tensors.left[each]),
      right: right.map((each) => tensors.right[each]),
      work: values.texts[work],
      row: values.texts[row],
      figures: new Map((figures || []).map((each) => [each[0], each])),
    };
    for (const tensor of [...join.left, ...join.right]) tensor.joins.push(join);
    return join;
  });
  for (const tensor of [...tensors.left, ...tensors.right]) {
    const texts = tensor.joins.flatMap((join) => [join.work, join.row]);
    tensor.text = [tensor.name, tensor.shape, tensor.dtype, ...texts].join("\n").toLowerCase();
  }
  for (const join of joins) {
    join.text = {};
    for (const side of ["left", "right"]) join.text[side] = join[side].map((each) => each.text).join("\n");
  }
  // The left tree follows the order of what its tensors become, so that most lines are short.
  const place = (tensor) => tensor.joins.reduce(
    (first, join) => join.right.reduce((least, each) => Math.min(least, each.index), first), Infinity);
  const left = buildTree("left", tensors.left, values.separators[0], place);
  const right = buildTree("right", tensors.right, values.separators[1], (tensor) => tensor.index);
  return { ...values, tensors, joins, trees: { left, right }, links: linksOf(joins) };
}

/** Pairs of tensors to draw a line between: each with each, or one after the other if that would be very many. */
function linksOf(joins) {
  const links = [];
  for (const join of joins) {
    const [many, few] = [join.left, join.right].map((side) => side.length);
    if (!many || !few) continue;
    if (many * few <= 64) {
      for (const left of join.left) for (const right of join.right) links.push({ left, right, join });
    } else {
      for (let k = 0; k < Math.max(many, few); k += 1) {
        links.push({ left: join.left[k % many], right: join.right[k % few], join });
      }
    }
  }
  return links;
}

let nodes = 0;

function newNode(side, label, parent) {
  nodes += 1;
  return { id: `n${nodes}`, side, label, parent, children: [], byLabel: new Map(), tensor: null, open: false };
}

/** A tree of the parts of names; a scope that only contains one other is one node with it. */
function buildTree(side, tensors, separator, place) {
  const root = newNode(side, "", null);
  for (const tensor of tensors) {
    let node = root;
    for (const part of tensor.name.split(separator)) {
      if (!node.byLabel.has(part)) {
        const child = newNode(side, part, node);
        node.byLabel.set(part, child);
        node.children.push(child);
      }
      node = node.byLabel.get(part);
    }
    node.tensor = tensor;
    tensor.node = node;
  }
  finishNode(root, separator, place, -1);
  return root;
}

function finishNode(node, separator, place, depth) {
  while (node.parent && !node.tensor && node.children.length === 1) {
    const [only] = node.children;
    node.label += separator + only.label;
    node.tensor = only.tensor;
    if (only.tensor) only.tensor.node = node;
    node.children = only.children;
    for (const child of node.children) child.parent = node;
  }
  delete node.byLabel;
  node.depth = depth;
  node.counts = new Map();
  node.size = 0;
  node.place = Infinity;
  if (node.tensor) {
    count(node, node.tensor.state, 1);
    node.place = place(node.tensor);
  }
  for (const child of node.children) {
    finishNode(child, separator, place, depth + 1);
    for (const [state, number] of child.counts) count(node, state, number);
    node.place = Math.min(node.place, child.place);
  }
  node.children = node.children.map((child, index) => [child, index])
    .sort(([a, i], [b, j]) => (a.place === b.place ? i - j : a.place - b.place)).map(([child]) => child);
  node.worst = [...node.counts.keys()].sort((a, b) => ORDER[b] - ORDER[a])[0];
}

function count(node, state, number) {
  node.counts.set(state, (node.counts.get(state) || 0) + number);
  node.size += number;
}

/** Every node below one, and itself, parents first. */
function* below(node) {
  yield node;
  for (const child of node.children) yield* below(child);
}

/** How many tensors are in each state: all on the right, and those on the left that become nothing. */
function stateCounts(matching) {
  const counts = new Map();
  const alone = matching.tensors.left.filter((tensor) => !tensor.joins.length);
  for (const tensor of [...matching.tensors.right, ...alone]) {
    counts.set(tensor.state, (counts.get(tensor.state) || 0) + 1);
  }
  return new Map([...counts].sort(([a], [b]) => ORDER[a] - ORDER[b]));
}

/** Open scopes until about this many rows are visible, the shallow ones first. */
function openSome(root, most) {
  let level = [root];
  let rows = 0;
  while (level.length) {
    const children = level.flatMap((node) => node.children);
    if (rows + children.length > most && rows) break;
    for (const node of level) node.open = !node.tensor || node === root;
    rows += children.length;
    level = children.filter((node) => node.children.length && !node.tensor);
  }
}

/**
 * Which tensors a search and states show: those that match, by their names or those of their partners, and the
 * partners of those that match by themselves. Sets `hits` on every node; returns how many tensors match (a variable
 * and what it becomes are one), or null if all are shown.
 */
function applyFilter(matching, words, states, noted) {
  const active = words.length > 0 || states.size > 0 || noted;
  const chosen = (tensor) => (!states.size || states.has(tensor.state)) && (!noted || tensor.findings.length > 0);
  let found = 0;
  const shown = new Set();
  const hits = new Set();
  for (const [side, other] of active ? [["right", "left"], ["left", "right"]] : []) {
    // Which words the partners of a join contain is looked up once for all that have them.
    for (const join of matching.joins) join.has = words.map((word) => join.text[other].includes(word));
    for (const tensor of matching.tensors[side]) {
      if (!chosen(tensor)) continue;
      const own = words.map((word) => tensor.text.includes(word));
      if (!own.every((has, k) => has || tensor.joins.some((join) => join.has[k]))) continue;
      if (side === "right" || !tensor.joins.some((join) => join.right.some((each) => hits.has(each)))) found += 1;
      hits.add(tensor);
      shown.add(tensor);
      if (own.every(Boolean)) for (const join of tensor.joins) for (const partner of join[other]) shown.add(partner);
    }
  }
  const sum = (node) => {
    node.hits = node.tensor && (!active || shown.has(node.tensor)) ? 1 : 0;
    for (const child of node.children) node.hits += sum(child);
    return node.hits;
  };
  sum(matching.trees.left);
  sum(matching.trees.right);
  return active ? found : null;
}
