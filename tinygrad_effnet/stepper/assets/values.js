'use strict';
// Values: what was kept of each array, and pictures of it. An entry is named by its index in the whole array.

const DATA = JSON.parse(document.getElementById('data').textContent);

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** All digits that tell a number of this kind from its neighbours. */
function exact(number, dtype) {
  if (number === null || number === undefined) return 'not kept';
  if (Number.isInteger(number) && Math.abs(number) < 1e15) return Object.is(number, -0) ? '-0' : String(number);
  if (dtype === 'float32') {
    for (let digits = 6; digits < 10; digits++) {
      const text = number.toPrecision(digits);
      if (Math.fround(Number(text)) === number) return String(Number(text));
    }
  }
  return String(number);
}

function short(number) {
  if (number === null || number === undefined) return '–';
  return Number.isInteger(number) && Math.abs(number) < 1e6 ? String(number) : String(Number(number.toPrecision(4)));
}

class Value {
  constructor(id) {
    const raw = DATA.values[id];
    this.id = id;
    this.shape = raw.s;
    this.dtype = raw.t;
    [this.low, this.high, this.mean, this.std, this.zeros, this.bad] = raw.z;
    this.whole = !raw.at;
    this.positions = raw.at || raw.s.map((size) => Array.from({ length: size }, (_, i) => i));
    const bytes = Uint8Array.from(atob(raw.b), (char) => char.charCodeAt(0));
    this.kept = raw.d === 4 ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer);
    this.sizes = this.positions.map((list) => list.length);
  }

  /** Place among the kept entries of an index, or -1. */
  place(index) {
    let place = 0;
    for (let axis = 0; axis < index.length; axis++) {
      const found = this.whole ? index[axis] : this.positions[axis].indexOf(index[axis]);
      if (found < 0 || found >= this.sizes[axis]) return -1;
      place = place * this.sizes[axis] + found;
    }
    return place;
  }

  at(index) {
    const place = this.place(index);
    return place < 0 ? null : this.kept[place];
  }

  index(place) {
    const index = new Array(this.sizes.length);
    for (let axis = index.length - 1; axis >= 0; axis--) {
      index[axis] = this.positions[axis][place % this.sizes[axis]];
      place = Math.floor(place / this.sizes[axis]);
    }
    return index;
  }

  /** The entry that stands behind an index of a larger shape, as broadcasting pairs them. */
  behind(index) {
    const own = index.slice(index.length - this.shape.length);
    if (own.length !== this.shape.length) return null;
    return this.at(own.map((i, axis) => (this.shape[axis] === 1 ? 0 : i)));
  }

  largest() {
    let best = 0;
    for (let i = 1; i < this.kept.length; i++) if (Math.abs(this.kept[i]) > Math.abs(this.kept[best])) best = i;
    return this.index(best);
  }

  words() {
    if (this.shape.includes(0)) return 'no entries';
    if (this.whole && this.kept.length === 1) return exact(this.kept[0], this.dtype);
    const bad = this.bad ? `, ${this.bad} NaN or infinite` : '';
    return `min ${short(this.low)}, max ${short(this.high)}, mean ${short(this.mean)}, zeros ${this.zeros}${bad}`;
  }
}

const known = new Map();
function value(id) {
  if (!known.has(id)) {
    if (known.size > 400) known.clear();
    known.set(id, new Value(id));
  }
  return known.get(id);
}

let palette = null; // asked of the style sheet once, and again when light turns to dark

function colours() {
  if (palette) return palette;
  const style = getComputedStyle(document.documentElement), names = ['zero', 'below', 'above', 'mark', 'ink', 'forward', 'backward', 'update'];
  palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  for (const name of ['zero', 'below', 'above']) palette[name] = [1, 3, 5].map((i) => parseInt(palette[name].slice(i, i + 2), 16));
  return palette;
}

/** How the kept entries lie in the picture: planes (the last two axes) in rows of tiles. */
class Tiles {
  constructor(shown) {
    const n = shown.sizes.length;
    this.h = n > 1 ? shown.sizes[n - 2] : 1;
    this.w = n ? shown.sizes[n - 1] : 1;
    if (n === 1 && this.w > 32) {
      this.wrap = 32;
      this.h = Math.ceil(this.w / 32);
      this.w = 32;
    }
    this.total = shown.kept.length;
    const planes = this.wrap ? 1 : Math.max(1, Math.round(this.total / Math.max(1, this.h * this.w)));
    this.across = Math.min(planes, Math.max(1, Math.floor(66 / (this.w + 1))));
    this.down = Math.ceil(planes / this.across);
    this.columns = this.across * (this.w + 1) - 1;
    this.rows = this.down * (this.h + 1) - 1;
    this.cell = Math.max(3, Math.min(26, Math.floor(330 / Math.max(this.columns, 1)), Math.floor(420 / Math.max(this.rows, 1))));
  }

