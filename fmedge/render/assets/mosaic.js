import { BASE_CONFIG, cssColour, FIGURE_BUTTONS, themeLayout } from './embedded.js';
import { BROKEN, colourAt, hexColour } from './colours.js';
import { boundedRange, movedRange, sameRange } from './ranges.js';
import { element, layerNow, make, state, writeAddress } from './state.js';
import { channelsNow, markedValue } from './shown.js';
import { tileInWords } from './difference.js';
import { outline } from './pointing.js';

// ---- A picture of palette colours, as a BMP: nothing to compress, and other colours are another palette ----

const LEVELS = 253; // palette entries of values, from 0
const [DEAD_LEVEL, BROKEN_LEVEL, GAP_LEVEL] = [253, 254, 255];
export const BMP_HEADER = 54;
export const BMP_PALETTE = 4 * 256;

/** An empty picture, all gap, with its pixels; rows run from the bottom up, each padded to 4 bytes. */
function createBitmap(width, height) {
  const stride = (width + 3) & ~3;
  const file = new Uint8Array(BMP_HEADER + BMP_PALETTE + stride * height).fill(GAP_LEVEL);
  const view = new DataView(file.buffer);
  file.fill(0, 0, BMP_HEADER + BMP_PALETTE);
  view.setUint16(0, 0x4d42, true); // "BM"
  view.setUint32(2, file.length, true);
  view.setUint32(10, BMP_HEADER + BMP_PALETTE, true);
  view.setUint32(14, 40, true); // size of the second header
  view.setInt32(18, width, true);
  view.setInt32(22, height, true);
  view.setUint16(26, 1, true); // planes
  view.setUint16(28, 8, true); // bits per pixel
  return { file, width, height, stride, pixels: file.subarray(BMP_HEADER + BMP_PALETTE) };
}

export function setPalette({ file }, name) {
  /** @type {(level: number, colour: number[]) => void} */
  const set = (level, [red, green, blue]) => file.set([blue, green, red], BMP_HEADER + 4 * level);
  const colour = (text) => [1, 3, 5].map((start) => Number.parseInt(text.slice(start, start + 2), 16));
  for (let level = 0; level < LEVELS; level += 1) set(level, colourAt(name, level / (LEVELS - 1)).map(Math.round));
  set(DEAD_LEVEL, colour(hexColour(colourAt(name, name === 'diverging' ? 0.62 : 0.3))));
  set(BROKEN_LEVEL, colour(BROKEN));
  set(GAP_LEVEL, colour(cssColour('--line')));
}

function bitmapUrl({ file }) {
  if (file.toBase64) return `data:image/bmp;base64,${file.toBase64()}`;
  const parts = [];
  for (let start = 0; start < file.length; start += 32768) {
    parts.push(String.fromCharCode(...file.subarray(start, start + 32768)));
  }
  return `data:image/bmp;base64,${btoa(parts.join(''))}`;
}

// ---- All channels of a layer in one picture -----------------------------------------------------------------

/** The palette's entries for values. */
export function levelsOf(values, [low, high]) {
  const factor = high > low ? (LEVELS - 1) / (high - low) : 0;
  const levels = new Uint8Array(values.length);
  for (let place = 0; place < values.length; place += 1) {
    const value = values[place]; // may lie beyond the range by its rounding, and that can be many levels
    levels[place] = Number.isFinite(value) ? Math.min(Math.max((value - low) * factor + 0.5, 0), LEVELS - 1) : BROKEN_LEVEL;
  }
  return levels;
}

/** The entries that bytes stand for (their own map() takes twice as long). */
function lookUp(levels, bytes) {
  const found = new Uint8Array(bytes.length);
  for (let place = 0; place < bytes.length; place += 1) found[place] = levels[bytes[place]];
  return found;
}

export const MOST_PIXELS = 12e6; // of the picture; larger maps are shown by every second, third… value
const STRIPES = 6; // values from stripe to stripe of a dead channel

