// Terms: the sum of products behind a chosen entry.

/** Pairs of indices: the factors of y (w, x), of x̄ (w, ȳ) and of w̄ (ȳ, x). The same as terms.py. */
function* convolutionPairs(step, role, at) {
  const set = step.set.window, x = value(step.in[0][1]).shape, w = value(step.in[1][1]).shape, y = value(step.out[0][1]).shape;
  const perGroup = w[1], filters = w[0], outPerGroup = Math.floor(filters * perGroup / x[1]);
  const [kh, kw] = [w[2], w[3]], [sy, sx] = set.stride, [dy, dx] = set.dilation, top = set.padding[0][0], left = set.padding[1][0];
  const inside = (h, v) => h >= 0 && h < x[2] && v >= 0 && v < x[3];
  if (role === 'y') {
    const [m, o, i, j] = at, first = Math.floor(o / outPerGroup) * perGroup;
    for (let c = 0; c < perGroup; c++) for (let p = 0; p < kh; p++) for (let q = 0; q < kw; q++) {
      const h = i * sy + p * dy - top, v = j * sx + q * dx - left;
      if (inside(h, v)) yield [[o, c, p, q], [m, first + c, h, v]];
    }
  } else if (role === 'x') {
    const [m, c, h, v] = at, group = Math.floor(c / perGroup);
    for (let o = group * outPerGroup; o < (group + 1) * outPerGroup; o++) for (let p = 0; p < kh; p++) for (let q = 0; q < kw; q++) {
      const i = (h + top - p * dy) / sy, j = (v + left - q * dx) / sx;
      if (Number.isInteger(i) && Number.isInteger(j) && i >= 0 && i < y[2] && j >= 0 && j < y[3]) yield [[o, c % perGroup, p, q], [m, o, i, j]];
    }
  } else {
    const [o, c, p, q] = at, first = Math.floor(o / outPerGroup) * perGroup;
    for (let m = 0; m < x[0]; m++) for (let i = 0; i < y[2]; i++) for (let j = 0; j < y[3]; j++) {
      const h = i * sy + p * dy - top, v = j * sx + q * dx - left;
      if (inside(h, v)) yield [[m, o, i, j], [m, first + c, h, v]];
    }
  }
}

function* matrixPairs(step, role, at) {
  const a = value(step.in[0][1]).shape, b = value(step.in[1][1]).shape, turned = step.op === 'linear';
  if (a.length !== 2 || b.length !== 2) return;
  const [r, c] = at, w = (row, column) => (turned ? [column, row] : [row, column]);
  if (role === 'y') for (let k = 0; k < a[1]; k++) yield [w(k, c), [r, k]];
  else if (role === 'x') for (let k = 0; k < b[turned ? 0 : 1]; k++) yield [w(c, k), [r, k]];
  else for (let k = 0; k < a[0]; k++) yield turned ? [[k, r], [k, c]] : [[k, c], [k, r]];
}

const PAIRS = { conv2d: convolutionPairs, depthwise_conv2d: convolutionPairs, matmul: matrixPairs, linear: matrixPairs };

/** The products behind an entry of an output, or null where the factors were not kept whole. */
function termsAt(step, out, at) {
  const made = step.p === 1 ? DATA.steps[step.of] : step;
  if (!made || !PAIRS[made.op] || step.p > 1) return null;
  const role = step.p === 0 ? 'y' : ['x', 'w'][out[4]];
  if (!role) return null;
  const x = made.in[0], w = made.in[1], g = step.in[0];
  const [a, b] = role === 'y' ? [w, x] : role === 'x' ? [w, g] : [g, x];
  const left = value(a[1]), right = value(b[1]);
  const worked = (step.work || []).find((terms) => terms.n === out[0] && String(terms.at) === String(at));
  if (!left.whole || !right.whole) {
    return worked && { factors: [a, b], terms: worked.t, count: worked.c, sum: worked.sum, extra: 0, value: worked.v };
  }
  const terms = [];
  let sum = 0;
  for (const [i, j] of PAIRS[made.op](made, role, at)) {
    const p = left.at(i), q = right.at(j);
    terms.push([i, p, j, q]);
    sum += p * q;
  }
  const extra = role === 'y' && made.op === 'linear' && made.in[2] ? value(made.in[2][1]).at([at[1]]) : 0;
  return { factors: [a, b], terms, count: terms.length, sum: sum + extra, extra };
}
