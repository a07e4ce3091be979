// Stepper: which step is shown, and everything about it.

const STEPS = DATA.steps, PHASES = ['forward', 'backward', 'update'];
const byId = (id) => document.getElementById(id);
let current = -1, playing = 0, chosen = null; // chosen: {figure key, index} of the entry that is worked out
let redraws = [];
const embedded = window.self !== window.top, ownAddress = location.protocol !== 'about:'; // within another page; by srcdoc
const longest = Math.max(...STEPS.map((step) => step.us), 1), most = Math.max(...STEPS.map((step) => step.peak), 1);

// -- going from step to step -------------------------------------------------------------------------------------

function go(k, keepLink) {
  k = Math.max(0, Math.min(STEPS.length - 1, k));
  if (k === current) return;
  current = k;
  chosen = null;
  byId('slider').value = k;
  byId('slider').setAttribute('aria-valuetext', `${k}: ${PHASES[STEPS[k].p]} ${STEPS[k].op}`);
  byId('where').textContent = `step ${k} of ${STEPS.length - 1} · ${PHASES[STEPS[k].p]}`;
  if (!keepLink && ownAddress) history.replaceState(null, '', `#t=${k}`);
  drawBars();
  drawGraph();
  drawStep();
}

function fromLink() {
  const found = /[#&]t=(\d+)/.exec(location.hash);
  go(found ? Number(found[1]) : current < 0 ? DATA.start : current, true);
}

function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => (current + 1 < STEPS.length ? go(current + 1) : play(false)), 700) : 0;
  byId('play').textContent = on ? 'Pause' : 'Play';
  byId('play').setAttribute('aria-pressed', String(Boolean(on)));
}

const STOPS = [['nan', 'NaN or infinity'], ['zero', 'a gradient of zeros'], ['more', 'a sum of gradients']];

function stopsHere(step, stop) {
  if (stop === 'nan' || stop === 'zero') return Boolean(step[stop]);
  if (stop === 'more') return (step.arr || []).some((list) => list.length > 1);
  return step.op === stop.slice(3);
}

function nextStop() {
  const stop = byId('breakpoint').value;
  for (let k = current + 1; k < STEPS.length; k++) if (stopsHere(STEPS[k], stop)) return go(k);
  byId('where').textContent = `step ${current} of ${STEPS.length - 1} · no such stop after it`;
}

function search() {
  const words = byId('search').value.toLowerCase().split(/\s+/).filter(Boolean), list = byId('found');
  list.replaceChildren();
  if (!words.length) return;
  let count = 0;
  STEPS.forEach((step, k) => {
    const text = `${step.op} ${step.m} ${PHASES[step.p]} ${step.in[0] ? step.in[0][2] : ''}`.toLowerCase();
    if (!words.every((word) => text.includes(word)) || ++count > 60) return;
    list.append(element('li', {}, element('button', { type: 'button', onclick: () => go(k) }, `${k} ${step.op}${step.m ? ` in ${step.m}` : ''}, ${PHASES[step.p]}`)));
  });
  list.prepend(element('li', {}, count ? `${count} found${count > 60 ? ', the first 60:' : ':'}` : 'none found'));
}

// -- timeline ----------------------------------------------------------------------------------------------------

let bars = null; // drawn once; the mark of the current step goes over a copy

function drawBars() {
  const canvas = byId('bars'), context = canvas.getContext('2d'), { width, height } = canvas, n = STEPS.length;
  if (!bars) bars = paintBars(width, height, n);
  context.clearRect(0, 0, width, height);
  context.drawImage(bars, 0, 0);
  context.strokeStyle = colours().mark;
  context.lineWidth = 2;
  context.strokeRect((current * width) / n - 1, 1, Math.max(3, width / n) + 2, height - 2);
}

function paintBars(width, height, n) {
  const canvas = element('canvas', { width, height }), context = canvas.getContext('2d'), tone = colours();
  STEPS.forEach((step, k) => {
    context.fillStyle = tone[PHASES[step.p]];
    const tall = Math.max(1, (Math.log1p(step.us) / Math.log1p(longest)) * (height / 2 - 4));
    context.fillRect((k * width) / n, height / 2 - tall, Math.max(1, width / n - (n < 300 ? 1 : 0)), tall);
  });
  context.strokeStyle = tone.ink;
  context.beginPath();
  STEPS.forEach((step, k) => {
    const y = height - 2 - (step.live / most) * (height / 2 - 6);
    context.lineTo((k * width) / n, y);
    context.lineTo(((k + 1) * width) / n, y);
  });
  context.stroke();
  return canvas;
}