  corner(place) {
    const size = this.h * this.w;
    const plane = Math.floor(place / size), rest = place % size;
    const column = (plane % this.across) * (this.w + 1) + (rest % this.w);
    return [column * this.cell, (Math.floor(plane / this.across) * (this.h + 1) + Math.floor(rest / this.w)) * this.cell];
  }

  place(x, y) {
    const column = Math.floor(x / this.cell), row = Math.floor(y / this.cell);
    const i = column % (this.w + 1), j = row % (this.h + 1);
    if (i >= this.w || j >= this.h || column < 0 || row < 0) return -1;
    const plane = Math.floor(row / (this.h + 1)) * this.across + Math.floor(column / (this.w + 1));
    const place = (plane * this.h + j) * this.w + i;
    return place < this.total && Math.floor(column / (this.w + 1)) < this.across ? place : -1;
  }
}

/** Draw the entries on one diverging scale; `marks` are places to outline, `chosen` the chosen one. */
function drawHeat(canvas, shown, tiles, marks, chosen) {
  const tone = colours(), context = canvas.getContext('2d'), cell = tiles.cell;
  canvas.width = Math.max(1, tiles.columns * cell);
  canvas.height = Math.max(1, tiles.rows * cell);
  const scale = Math.max(Math.abs(shown.low || 0), Math.abs(shown.high || 0)) || 1;
  const small = document.createElement('canvas'); // a pixel an entry, to be enlarged
  small.width = Math.max(1, tiles.columns);
  small.height = Math.max(1, tiles.rows);
  const pixels = small.getContext('2d'), image = pixels.createImageData(small.width, small.height), below = [], bad = [];
  for (let place = 0; place < shown.kept.length; place++) {
    const number = shown.kept[place], [x, y] = tiles.corner(place), at = 4 * ((y / cell) * small.width + x / cell);
    const share = Number.isFinite(number) ? Math.min(1, Math.sqrt(Math.abs(number) / scale)) : 0;
    const end = number < 0 ? tone.below : tone.above;
    for (let c = 0; c < 3; c++) image.data[at + c] = tone.zero[c] + (end[c] - tone.zero[c]) * share;
    image.data[at + 3] = 255;
    if (!Number.isFinite(number)) bad.push([x, y]);
    else if (number < 0 && cell >= 9) below.push([x, y]);
  }
  pixels.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  context.fillStyle = tone.mark; // a dash for below zero, so that colour is not all that tells
  for (const [x, y] of below) context.fillRect(x + cell / 4, y + cell / 2, cell / 2, 1);
  context.strokeStyle = tone.mark;
  for (const [x, y] of bad) { // crossed out
    context.strokeRect(x + 1.5, y + 1.5, cell - 3, cell - 3);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + cell, y + cell);
    context.stroke();
  }
  context.lineWidth = 1;
  for (const place of marks) {
    const [x, y] = tiles.corner(place);
    context.strokeRect(x + 0.5, y + 0.5, tiles.cell - 1, tiles.cell - 1);
  }
  if (chosen >= 0) {
    const [x, y] = tiles.corner(chosen);
    context.lineWidth = 3;
    context.strokeRect(x + 1.5, y + 1.5, Math.max(1, tiles.cell - 3), Math.max(1, tiles.cell - 3));
  }
}

function isPicture(shown) {
  const n = shown.shape.length;
  return n === 4 && (shown.shape[1] === 3 || shown.shape[1] === 1) && shown.sizes[1] === shown.shape[1] && Math.min(shown.shape[2], shown.shape[3]) >= 8;
}

/** Red, green and blue of every sample that was kept, from the least to the largest number. */
function drawPicture(canvas, shown) {
  const [count, channels, h, w] = shown.sizes, context = canvas.getContext('2d');
  canvas.width = count * (w + 1) - 1;
  canvas.height = h;
  const image = context.createImageData(canvas.width, h), span = shown.high - shown.low || 1;
  for (let n = 0; n < count; n++) for (let i = 0; i < h; i++) for (let j = 0; j < w; j++) {
    const at = 4 * (i * canvas.width + n * (w + 1) + j);
    for (let c = 0; c < 3; c++) {
      const number = shown.kept[((n * channels + (channels === 3 ? c : 0)) * h + i) * w + j];
      image.data[at + c] = Math.round(255 * (number - shown.low) / span);
    }
    image.data[at + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const scale = Math.max(1, Math.floor(96 / h));
  canvas.style.width = `${canvas.width * scale}px`;
}
