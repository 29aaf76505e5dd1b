// The layout: which rows are visible, and at what height, so that most lines are level.

/** The visible rows of a tree, and for each tensor the row that stands for it. */
function visibleRows(root, isOpen) {
  const rows = [];
  const standIn = new Map();
  const visit = (node, row) => {
    if (!node.hits) return;
    let own = row;
    if (node.parent && row === null) {
      const opened = node.children.length > 0 && isOpen(node);
      own = { node, opened, index: rows.length, y: 0, links: [] };
      rows.push(own);
    }
    if (node.tensor) standIn.set(node.tensor, own);
    const inside = own && !own.opened ? own : null;
    for (const child of node.children) visit(child, inside);
  };
  visit(root, null);
  return { rows, standIn };
}

/** What is drawn between visible rows: one line for all links between the same two. */
function visibleLinks(links, left, right) {
  const found = new Map();
  for (const { left: one, right: other, join } of links) {
    const from = left.standIn.get(one);
    const to = right.standIn.get(other);
    if (!from || !to) continue;
    const key = from.index * right.rows.length + to.index;
    let link = found.get(key);
    if (!link) {
      link = { from, to, count: 0, state: other.state, join };
      found.set(key, link);
      from.links.push(link);
      to.links.push(link);
    }
    link.count += 1;
    if (ORDER[other.state] > ORDER[link.state]) link.state = other.state;
  }
  return [...found.values()];
}

/** Pairs of rows in increasing order on both sides, as many as possible: they are put at one height. */
function anchors(leftRows) {
  const pairs = [];
  for (const row of leftRows) {
    if (!row.links.length) continue;
    const main = row.links.reduce((a, b) => (b.count > a.count ? b : a));
    pairs.push([row.index, main.to.index]);
  }
  // The longest strictly increasing subsequence of the second numbers.
  const ends = [];
  const before = new Array(pairs.length).fill(-1);
  pairs.forEach(([, value], k) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[ends[middle]][1] < value) low = middle + 1; else high = middle;
    }
    // Of several with the same partner the first is level with it.
    if (low < ends.length && pairs[ends[low]][1] === value) return;
    if (low > 0) before[k] = ends[low - 1];
    ends[low] = k;
  });
  const chosen = [];
  for (let k = ends.length ? ends[ends.length - 1] : -1; k >= 0; k = before[k]) chosen.push(pairs[k]);
  return chosen.reverse();
}

/** Set the height of each row, counted in rows; returns the height of all. */
function setHeights(left, right) {
  let [l, r, y] = [0, 0, 0];
  // Scopes right above an anchor stay attached to it; a gap goes before them.
  const put = (rows, from, to, height) => {
    let heads = to;
    while (heads > from && rows[heads - 1].opened) heads -= 1;
    for (let k = from; k < to; k += 1) rows[k].y = k < heads ? y + k - from : y + height - (to - k);
  };
  for (const [a, b] of [...anchors(left.rows), [left.rows.length, right.rows.length]]) {
    const height = Math.max(a - l, b - r);
    put(left.rows, l, a, a === left.rows.length ? a - l : height);
    put(right.rows, r, b, b === right.rows.length ? b - r : height);
    y += height;
    if (a < left.rows.length) left.rows[a].y = y;
    if (b < right.rows.length) right.rows[b].y = y;
    [l, r, y] = [a + 1, b + 1, y + 1];
  }
  return y - 1;
}

/** The rows between two heights; rows are in the order of their heights. */
function rowsBetween(rows, top, bottom) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].y < top) low = middle + 1; else high = middle;
  }
  let end = low;
  while (end < rows.length && rows[end].y <= bottom) end += 1;
  return rows.slice(low, end);
}

/** The scopes of the other tree whose joined tensors all belong to one scope: they open and close with it. */
function counterparts(node) {
  const inside = new Set();
  for (const each of below(node)) if (each.tensor) inside.add(each.tensor);
  const belongs = new Map();
  const test = (other) => {
    if (!belongs.has(other)) {
      let joined = 0;
      let all = true;
      for (const each of below(other)) {
        if (!each.tensor) continue;
        for (const join of each.tensor.joins) {
          for (const partner of node.side === "left" ? join.left : join.right) {
            joined += 1;
            if (!inside.has(partner)) all = false;
          }
        }
        if (!all) break;
      }
      belongs.set(other, all && joined > 0);
    }
    return belongs.get(other);
  };
  const found = new Set();
  for (const tensor of inside) {
    for (const join of tensor.joins) {
      for (const partner of node.side === "left" ? join.right : join.left) {
        let scope = partner.node;
        if (!test(scope)) continue;
        while (scope.parent && scope.parent.parent && test(scope.parent)) scope = scope.parent;
        if (scope.children.length) found.add(scope);
      }
    }
  }
  return found;
}