function drawPhases() {
  for (let start = 0, k = 1; k <= STEPS.length; k++) {
    if (k < STEPS.length && STEPS[k].p === STEPS[start].p) continue;
    const from = start;
    const span = element('span', { class: `p${STEPS[start].p}` }, `${PHASES[STEPS[start].p]} ${start}–${k - 1}`);
    span.style.flex = `${k - start} 1 0`;
    span.addEventListener('click', () => go(from));
    byId('phases').append(span);
    start = k;
  }
}

// -- graph -------------------------------------------------------------------------------------------------------

let unfolded = null; // a module that the reader looks into; null: that of the step

function drawGraph() {
  unfolded = null;
  showLevel(levelOf(STEPS[current]));
}

function levelOf(step) {
  let path = step.m || '';
  // a module that holds a single box says less than the one around it
  while (path && (!(path in DATA.levels) || DATA.levels[path].boxes.length < 2)) path = path.split('.').slice(0, -1).join('.');
  return path;
}

function showLevel(path) {
  const level = DATA.levels[path], [w, h] = DATA.box, svg = (tag, attributes, ...children) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, given] of Object.entries(attributes)) made.setAttribute(name, given);
    made.append(...children);
    return made;
  };
  const step = STEPS[current], forward = step.p === 0 ? current : step.of;
  const lit = (box) => box.s.includes(forward) || (forward === undefined && box.m && (step.m === box.m || (step.m || '').startsWith(`${box.m}.`)));
  const crumbs = element('div', { class: 'crumbs', role: 'group', 'aria-label': 'Modules that this lies in' });
  const parts = path ? path.split('.') : [];
  ['', ...parts].forEach((part, i) => {
    const target = parts.slice(0, i).join('.');
    crumbs.append(i ? '›' : '', element('button', { type: 'button', 'aria-current': i === parts.length ? 'true' : false, onclick: () => showLevel(target) }, part || 'all'));
  });
  const drawing = svg('svg', { viewBox: `0 0 ${level.w} ${level.h}`, width: level.w, role: 'group', 'aria-label': `Inside ${path || 'the run'}` });
  for (const [a, b] of level.edges) {
    const from = level.boxes[a], to = level.boxes[b], x1 = from.x + w / 2, y1 = from.y + h, x2 = to.x + w / 2, y2 = to.y;
    const far = y2 - y1 > h; // past other boxes: around them
    const d = far ? `M${from.x + w},${from.y + h / 2} C${level.w - 4},${from.y + h / 2} ${level.w - 4},${from.y + h} ${level.w - 4},${(y1 + y2) / 2} S${level.w - 4},${to.y + h / 2} ${to.x + w},${to.y + h / 2}` : `M${x1},${y1} C${x1},${y1 + 12} ${x2},${y2 - 12} ${x2},${y2}`;
    drawing.append(svg('path', { d }));
  }
  for (const box of level.boxes) {
    const on = lit(box), target = box.s[0];
    const group = svg('a', { class: `${box.m ? 'folded' : ''} ${on ? 'lit' : ''}`, tabindex: 0, role: 'button', 'aria-label': `${box.m ? 'module' : 'operation'} ${box.t}, steps ${box.s[0]} to ${box.s[box.s.length - 1]}${on ? ', current' : ''}` },
      svg('rect', { x: box.x, y: box.y, width: w, height: h, rx: box.m ? 10 : 2 }),
      svg('text', { x: box.x + w / 2, y: box.y + h / 2 + 5, 'text-anchor': 'middle' }, (on ? '▶ ' : '') + (box.t.length > 16 ? `${box.t.slice(0, 15)}…` : box.t)));
    const open = () => (box.m ? (on ? showLevel(box.m) : (go(target), showLevel(box.m in DATA.levels ? box.m : path))) : go(target));
    group.addEventListener('click', open);
    group.addEventListener('keydown', (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); event.stopPropagation(); open(); } });
    drawing.append(group);
  }
  byId('graph').replaceChildren(crumbs, drawing);
}

