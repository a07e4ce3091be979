// Numbers: what stands in a formula at a chosen entry.

const nfc = (text) => text.normalize('NFC');

/** The axis of the first input that an operand counts along, such as the channels of a scale; or null. */
function axisOf(step, operand) {
  const made = step.p === 1 ? DATA.steps[step.of] : step;
  if (!made || !made.axes) return null;
  const axis = made.axes[made.in.includes(operand) ? made.in.indexOf(operand) : operand[4]];
  return axis === undefined ? null : axis;
}

/** All entries of a shape that agree with the fixed axes, [axis, index] each, as indices. */
function along(shape, fixed) {
  const given = new Map(fixed);
  let places = [[]];
  shape.forEach((size, axis) => {
    const range = given.has(axis) ? [given.get(axis)] : Array.from({ length: size }, (_, i) => i);
    places = places.flatMap((place) => range.map((i) => [...place, i]));
  });
  return places;
}

/** The entries of ȳ that an entry of a contribution was added up from, as indices; null where it was not. */
function repeatedFor(step, out, at) {
  if (step.p !== 1) return null;
  const full = value(step.in[0][1]).shape, own = value(out[1]).shape, missing = full.length - own.length, axis = axisOf(step, out);
  const count = full.reduce((a, b) => a * b, 1) / Math.max(1, own.reduce((a, b) => a * b, 1));
  if (count > 20000) return null;
  if (axis !== null) return along(full, [[axis, at[0]]]);
  if (!(step.inner || []).includes('sum_to') || count <= 1 || !own.every((size, k) => size === 1 || size === full[missing + k])) return null;
  return along(full, own.flatMap((size, k) => (size === 1 ? [] : [[missing + k, at[k]]])));
}

/** The entries that stand in the formula at an index of an output: name, number, dtype. */
function numbersAt(step, out, at) {
  return numbersAtIndex(step, out, value(out[1]).shape, at);
}

/** The same at an index of a shape that the output was broadcast to. */
function numbersAtIndex(step, out, shape, at) {
  const made = step.p === 1 ? DATA.steps[step.of] : null;
  const operands = [...(made ? made.in : []), ...(made ? made.out : []), ...step.in, out], found = new Map();
  for (const operand of operands) {
    const own = value(operand[1]), axis = axisOf(step, operand), fits = own.shape.every((size, k) => {
      const other = shape[shape.length - own.shape.length + k];
      return size === 1 || size === other;
    });
    if (axis === null && (own.shape.length > shape.length || !fits)) continue;
    const number = axis === null ? own.behind(at) : own.at(at.length > axis ? [at[axis]] : at);
    if (number !== null) found.set(nfc(operand[0]), [number, own.dtype]);
  }
  const more = STATISTICS[(made || step).op];
  if (more && step.p < 2) for (const [name, number] of more(made || step, step.p === 1 ? step.in[0] : null, at)) found.set(nfc(name), [Number(number.toPrecision(7)), 'float64']);
  return found;
}

/** What formulas name and no operand holds: by operation, (step forward, ȳ or null, index) to names and numbers. */
const STATISTICS = {
  batch_norm(step, gradient, at) {
    const x = value(step.in[0][1]), dy = gradient && value(gradient[1]), eps = step.set.eps;
    if (!x.whole || at.length !== x.shape.length) return [];
    const places = along(x.shape, [[1, at[1]]]), mean = (f) => places.reduce((sum, place) => sum + f(place), 0) / places.length;
    const centre = mean((place) => x.at(place)), spread = mean((place) => (x.at(place) - centre) ** 2);
    const normal = (place) => (x.at(place) - centre) / Math.sqrt(spread + eps);
    const found = [['μ', centre], ['v', spread], ['ε', eps], ['x̂', normal(at)]];
    if (!dy || !dy.whole) return found;
    return [...found, ['mean ȳ', mean((place) => dy.at(place))], ['mean(ȳ · x̂)', mean((place) => dy.at(place) * normal(place))]];
  },
};

/** The statement of a text that says what a name is; of a text that names nothing, the first. */
function statementOf(text, name) {
  const statements = nfc(text).split(/,? {2,}|\n/), own = statements.find((part) => part.startsWith(`${nfc(name)} =`) || part.startsWith(`${nfc(name)}[`));
  return own || (name === 'y' ? statements[0] : '');
}

/** A statement with numbers for names, where it goes entry by entry. */
function substituted(statement, found) {
  const phrases = [...found.keys()].filter((key) => /[ (]/.test(key)).sort((a, b) => b.length - a.length);
  // what is gathered from other entries too, such as a mean, cannot be written with the numbers of this one
  if (/Σ|∏|\bmean\b|\bsum\b|\bwith\b|\b(max|min) /u.test(phrases.reduce((text, phrase) => text.replaceAll(phrase, ''), statement))) return '';
  const names = [...phrases.map((phrase) => phrase.replace(/[()]/g, '\\$&')), '[\\p{L}][\\p{M}]*(?:[\\p{L}\\p{Nd}_₀-₉][\\p{M}]*)*(?:\\[n\\])?'];
  let replaced = 0;
  const pieces = statement.split(new RegExp(`(${names.join('|')})`, 'u')).map((piece) => {
    const entry = found.get(piece.replace('[n]', ''));
    if (!entry) return piece;
    replaced++;
    return entry[0] < 0 ? `(${short(entry[0])})` : short(entry[0]);
  });
  return replaced > 1 ? pieces.join('').replace(/^\((-[^)]*)\) =/, '$1 =') : '';
}

/** The formula of an entry with its numbers, and that of each quantity in it which the text explains and no operand holds. */
function sentences(step, out, found) {
  const text = DATA.texts[step.f], own = statementOf(text, out[0]);
  const explained = [...found.keys()].filter((name) => name !== nfc(out[0]) && statementOf(text, name).startsWith(`${name} =`) && !step.out.some((other) => nfc(other[0]) === name));
  return [own, ...explained.filter((name) => name !== 'y').map((name) => statementOf(text, name))].map((statement) => substituted(statement, found)).filter(Boolean);
}
