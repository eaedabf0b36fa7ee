import { BROKEN, channelsOf, colourAt, hexColour } from './colours.js';
import { element, formatValue, layerNow, layers, make, state } from './state.js';
import { tileInWords } from './difference.js';
import { BMP_HEADER, overview } from './mosaic.js';
import { detail } from './detail.js';

// ---- On paper: a figure for every map that is shown, which flow over the pages -------------------------------------

const MOST_ACROSS = 12; // maps in a line of the mosaic: 15 mm each on A4

/** A map as a picture with a pixel for every value; the function tells the colour of each. */
export function canvasOf(rows, columns, colour, title) {
  const canvas = make('canvas', '', { width: columns, height: rows, role: 'img', 'aria-label': title });
  const context = canvas.getContext('2d');
  const image = context.createImageData(columns, rows);
  for (let place = 0; place < rows * columns; place += 1) {
    [image.data[4 * place], image.data[4 * place + 1], image.data[4 * place + 2]] = colour(place);
    image.data[4 * place + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function figureOf(picture, ...captions) {
  const figure = make('figure');
  const caption = make('figcaption');
  caption.append(...captions);
  figure.append(picture, caption);
  return figure;
}

/** The tiles of the mosaic, from its picture and palette. */
function tilesOnPaper() {
  const { grid, order, bitmap } = overview;
  const layer = layerNow();
  const palette = Array.from({ length: 256 }, (_, level) => [2, 1, 0].map((part) => bitmap.file[BMP_HEADER + 4 * level + part]));
  return order.map((channel, place) => {
    const [left, top] = grid.corner(place);
    const colour = (index) => {
      const row = top + Math.floor(index / grid.columns);
      return palette[bitmap.pixels[(bitmap.height - 1 - row) * bitmap.stride + left + (index % grid.columns)]];
    };
    const number = `${tileInWords(layer, channel, Infinity)}${layer.isDead(channel) ? ' \u2715' : ''}`;
    return figureOf(canvasOf(grid.rows, grid.columns, colour, `channel ${number}`), number);
  });
}

/** The panels of a channel, each with what its darkest and brightest colours stand for; the photo is on top already. */
function panelsOnPaper() {
  return detail.panels.filter((panel) => !panel.photo).map((panel) => {
    const { rows, columns } = layers[panel.layer];
    const [low, high] = panel.range;
    const colour = (place) => {
      const value = panel.values[place];
      if (!Number.isFinite(value)) return channelsOf(BROKEN);
      return colourAt(state.colours, high > low ? (value - low) / (high - low) : 0).map(Math.round);
    };
    const title = detail.title(panel);
    const bar = make('span', '', { class: 'bar' });
    const stops = Array.from({ length: 11 }, (_, index) => hexColour(colourAt(state.colours, index / 10)));
    bar.style.backgroundImage = `linear-gradient(to right, ${stops})`;
    return figureOf(canvasOf(rows, columns, colour, title), title, make('br'), `${formatValue(low, 3)} `, bar, ` ${formatValue(high, 3)}`);
  });
}

export function connectPaper() {
  const paper = element('paper');
  const fill = () => {
    const one = state.channel !== null;
    const figures = one ? panelsOnPaper() : tilesOnPaper();
    const across = one ? Math.min(2, figures.length) : Math.min(MOST_ACROSS, Math.ceil(Math.sqrt(figures.length)));
    paper.style.setProperty('--across', across);
    paper.replaceChildren(...figures);
  };
  const set = (wanted) => (wanted ? fill() : paper.replaceChildren());
  matchMedia('print').addEventListener('change', ({ matches }) => set(matches));
  window.addEventListener('beforeprint', () => set(true)); // the event that browsers wait for
  window.addEventListener('afterprint', () => set(false));
}