/** Where the tiles are: a grid whose axes count the picture's pixels from the top left corner. */
class Grid {
  constructor({ channels, rows, columns }) {
    this.channels = channels;
    this.every = Math.max(1, Math.ceil(Math.sqrt((channels * rows * columns) / MOST_PIXELS)));
    this.rows = Math.ceil(rows / this.every);
    this.columns = Math.ceil(columns / this.every);
    this.across = Math.max(1, Math.ceil(Math.sqrt(channels)));
    this.down = Math.max(1, Math.ceil(channels / this.across));
    const gap = Math.max(1, Math.round(this.columns / 40));
    this.pitchX = this.columns + gap;
    this.pitchY = this.rows + gap;
    this.width = this.across * this.pitchX - gap;
    this.height = this.down * this.pitchY - gap;
  }

  corner(place) {
    return [(place % this.across) * this.pitchX, Math.floor(place / this.across) * this.pitchY];
  }

  /** Tile, row and column at a point of the axes; null between the tiles. */
  locate(x, y) {
    const [tileX, tileY] = [Math.floor(x / this.pitchX), Math.floor(y / this.pitchY)];
    const [column, row] = [Math.floor(x - tileX * this.pitchX), Math.floor(y - tileY * this.pitchY)];
    const place = tileY * this.across + tileX;
    const inside = x >= 0 && x < this.width && y >= 0 && column < this.columns && row < this.rows;
    return inside && place < this.channels ? { place, row, column } : null;
  }
}

