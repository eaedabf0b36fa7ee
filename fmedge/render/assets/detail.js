import { BASE_CONFIG, cssColour, FIGURE_BUTTONS, themeLayout } from './embedded.js';
import { BROKEN, colourscale } from './colours.js';
import { boundedRange, movedRange, sameRange, sameSize } from './ranges.js';
import { smoothImage } from './smooth.js';
import { element, header, layerNow, layers, photoOf, pictures, state, writeAddress } from './state.js';

// ---- Channels side by side, and the photo: axes count the photo's pixels, so that one zoom fits all -------------

const TITLE = 24; // above every panel, in CSS pixels
const BAR = 64; // beside every heatmap: its colour bar
const GAP = 14;
const MARGIN = { l: 62, r: 6, t: 34, b: 44 };
const NARROW = 560; // a stage below this width has no room for the photo beside
const LEAST = 190; // width of a panel; where it would be less, there are more rows of them

/** What the panels show: the channel, the other sides of a difference, pins, the photo. */
function panelsNow() {
  const main = { layer: state.layer, channel: state.channel, view: state.view };
  const others = header.kind === 'difference' ? header.views.filter((view) => view !== state.view) : [];
  const sides = others.map((view) => ({ ...main, view }));
  const pins = state.pins
    .filter(({ layer, channel }) => layer !== main.layer || channel !== main.channel)
    .map((pin) => ({ ...pin, view: state.view }));
  const companions = layerNow().companions.filter((layer) => layer !== layerNow() && layer.has(state.channel))
    .map((layer) => ({ ...main, layer: layers.indexOf(layer) }));
  const seen = [layerNow().picture, ...companions.map(({ layer }) => layers[layer].picture)];
  const photos = element('stage').clientWidth < NARROW ? [] : seen.map((picture) => ({ photo: true, picture }));
  const isShown = ({ layer, channel }) => companions.some((other) => other.layer === layer && other.channel === channel);
  return [main, ...sides, ...companions, ...pins.filter((pin) => !isShown(pin)), ...photos];
}

/** The arrangement in which panels are largest: how many across, and their size. */
function arrange(count, width, height) {
  const [tall, wide] = header.photo;
  const fit = (across) => {
    const down = Math.ceil(count / across);
    const roomX = (width - MARGIN.l - MARGIN.r) / across - BAR - GAP;
    const roomY = (height - MARGIN.t - MARGIN.b) / down - TITLE - GAP;
    const scale = roomX < LEAST && across > 1 ? 0 : Math.min(roomX / wide, Math.max(roomY, 180) / tall);
    return { across, down, scale };
  };
  const fits = Array.from({ length: count }, (_, index) => fit(index + 1));
  const best = fits.reduce((one, other) => (other.scale >= one.scale ? other : one)); // of equals the widest
  return { ...best, width: best.scale * wide, height: best.scale * tall };
}

/** What the axes count: the photo itself, or what the model was given of it. */
const SEEN = pictures.every(({ original }) => sameSize(original, header.photo)) ? 'the photo' : 'what the model saw';

const axisName = (letter, number) => `${letter}${number ? number + 1 : ''}`;