// -- one step ----------------------------------------------------------------------------------------------------

function title(step) {
  const names = ['', ', its rule', ', the optimiser'];
  return element('h2', { class: `p${step.p}` }, `${step.op === 'leaf' ? 'a gradient comes to rest' : step.op}${step.op === 'leaf' ? '' : names[step.p]}${step.m ? ` in ${step.m}` : ''}`);
}

/** The name of an entry: w[0, 2], or just a where there is one number alone. */
function entry(name, index) {
  return index.length ? `${name}[${index.join(', ')}]` : name;
}

function link(k, text) {
  return element('a', { href: `#t=${k}` }, text || `step ${k}`);
}

function source(step, operand, side) {
  if (side === 'out' && step.p === 0) return '';
  if (side === 'out' && step.p === 1 && operand[3] !== null) return element('span', {}, 'for the result of ', link(operand[3]));
  if (operand[2]) return operand[2] === operand[0] ? '' : operand[2];
  return operand[3] === null ? 'given' : link(operand[3]);
}

function drawStep() {
  const step = STEPS[current], panel = byId('step');
  redraws = [];
  const formula = element('div', { class: 'formula' }, byId(`formula-${step.f}`).content.cloneNode(true));
  const numbers = element('div', { id: 'numbers', 'aria-live': 'polite' });
  const children = [title(step), whence(step), formula, numbers];
  children.push(element('h3', {}, step.p === 1 ? 'Gradients in' : 'In'), values(step, step.in, 'in'));
  children.push(arrivals(step), element('h3', {}, step.p === 1 ? (step.op === 'leaf' ? 'Kept as .grad' : 'Contributions out') : 'Out'), values(step, step.out, 'out'));
  children.push(difference(step), cost(step), code(step));
  panel.replaceChildren(...children.filter(Boolean));
  const first = step.out.findIndex((out) => value(out[1]).kept.length);
  if (first >= 0) choose(step, 'out', first, startIndex(step, step.out[first]));
  else redraws.forEach((redraw) => redraw());
}

function startIndex(step, out) {
  const worked = (step.work || []).find((terms) => terms.n === out[0]);
  if (step.at && value(out[1]).at(step.at) !== null) return step.at;
  return worked ? worked.at : value(out[1]).largest();
}

function whence(step) {
  const made = element('p', { class: 'quiet' });
  if (step.of !== undefined && step.of !== null) made.append('The rule of ', link(step.of), '. ');
  const back = step.p === 0 ? STEPS.findIndex((other) => other.p === 1 && other.of === current) : -1;
  if (back >= 0) made.append('Its rule runs in ', link(back), '. ');
  if (step.inner) made.append(`The rule runs ${step.inner.join(', ')}. `);
  if (step.kinks) made.append(`Kinks: ${step.kinks}. `);
  return made;
}

function values(step, operands, side) {
  return element('div', { class: 'values' }, ...operands.map((operand, i) => figure(step, operand, side, i)));
}