export const overview = {
  plot: null,
  grid: null,
  bitmap: null,
  order: [],
  cursor: null, // place of the tile that the keyboard is at
  painted: '', // what the bitmap shows
  shown: '', // what the plot shows

  async draw() {
    const layer = layerNow();
    const place = state.order === 'place' || state.filter ? state.at : null;
    const painted = JSON.stringify([state.layer, state.view, state.order, state.order === 'like' && state.like, state.filter, place, state.scale, state.colours === 'diverging']);
    if (painted !== this.painted) await this.paint(layer, painted);
    const shown = JSON.stringify([painted, state.colours, cssColour('--card')]);
    if (shown !== this.shown) {
      setPalette(this.bitmap, state.colours);
      await this.place();
      this.shown = shown;
    }
    const [wanted, { left, right, top, bottom }] = [this.wanted(), this.frame()];
    if (!sameRange([left, right], wanted.x) || !sameRange([bottom, top], wanted.y)) await this.look(wanted);
  },

  /** What the state says is seen. */
  wanted() {
    return this.bounded(state.mosaic ?? this.home);
  },

  bounded({ x, y }) {
    return { x: boundedRange(x, this.home.x, 1), y: boundedRange(y, this.home.y, 1) };
  },

  look({ x, y }) {
    return Plotly.relayout(this.plot, { 'xaxis.range': x, 'yaxis.range': y });
  },

  /** Keep in the state what is seen; what lies beyond the picture, or is too near, is brought back. */
  remember() {
    const { left, right, top, bottom } = this.frame();
    const seen = { x: [left, right], y: [bottom, top] };
    const zoom = this.bounded(seen);
    state.mosaic = sameRange(zoom.x, this.home.x) && sameRange(zoom.y, this.home.y) ? null : zoom;
    writeAddress(false);
    if (!sameRange(seen.x, zoom.x) || !sameRange(seen.y, zoom.y)) this.look(zoom);
  },

  async paint(layer, painted) {
    this.order = channelsNow();
    this.grid = new Grid({ ...layer, channels: this.order.length });
    const { width, height } = this.grid;
    if (this.bitmap?.width === width && this.bitmap.height === height) this.bitmap.pixels.fill(GAP_LEVEL);
    else this.bitmap = createBitmap(width, height);
    const scratch = new Float32Array(layer.rows * layer.columns);
    for (const [place, channel] of this.order.entries()) {
      const range = layer.range(state.view, channel, state);
      const shades = await layer.shades(state.view, channel, range);
      if (!shades) await layer.values(state.view, channel, scratch);
      const levels = shades ? levelsOf(shades.values, range) : levelsOf(scratch, range);
      this.paintTile(layer, place, shades ? lookUp(levels, shades.bytes) : levels);
      if (state.view === 'relu' && layer.isDead(channel)) this.stripe(place);
    }
    this.painted = painted;
  },

  paintTile({ columns: width }, place, levels) {
    const { pixels, stride, height } = this.bitmap;
    const { rows, columns, every } = this.grid;
    const [left, top] = this.grid.corner(place);
    for (let row = 0; row < rows; row += 1) {
      const [start, from] = [(height - 1 - top - row) * stride + left, row * every * width];
      if (every === 1) pixels.set(levels.subarray(from, from + columns), start);
      else for (let column = 0; column < columns; column += 1) pixels[start + column] = levels[from + column * every];
    }
  },

  stripe(place) {
    const { pixels, stride, height } = this.bitmap;
    const { rows, columns } = this.grid;
    const [left, top] = this.grid.corner(place);
    for (let row = 0; row < rows; row += 1) {
      const start = (height - 1 - top - row) * stride + left;
      for (let column = (STRIPES - (row % STRIPES)) % STRIPES; column < columns; column += STRIPES) pixels[start + column] = DEAD_LEVEL;
    }
  },

  /** Hand the picture to Plotly; another layer begins at its whole. */
  async place() {
    const { width, height } = this.grid;
    const source = bitmapUrl(this.bitmap);
    const kind = `${state.layer} ${width} ${height}`;
    const same = this.plot && this.plot.dataset.kind === kind;
    element('nothing').hidden = this.order.length > 0;
    if (same) return Plotly.relayout(this.plot, { 'images[0].source': source, ...themeLayout(this.plot) });
    this.home = { x: [0, width], y: [height, 0] };
    const axis = { visible: false, constrain: 'domain', minallowed: 0 };
    const { x, y } = this.wanted();
    const layout = {
      margin: { l: 6, r: 6, t: 38, b: 6 },
      dragmode: 'pan',
      xaxis: { ...axis, maxallowed: width, range: x },
      yaxis: { ...axis, maxallowed: height, range: y, scaleanchor: 'x' },
      images: [{
        source, xref: 'x', yref: 'y', x: 0, y: 0, sizex: width, sizey: height,
        xanchor: 'left', yanchor: 'top', sizing: 'stretch', layer: 'below',
      }],
    };
    element('stage').style.setProperty('--ratio', width / height);
    const first = !this.plot;
    this.plot = element('overview');
    this.plot.dataset.kind = kind;
    this.cursor = null;
    await Plotly.react(this.plot, [], { ...layout, ...themeLayout(this.plot) }, overviewConfig());
    if (first) this.plot.on('plotly_afterplot', () => this.follow());
    if (first) this.plot.on('plotly_relayouting', () => this.follow());
    if (first) this.plot.on('plotly_relayout', () => this.remember());
    return this.follow();
  },

  /** Where the axes are on the screen, in CSS pixels of the window, and what they show; the vertical one is reversed. */
  frame() {
    const { xaxis, yaxis } = this.plot._fullLayout;
    const box = this.plot.querySelector('.nsewdrag').getBoundingClientRect();
    const [[left, right], [bottom, top]] = [xaxis.range, yaxis.range];
    return { box, left, right, top, bottom, scale: box.width / (right - left) };
  },

  /** The value under the pointer. */
  locate({ clientX, clientY }) {
    const { box, left, top, scale } = this.frame();
    const [x, y] = [clientX - box.left, clientY - box.top];
    const inside = x >= 0 && y >= 0 && x < box.width && y < box.height;
    const found = inside && this.grid.locate(left + x / scale, top + y / scale);
    if (!found) return null;
    const { every } = this.grid;
    return { layer: layerNow(), view: state.view, channel: this.order[found.place], row: found.row * every, column: found.column * every };
  },

  /** Show what follows the zoom: sharp pixels, channel numbers, the keyboard's tile. */
  follow() {
    if (this.plot.hidden) return;
    const frame = this.frame();
    this.plot.classList.toggle('near', frame.scale >= 1);
    const stage = element('stage').getBoundingClientRect();
    const labels = element('labels');
    labels.style.left = `${frame.box.left - stage.left}px`;
    labels.style.top = `${frame.box.top - stage.top}px`;
    labels.style.width = `${frame.box.width}px`;
    labels.style.height = `${frame.box.height}px`;
    labels.replaceChildren(...this.labels(frame), ...this.marks(frame), ...this.outline(frame));
  },

  labels(frame) {
    const spans = [];
    const { pitchX, pitchY } = this.grid;
    for (let place = 0; place < this.grid.channels && pitchX * frame.scale >= LABEL_FROM; place += 1) {
      const [x, y] = this.onScreen(frame, place);
      const seenX = Math.min(frame.box.width, x + pitchX * frame.scale) - Math.max(0, x);
      const seenY = Math.min(frame.box.height, y + pitchY * frame.scale) - Math.max(0, y);
      if (seenX >= LABEL_WIDTH && seenY >= LABEL_HEIGHT) spans.push(this.label(place, x, y, seenX));
    }
    return spans;
  },

  label(place, x, y, room) {
    const layer = layerNow();
    const dead = layer.isDead(this.order[place]);
    const number = layer.number(this.order[place]);
    const span = make('span', dead ? `${number} ${room >= 58 ? 'dead' : '\u2715'}` : tileInWords(layer, this.order[place], room));
    if (dead) span.className = 'dead';
    span.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
    return span;
  },

  /** The marked place on every tile that is large enough to tell where. */
  marks(frame) {
    const { channels, every, pitchX } = this.grid;
    const found = markedValue();
    if (!found || pitchX * frame.scale < LABEL_FROM) return [];
    const [column, row] = [Math.floor(found.column / every), Math.floor(found.row / every)];
    return Array.from({ length: channels }, (_, place) => {
      const [x, y] = this.onScreen(frame, place);
      const edge = (value, axis) => `${(axis ? y : x) + value * frame.scale}px`;
      return outline('marked', [column, row, column + 1, row + 1], edge);
    });
  },

  /** Bring a tile into view. */
  reveal(place) {
    const [x, y] = this.grid.corner(place);
    const { left, right, top, bottom } = this.frame();
    const shift = (from, to, start, extent) => Math.min(0, start - from) + Math.max(0, start + extent - to);
    const [over, down] = [shift(left, right, x, this.grid.columns), shift(top, bottom, y, this.grid.rows)];
    if (over || down) this.look(this.bounded({ x: [left + over, right + over], y: [bottom + down, top + down] }));
  },

  outline(frame) {
    if (this.cursor === null) return [];
    const outline = make('div', '', { class: 'cursor' });
    const [x, y] = this.onScreen(frame, this.cursor);
    outline.style.transform = `translate(${x}px, ${y}px)`;
    outline.style.width = `${this.grid.columns * frame.scale}px`;
    outline.style.height = `${this.grid.rows * frame.scale}px`;
    return [outline];
  },

  onScreen({ left, top, scale }, place) {
    const [x, y] = this.grid.corner(place);
    return [(x - left) * scale, (y - top) * scale];
  },

  /** Zoom by a factor and move by shares of what is seen; without either go home. */
  move({ right = 0, down = 0, zoom = 1 } = {}) {
    if (!right && !down && zoom === 1) return this.look(this.home);
    const { left, right: end, top, bottom } = this.frame();
    return this.look(this.bounded({
      x: movedRange([left, end], { shift: right, zoom }),
      y: movedRange([bottom, top], { shift: -down, zoom }),
    }));
  },
};

export const LABEL_FROM = 40; // a tile this wide on the screen, in CSS pixels, has room for its number
const LABEL_WIDTH = 26; // of what is seen of a tile at the edge, no less, so that numbers never overlap
const LABEL_HEIGHT = 16;

function overviewConfig() {
  return {
    ...BASE_CONFIG,
    scrollZoom: true,
    displayModeBar: true,
    doubleClick: false, // a click opens a channel
    modeBarButtons: FIGURE_BUTTONS,
  };
}