export const detail = {
  plot: null,
  panels: [],

  async draw() {
    this.plot = element('panels');
    const panels = panelsNow();
    const stage = element('stage');
    const high = Math.max(360, window.innerHeight - 130);
    const grid = arrange(panels.length, stage.clientWidth, stage.clientWidth < NARROW ? 2e4 : high);
    const size = {
      width: stage.clientWidth,
      height: MARGIN.t + MARGIN.b + grid.down * (grid.height + TITLE + GAP),
    };
    const traces = (await Promise.all(panels.map((panel, number) => this.traces(panel, number, grid, size)))).flat();
    const layout = this.layout(panels, grid, size);
    const first = !this.plot._fullLayout;
    this.panels = panels;
    await Plotly.react(this.plot, traces, { ...layout, ...themeLayout(this.plot) }, this.config());
    if (first) this.plot.on('plotly_relayout', () => this.remember());
    for (const event of first ? ['plotly_afterplot', 'plotly_relayouting'] : []) this.plot.on(event, () => this.moved());
  },

  moved: () => {}, // told when the panels are elsewhere; pointing.js listens

  config() {
    return {
      ...BASE_CONFIG,
      responsive: false,
      scrollZoom: true,
      displayModeBar: true,
      doubleClick: 'reset',
      modeBarButtons: FIGURE_BUTTONS,
    };
  },

  /** Keep in the state what is seen; what lies beyond the photo, or is too near, is brought back. */
  remember() {
    const { xaxis, yaxis } = this.plot._fullLayout;
    const seen = { x: [...xaxis.range], y: [...yaxis.range] };
    const zoom = this.bounded(seen);
    state.zoom = sameRange(zoom.x, this.home().x) && sameRange(zoom.y, this.home().y) ? null : zoom;
    writeAddress(false);
    if (!sameRange(seen.x, zoom.x) || !sameRange(seen.y, zoom.y)) this.look(zoom);
  },

  home() {
    const [tall, wide] = header.photo;
    return { x: [0, wide], y: [tall, 0] };
  },

  bounded({ x, y }) {
    const [high, wide] = layers[state.layer].step;
    return { x: boundedRange(x, this.home().x, wide), y: boundedRange(y, this.home().y, high) };
  },

  look({ x, y }) {
    return Plotly.relayout(this.plot, { 'xaxis.range': x, 'yaxis.range': y });
  },

  /** Where the middle of a value of the first panel is, in CSS pixels of the window, as an event of the pointer says it. */
  onScreen({ layer, row, column }) {
    const { box, left, top, scaleX, scaleY } = this.frame(0);
    const [x0, y0, x1, y1] = layer.cell(row, column);
    return { clientX: box.left + ((x0 + x1) / 2 - left) * scaleX, clientY: box.top + ((y0 + y1) / 2 - top) * scaleY };
  },

  /** Left, top of a panel in the plotting area, as shares of it; and its width and height. */
  domain(number, { across, width, height }, size) {
    const [inX, inY] = [size.width - MARGIN.l - MARGIN.r, size.height - MARGIN.t - MARGIN.b];
    const spare = Math.max(0, inX - across * (width + BAR + GAP)) / 2;
    const left = spare + (number % across) * (width + BAR + GAP);
    const top = Math.floor(number / across) * (height + TITLE + GAP) + TITLE;
    return { x: [left / inX, (left + width) / inX], y: [1 - (top + height) / inY, 1 - top / inY] };
  },

  async traces(panel, number, grid, size) {
    const subplot = { xaxis: axisName('x', number), yaxis: axisName('y', number) };
    if (panel.photo) return [{ type: 'scatter', x: [null], y: [null], hoverinfo: 'skip', showlegend: false, ...subplot }];
    const layer = layers[panel.layer];
    const values = await layer.values(panel.view, panel.channel);
    const [zmin, zmax] = layer.range(panel.view, panel.channel, state);
    Object.assign(panel, { values, range: [zmin, zmax] });
    const [[dy, dx], [top, left]] = [layer.step, layer.start];
    const place = { type: 'heatmap', x0: left + dx / 2, dx, y0: top + dy / 2, dy, hoverinfo: 'skip', ...subplot };
    const { x, y } = this.domain(number, grid, size);
    const colorbar = {
      x: x[1] + 5 / (size.width - MARGIN.l - MARGIN.r), y: (y[0] + y[1]) / 2, len: y[1] - y[0], xanchor: 'left', xpad: 0, ypad: 0,
      thickness: 11, outlinecolor: 'rgba(128,128,128,0.5)', tickfont: { size: 10 }, nticks: 7,
    };
    const map = {
      ...place, z: rowsOf(values, layer), zmin, zmax: zmax > zmin ? zmax : zmin + 1, colorscale: colourscale(state.colours), colorbar,
      opacity: number ? 1 : state.smooth ? 0 : state.opacity / 100,
    };
    return layer.statistics[panel.view].broken[panel.channel] ? [map, { ...place, ...brokenTrace(values, layer) }] : [map];
  },

  layout(panels, grid, size) {
    const zoom = this.bounded(state.zoom ?? this.home());
    const [tall, wide] = header.photo;
    const axis = { zeroline: false, showgrid: false, ticks: 'outside', nticks: 6, minallowed: 0 };
    const layout = { ...size, margin: MARGIN, autosize: false, dragmode: 'pan', images: [], annotations: [], showlegend: false };
    for (const [number, panel] of panels.entries()) {
      const { x, y } = this.domain(number, grid, size);
      const [isLeft, isLowest] = [number % grid.across === 0, number === (grid.down - 1) * grid.across];
      const labels = (wanted, text) => (wanted ? { title: { text, standoff: 8 } } : { showticklabels: false, ticks: '' });
      const names = [axisName('x', number), axisName('y', number)];
      layout[`xaxis${number ? number + 1 : ''}`] = {
        ...axis, ...labels(isLowest, `column of ${SEEN}`), maxallowed: wide, domain: x, anchor: names[1], range: [...zoom.x], ...(number ? { matches: 'x' } : {}),
      };
      layout[`yaxis${number ? number + 1 : ''}`] = {
        ...axis, ...labels(isLeft, `row of ${SEEN}`), maxallowed: tall, domain: y, anchor: names[0], range: [...zoom.y],
        ...(number ? { matches: 'y' } : { scaleanchor: 'x' }),
      };
      layout.annotations.push({
        text: this.title(panel), x: x[0], y: y[1], xref: 'paper', yref: 'paper', xanchor: 'left', yanchor: 'bottom', showarrow: false,
        font: { size: 13, color: cssColour(number ? '--soft' : '--ink') },
      });
      if (panel.photo || (!number && (state.smooth || state.opacity < 100))) layout.images.push(photoImage(names, panel.photo ? panel.picture : layerNow().picture));
      if (!number && state.smooth) layout.images.push(smoothImage(panel, names));
    }
    return layout;
  },

  /** Of numbers and our own words alone: Plotly reads some HTML. */
  title(panel) {
    const photo = (picture) => (pictures.length > 1 ? `photo ${picture + 1}` : 'photo');
    if (panel.photo) return photo(panel.picture);
    const name = layers.length > 1 && /^[\w.-]{1,24}$/.test(layers[panel.layer].name) ? `${layers[panel.layer].name} ` : '';
    const side = header.kind === 'difference' ? `, ${header.viewWords[panel.view]}` : '';
    const of = pictures.length > 1 ? `, ${photo(layers[panel.layer].picture)}` : '';
    return `${name}channel ${layers[panel.layer].number(panel.channel)}${side}${of}`;
  },

  /** Where a panel's axes are on the screen. */
  box(number) {
    const name = axisName('x', number) + axisName('y', number);
    return this.plot.querySelector(`.nsewdrag[data-subplot="${name}"]`).getBoundingClientRect();
  },

  frame(number) {
    const { xaxis, yaxis } = this.plot._fullLayout;
    const box = this.box(number);
    const [[left, right], [bottom, top]] = [xaxis.range, yaxis.range];
    return { box, left, top, scaleX: box.width / (right - left), scaleY: box.height / (bottom - top) };
  },

  /** The value under the pointer; on the photo, the channel's value that lies there. */
  locate({ clientX, clientY }) {
    for (const [number, panel] of this.panels.entries()) {
      const { box, left, top, scaleX, scaleY } = this.frame(number);
      const [x, y] = [clientX - box.left, clientY - box.top];
      if (x >= 0 && y >= 0 && x < box.width && y < box.height) {
        const shown = panel.photo ? this.panels.find((each) => !each.photo && layers[each.layer].picture === panel.picture) : panel;
        const layer = layers[shown.layer];
        const place = layer.at(left + x / scaleX, top + y / scaleY);
        return place && { layer, view: shown.view, channel: shown.channel, ...place };
      }
    }
    return null;
  },

  move({ right = 0, down = 0, zoom = 1 } = {}) {
    if (!right && !down && zoom === 1) return this.look(this.home());
    const { xaxis, yaxis } = this.plot._fullLayout;
    return this.look(this.bounded({
      x: movedRange(xaxis.range, { shift: right, zoom }),
      y: movedRange(yaxis.range, { shift: -down, zoom }),
    }));
  },
};

function rowsOf(values, { rows, columns }) {
  return Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns));
}

/** NaN and infinity in a colour of their own, over the map. */
function brokenTrace(values, layer) {
  const marked = Array.from(values, (value) => (Number.isFinite(value) ? null : 1));
  const z = Array.from({ length: layer.rows }, (_, row) => marked.slice(row * layer.columns, (row + 1) * layer.columns));
  return { z, zmin: 0, zmax: 1, colorscale: [[0, BROKEN], [1, BROKEN]], showscale: false };
}

/**
 * @param {string[]} axes names of the horizontal and the vertical one
 * @param {number} picture
 */
function photoImage([xref, yref], picture) {
  const [tall, wide] = header.photo;
  return {
    source: photoOf({ picture }).src, xref, yref, x: 0, y: 0, sizex: wide, sizey: tall,
    xanchor: 'left', yanchor: 'top', sizing: 'stretch', layer: 'below',
  };
}