function figure(step, operand, side, i) {
  const shown = value(operand[1]), caption = element('figcaption', {}, element('strong', {}, operand[0]), ' ', source(step, operand, side), element('br'), `${shown.dtype} [${shown.shape.join(', ')}]`, element('br'), element('span', { class: 'quiet' }, shown.words()));
  const made = element('figure', {}, caption);
  if (!shown.kept.length) return made;
  if (isPicture(shown)) {
    const picture = element('canvas', { role: 'img', 'aria-label': `${operand[0]} as a picture` });
    drawPicture(picture, shown);
    made.append(picture);
  }
  const tiles = new Tiles(shown), canvas = element('canvas', { tabindex: 0, role: 'application', 'data-side': side, 'data-operand': i });
  const output = element('output', { class: 'numbers' });
  const redraw = () => {
    const mine = chosen && chosen.side === side && chosen.i === i ? shown.place(chosen.index) : -1;
    const marks = (chosen && chosen.marks && chosen.marks.get(operand[1])) || [];
    drawHeat(canvas, shown, tiles, marks, mine);
    const index = chosen && chosen.side === side && chosen.i === i ? chosen.index : null;
    output.textContent = index ? `${entry(operand[0], index)} = ${exact(shown.at(index), shown.dtype)}` : '';
    canvas.setAttribute('aria-label', `${operand[0]}: ${shown.words()}. ${output.textContent}. Arrow keys choose an entry`);
  };
  redraws.push(redraw);
  const under = (event) => {
    const box = canvas.getBoundingClientRect(), zoom = canvas.width / box.width;
    return tiles.place((event.clientX - box.left) * zoom, (event.clientY - box.top) * zoom);
  };
  canvas.addEventListener('mousemove', (event) => {
    const place = under(event), tip = byId('tip');
    tip.hidden = place < 0;
    if (place < 0) return;
    tip.textContent = `[${shown.index(place).join(', ')}] ${exact(shown.kept[place], shown.dtype)}`;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4)}px`;
    tip.style.top = `${event.clientY + 16}px`;
  });
  canvas.addEventListener('mouseleave', () => { byId('tip').hidden = true; });
  canvas.addEventListener('click', (event) => {
    const place = under(event);
    if (place >= 0) choose(step, side, i, shown.index(place));
  });
  canvas.addEventListener('keydown', (event) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -tiles.w, ArrowDown: tiles.w };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const at = chosen && chosen.side === side && chosen.i === i ? shown.place(chosen.index) + moves[event.key] : 0;
    if (at >= 0 && at < shown.kept.length) choose(step, side, i, shown.index(at));
  });
  made.append(element('div', { class: 'scroll' }, canvas), element('div', { class: 'quiet' }, shown.whole ? '' : `${shown.kept.length} of ${shown.shape.reduce((a, b) => a * b, 1)} entries, each exact`), output);
  return made;
}

/** Choose an entry: of an output, it is worked out, and what it is made of is outlined. */
function choose(step, side, i, index) {
  chosen = { side, i, index, marks: new Map() };
  if (side === 'out') showNumbers(step, step.out[i], index);
  redraws.forEach((redraw) => redraw());
}

function showNumbers(step, out, index) {
  const panel = byId('numbers'), shown = value(out[1]), name = entry(out[0], index), parts = [];
  const terms = termsAt(step, out, index), kept = shown.at(index);
  const result = `${name} = ${exact(kept === null && terms && terms.value !== undefined ? terms.value : kept, shown.dtype)}`;
  if (terms) {
    for (const [k, operand] of terms.factors.entries()) {
      const own = value(operand[1]), places = terms.terms.map((term) => own.place(term[2 * k])).filter((place) => place >= 0);
      chosen.marks.set(operand[1], [...(chosen.marks.get(operand[1]) || []), ...places]);
    }
    const signed = (number) => (number < 0 ? `(${short(number)})` : short(number));
    const products = terms.terms.slice(0, 12).map(([, p, , q]) => `${signed(p)} · ${signed(q)}`);
    const more = terms.count - products.length;
    parts.push(element('p', { class: 'numbers' }, `${name} = ${products.join(' + ')}${more > 0 ? ` + ${more} more` : ''}${terms.extra ? ` + ${short(terms.extra)}` : ''} = ${exact(terms.sum, 'float32')}`));
    parts.push(element('p', { class: 'quiet' }, `${terms.count} product${terms.count === 1 ? '' : 's'} of ${terms.factors[0][0]} and ${terms.factors[1][0]}, ${terms.value === undefined ? 'outlined below' : 'of which the page keeps the first'}; added up in double precision.`));
    if (terms.terms.length) parts.push(details(terms));
  } else if (repeatedFor(step, out, index)) {
    parts.push(...addedUp(step, out, name, repeatedFor(step, out, index), exact(kept, shown.dtype)));
  } else {
    const found = numbersAt(step, out, index);
    if (step.p < 2) for (const sentence of sentences(step, out, found)) parts.push(element('p', { class: 'numbers' }, sentence));
    const list = [...found].filter(([key]) => key !== nfc(out[0])).map(([key, [number, dtype]]) => `${key} = ${exact(number, dtype)}`);
    if (list.length && step.p < 2) parts.push(element('p', { class: 'numbers' }, `at this entry: ${list.join(', ')}`));
  }
  if (step.up && step.p === 2) {
    const rows = step.up.map(([key, number]) => element('tr', {}, element('th', {}, key), element('td', { class: 'number' }, exact(number, 'float32'))));
    parts.push(element('p', { class: 'quiet' }, `Worked out in double precision for entry [${step.at.join(', ')}], whose gradient is largest:`), element('table', {}, element('tbody', {}, ...rows)));
  }
  parts.push(element('p', { class: 'numbers', id: 'result' }, result));
  panel.replaceChildren(...parts);
}

/** What the rule gives for each entry that a broadcast operand was repeated for, and their sum. */
function addedUp(step, out, name, places, sum) {
  const gradient = value(step.in[0][1]), right = (place) => {
    const sentence = substituted(statementOf(DATA.texts[step.f], out[0]).replace('Σ ', ''), numbersAtIndex(step, out, gradient.shape, place));
    return sentence.slice(sentence.indexOf('=') + 1).trim();
  };
  chosen.marks.set(step.in[0][1], places.map((place) => gradient.place(place)).filter((place) => place >= 0));
  const terms = places.slice(0, 12).map(right), more = places.length - terms.length, parts = [];
  if (terms.every(Boolean)) parts.push(element('p', { class: 'numbers' }, `${name} = ${terms.join(' + ')}${more ? ` + ${more} more` : ''} = ${sum}`));
  parts.push(element('p', { class: 'quiet' }, `This entry was used for ${places.length} entries of the result, outlined below in ȳ; what the rule gives for each is added up.`));
  return parts;
}

function details(terms) {
  const rows = terms.terms.slice(0, 200).map(([i, p, j, q]) => element('tr', {}, element('td', {}, `${terms.factors[0][0]}[${i.join(', ')}]`), element('td', { class: 'number' }, exact(p, 'float32')), element('td', {}, `${terms.factors[1][0]}[${j.join(', ')}]`), element('td', { class: 'number' }, exact(q, 'float32')), element('td', { class: 'number' }, short(p * q))));
  const made = element('details', {}, element('summary', {}, 'Every product'));
  made.addEventListener('toggle', () => { if (made.children.length === 1) made.append(element('table', {}, element('tbody', {}, ...rows))); });
  return made;
}

function arrivals(step) {
  const lists = (step.arr || []).filter((list) => list.length);
  if (!lists.length) return null;
  const made = element('div', {}, element('h3', {}, 'What arrived, in order'));
  for (const list of lists) {
    const rows = list.map(([from, name, id], k) => element('tr', {}, element('td', {}, k ? '+' : '='), element('td', {}, from === null ? 'where the walk began' : link(from)), element('td', {}, name ? `as ${name} of ${STEPS[from].op}` : ''), element('td', {}, id === undefined ? '' : value(id).words())));
    made.append(element('table', {}, element('tbody', {}, ...rows)));
  }
  return made;
}

function difference(step) {
  if (!step.fd) return null;
  const out = element('div', { id: 'differences' });
  const button = element('button', { type: 'button', id: 'check', 'aria-expanded': 'false' }, 'Compare with finite differences');
  button.addEventListener('click', () => {
    const open = button.getAttribute('aria-expanded') !== 'true';
    button.setAttribute('aria-expanded', String(open));
    const rows = step.fd.map(([name, index, rule, found]) => element('tr', {}, element('td', {}, entry(name, index)), element('td', { class: 'number' }, exact(rule, 'float32')), element('td', { class: 'number' }, exact(found, 'float32')), element('td', { class: 'number' }, short(Math.abs(rule - found)))));
    out.replaceChildren(...(open ? [element('table', {}, element('thead', {}, element('tr', {}, ...['entry', 'by the rule', 'by a difference', 'apart'].map((t) => element('th', {}, t)))), element('tbody', {}, ...rows)), element('p', { class: 'quiet' }, `Central difference of Σ ȳ · y in double precision, h = ${step.fd[0][4]}, where the contribution is largest.`)] : []));
  });
  return element('div', {}, element('h3', {}, 'A second opinion'), button, out);
}

function bar(share) {
  const made = element('span', { class: 'bar', 'aria-hidden': 'true' });
  made.style.width = `${Math.max(0, Math.min(1, share)) * 6}rem`;
  return made;
}

function cost(step) {
  const bytes = (n) => (n < 1000 ? `${n} B` : n < 1e6 ? `${short(n / 1000)} kB` : `${short(n / 1e6)} MB`);
  const rows = [['time', `${short(step.us)} µs`, step.us / longest], ['alive after it', bytes(step.live), step.live / most], ['most while it ran', bytes(step.peak), step.peak / most]];
  if (step.flops) rows.push(['work', `${step.flops.toLocaleString('en')} flops`, null]);
  if (step.saved) rows.push(['held for the backward pass', step.saved.map(([name, n]) => `${name} ${bytes(n)}`).join(', '), null]);
  const set = Object.entries(step.set || {}).filter(([, given]) => typeof given !== 'object' || given === null || JSON.stringify(given).length < 200);
  if (set.length) rows.push(['made with', set.map(([name, given]) => `${name} ${typeof given === 'object' ? JSON.stringify(given) : given}`).join('; '), null]);
  return element('div', {}, element('h3', {}, 'Cost'), element('table', {}, element('tbody', {}, ...rows.map(([name, text, share]) => element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, text), element('td', {}, share === null ? '' : bar(share)))))));
}

function code(step) {
  const made = element('div', {}, element('h3', {}, 'Source'));
  const block = (head, lines, lit) => made.append(element('p', { class: 'quiet' }, head), element('pre', { tabindex: 0 }, ...lines.map(([number, text]) => element('span', { class: lit(number) ? 'lit' : false }, `${lit(number) ? '▶' : ' '}${String(number).padStart(5)}  ${text}`))));
  const near = ([file, number], head) => {
    const { name, lines } = DATA.files[file], shown = [];
    for (let k = number - 3; k <= number + 3; k++) if (lines[k] !== undefined) shown.push([k, lines[k]]);
    if (shown.length) block(`${head}, ${name}:${number}`, shown, (k) => k === number);
    else made.append(element('p', { class: 'quiet' }, `${head}: ${name}:${number}`));
  };
  if (step.u) near(step.u, 'Your line');
  if (step.l) near(step.l, 'The module’s line');
  if (step.src !== undefined) {
    const method = DATA.methods[step.src];
    block(`The engine’s lines, ${method.name}:${method.first}`, method.lines.map((text, k) => [method.first + k, text]), () => true);
  }
  return step.u || step.l || step.src !== undefined ? made : null;
}

// -- beginning ---------------------------------------------------------------------------------------------------

function begin() {
  document.documentElement.classList.toggle('embedded', embedded);
  document.documentElement.classList.toggle('brief', STEPS.length <= 12);
  byId('made').textContent = `${STEPS.length} steps. Made with ${DATA.made}. Upper bars: time of each step (on a logarithmic scale); line below: bytes alive.`;
  byId('slider').max = STEPS.length - 1;
  const ops = [...new Set(STEPS.map((step) => step.op))].sort();
  for (const [key, text] of [...STOPS, ...ops.map((op) => [`op ${op}`, op])]) byId('breakpoint').append(element('option', { value: key }, text));
  drawPhases();
  const press = { first: () => go(0), back: () => go(current - 1), next: () => go(current + 1), last: () => go(STEPS.length - 1), play: () => play(!playing), break: nextStop };
  for (const [id, action] of Object.entries(press)) byId(id).addEventListener('click', action);
  byId('slider').addEventListener('input', (event) => go(Number(event.target.value)));
  byId('search').addEventListener('input', search);
  byId('bars').addEventListener('click', (event) => {
    const box = byId('bars').getBoundingClientRect();
    go(Math.floor(((event.clientX - box.left) / box.width) * STEPS.length));
  });
  addEventListener('hashchange', fromLink);
  addEventListener('click', (event) => { // an address of a step would be taken for one of the page around
    const to = event.target.closest('a[href^="#t="]');
    if (!to || !embedded || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(Number(to.getAttribute('href').slice(3)));
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { palette = null; bars = null; drawBars(); redraws.forEach((redraw) => redraw()); });
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || ['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName) && event.target.type !== 'range') return;
    const keys = { ArrowLeft: press.back, ArrowRight: press.next, Home: press.first, End: press.last, b: nextStop, '/': () => byId('search').focus() };
    if (event.key === ' ' && !['BUTTON', 'SUMMARY'].includes(event.target.tagName)) keys[' '] = press.play;
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  fromLink();
}

begin();
