import { BASE_CONFIG, cssColour, FIGURE_BUTTONS, themeLayout } from './embedded.js';
import { boundedRange, movedRange, sameRange } from './ranges.js';
import { element, layerNow, make, state, writeAddress } from './state.js';
import { channelsNow, markedValue } from './shown.js';
import { tileInWords } from './difference.js';
import { bitmapUrl, createBitmap, DEAD_LEVEL, levelsOf, lookUp, setPalette } from './bitmap.js';
import { outline } from './pointing.js';
import { draw } from './viewer.js';

// ---- All channels of a layer in one picture -----------------------------------------------------------------

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
    if (painted !== this.painted || this.coarseness() < this.bitmap.coarse) await this.paint(layer, painted);
    const shown = JSON.stringify([painted, state.colours, cssColour('--card'), this.bitmap.coarse]);
    if (shown !== this.shown) {
      setPalette(this.bitmap, state.colours);
      await this.place();
      this.shown = shown;
    }
    const [wanted, { left, right, top, bottom }] = [this.wanted(), this.frame()];
    if (!sameRange([left, right], wanted.x) || !sameRange([bottom, top], wanted.y)) await this.look(wanted);
  },

  /** n, where every n-th pixel of the grid, across and down, is enough for each pixel of the screen to have one of its own. */
  coarseness() {
    const [left, right] = this.wanted().x;
    const onScreen = element('overview').clientWidth * window.devicePixelRatio;
    return Math.max(1, Math.floor((right - left) / Math.max(1, onScreen)));
  },

  /** Let the picture hold every pixel, whatever is seen. */
  async sharpen() {
    if (this.bitmap.coarse === 1) return;
    await this.paint(layerNow(), this.painted, 1);
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
    if (this.coarseness() < this.bitmap.coarse) draw();
    if (!sameRange(seen.x, zoom.x) || !sameRange(seen.y, zoom.y)) this.look(zoom);
  },

  async paint(layer, painted, coarse = null) {
    this.order = channelsNow();
    this.grid = new Grid({ ...layer, channels: this.order.length });
    const { width, height } = this.grid;
    this.home = { x: [0, width], y: [height, 0] };
    this.bitmap = createBitmap(width, height, coarse ?? this.coarseness());
    const scratch = new Float32Array(layer.rows * layer.columns);
    for (const [place, channel] of this.order.entries()) {
      const range = layer.range(state.view, channel, state);
      const shades = await layer.shades(state.view, channel, range);
      if (!shades) await layer.values(state.view, channel, scratch);
      const levels = shades ? levelsOf(shades.values, range) : levelsOf(scratch, range);
      this.paintTile(layer, place, shades ? lookUp(levels, shades.bytes) : levels, state.view === 'relu' && layer.isDead(channel));
    }
    this.painted = painted;
  },

  /** Paint a tile: of the grid's pixels, those that the picture holds. */
  paintTile({ columns: width }, place, levels, striped) {
    const { pixels, stride, height, coarse } = this.bitmap;
    const { rows, columns, every } = this.grid;
    const [left, top] = this.grid.corner(place);
    const [firstX, firstY] = [left, top].map((edge) => Math.ceil(edge / coarse));
    const skip = firstX * coarse - left; // columns of the tile before the first that the picture holds
    for (let y = firstY, row = y * coarse - top; row < rows; y += 1, row += coarse) {
      const [start, from] = [(height - 1 - y) * stride + firstX, row * every * width];
      if (every === 1 && coarse === 1) pixels.set(levels.subarray(from, from + columns), start);
      else for (let column = skip, x = start; column < columns; column += coarse, x += 1) pixels[x] = levels[from + column * every];
      for (let column = skip, x = start; striped && column < columns; column += coarse, x += 1) if ((row + column) % STRIPES < coarse) pixels[x] = DEAD_LEVEL;
    }
  },

  /** Hand the picture to Plotly; another layer begins at its whole. */
  async place() {
    const { width, height } = this.grid;
    const [sizex, sizey] = [this.bitmap.width, this.bitmap.height].map((extent) => extent * this.bitmap.coarse);
    const source = bitmapUrl(this.bitmap);
    const kind = `${state.layer} ${width} ${height}`;
    const same = this.plot && this.plot.dataset.kind === kind;
    element('nothing').hidden = this.order.length > 0;
    if (same) return Plotly.relayout(this.plot, { 'images[0].source': source, 'images[0].sizex': sizex, 'images[0].sizey': sizey, ...themeLayout(this.plot) });
    const axis = { visible: false, constrain: 'domain', minallowed: 0 };
    const { x, y } = this.wanted();
    const layout = {
      margin: { l: 6, r: 6, t: 38, b: 6 },
      dragmode: 'pan',
      xaxis: { ...axis, maxallowed: width, range: x },
      yaxis: { ...axis, maxallowed: height, range: y, scaleanchor: 'x' },
      images: [{
        source, xref: 'x', yref: 'y', x: 0, y: 0, sizex, sizey,
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
